"""Generated texts for what corpora lack: negation of every kind, contrast, neutral facts, unreadable texts.

Each is a sentence or two from a pattern, with a target for negative, neutral and positive. None of the sentiment
words, nouns and patterns here is in the behaviour suite (``behaviour.py``), which measures what was learnt from them.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.training import behaviour
from app.training.reviews.wordlists import (
    NATIONALITIES,
    ORIENTATIONS,
    RELIGIONS,
    emoji_sentiment,
    first_names,
    ordinary_words,
    place_names,
    sentiment_words,
)

Target = tuple[float, float, float]
"""Probability of negative, neutral and positive."""

PATTERNS_FILE = Path(__file__).with_name("patterns.tsv")
"""Sentences with places for words, ``{t}`` for instance, and their targets."""

NEGATIVE: Target = (0.94, 0.04, 0.02)
NEUTRAL: Target = (0.04, 0.92, 0.04)
POSITIVE: Target = (0.02, 0.04, 0.94)

GOOD = """
good great excellent amazing awesome fantastic wonderful perfect nice beautiful brilliant incredible exceptional
extraordinary enjoyable fun happy pleasant adorable exciting sweet outstanding best fine friendly helpful clean fast
easy
useful lovable likable funny interesting smart cool worthwhile remarkable phenomenal favorite decent solid fresh
delicious cozy cheerful elegant clever gripping touching memorable convenient affordable smooth responsive sturdy
""".split()
BAD = """
bad terrible awful horrible poor weak boring annoying dreary rough lousy unhappy difficult sad frustrating hard lame
nasty
creepy ridiculous ugly unpleasant weird worst dirty slow useless stupid dumb broken cheap disgusting expensive
overpriced rude noisy cold bland stale smelly cramped buggy laggy confusing uncomfortable unreliable unhelpful dull
pointless painful miserable crappy sloppy messy greasy moldy flimsy defective misleading worthless hopeless
""".split()
_GOOD_VERBS = "like love enjoy recommend appreciate admire adore value trust want".split()
_BAD_VERBS = "hate dislike regret despise loathe resent abhor dread".split()
THINGS = """
food service staff room hotel phone screen battery app game movie film book course flight seat crew pilot airline plane
aircraft cabin product price camera restaurant place pizza burger coffee sauce dessert menu bed bathroom shower pool
breakfast location view story plot acting script cast ending director actor song album band music sound keyboard laptop
charger cable headphones speaker tablet update feature interface design support delivery packaging seller store shop
shirt dress shoes fabric color size fit quality teacher lesson class material driver ride car trip doctor company
meal chicken fish steak soup salad drink beer wine atmosphere decor table manager team customer website
""".split()
NEUTRAL_WORDS = """
australian white blue black red green square round wooden metal annual daily weekly public private commercial domestic
international local standard ordinary regular electric digital northern southern eastern western medium vertical
""".split()
_ASIDES = """
after {num} visits|given the price|despite what the ads say|contrary to the reviews|as far as i can tell|
if i am honest|to put it mildly|for all the hype|in my experience|no matter what they promise|
whatever anyone tells you|at this price|after all this time|with {num} people in the room|
once you have used it for a week|though my friend the {job} swears by it|and i have been to {place} often|
and i know {t} well|which i bought in {place}|which {name} chose for us|as i told {name}|
having used it for {num} weeks|having paid {num} dollars|when all is said and done|in the eyes of most people|
to my mind|even for a beginner|on a second look|seen from the outside|not that i care much|
as everyone here knows|i must say|after the long drive from {place}|in spite of the photos|looking back|
all things considered|as a {nation} {job}|i think|compared with the ones in {place}|
which had been my plan for months|in any way|by the standards of {place}
""".replace("\n", "").split("|")
_FORMER = """
the last one|the one before|the previous {t}|last year's {t}|what we had before|the older {t}|all the others|
the first {t}|the {t} from {place}|{name}'s|the other {t}|most of them|our old {t}|the one we had in {num}
""".replace("\n", "").split("|")
_PROFESSIONS = """
poet doctor teacher nurse engineer lawyer writer student accountant artist actor architect chef driver farmer manager
journalist secretary waiter economist scientist historian producer editor model director reporter entrepreneur
""".split()

PRAISE = """
couldn't be better|can't recommend it enough|couldn't be happier|could not have asked for more|can't stop using it|
no complaints at all|nothing to complain about|not a single problem so far|never had a problem with it|
no issues whatsoever|
nothing bad to say about it|it never lets me down|you can't go wrong with this|hard to beat|hard to fault|
can't say enough good things about it|never a dull moment|not a dull minute in it|i can't get enough of it|
it doesn't get any better than this|second to none|worth every penny|worth the wait|to die for|killer deal|
blew me away|knocked it out of the park|insanely good|wicked good|sick beats, man|a no-brainer|what more could you want|
i was wrong to doubt it|leaves nothing to be desired|i'd buy it again without hesitation|no regrets|
without a doubt the best|never seen anything this good|nobody does it better|the only bad thing is that it ends|
exceeded my expectations|a must have|a must see|highly recommended|two thumbs up|five stars|10 out of 10|
works like a charm|i'll be back for sure|my kids are crazy about it|addictive in the best way|not too shabby
""".replace("\n", "").split("|")
COMPLAINTS = """
save your money|a waste of time|a waste of money|don't waste your time|don't bother|not worth the money|not worth it|
i want my money back|what a joke|thanks for nothing|good luck getting a refund|never again|i'll never come back|
avoid at all costs|stay away|leaves a lot to be desired|could have been so much better|i expected more|
i wish i had read the reviews first|looked great in the pictures, arrived broken|so much for customer service|
great, another update that breaks everything|the best part was leaving|the only good thing was the exit|
two hours of my life i will never get back|if only it worked|nothing works|it stopped working after a week|
not as described|not what i paid for|fails to impress|falls flat|it could not be worse|couldn't be worse|
no one answers the phone|nobody cares|nobody helped us|they never replied|never arrived|full of bugs|
zero stars if i could|one star is too many|1 out of 10|0 out of 10|thumbs down|hugely overrated|too good to be true|
lost a customer|i had to return it|i asked for a refund|threw it in the trash|buyer beware|a total rip off|
i'd rather watch paint dry|not fit for purpose|please fix this|used to work, now it crashes|i uninstalled it
""".replace("\n", "").split("|")
FACTS = """
it comes in three sizes|we arrived on monday|the box has two cables in it|i bought it in may|the store opens at nine|
it is on the second floor|the flight leaves at noon|we had a reservation for four|it runs on two batteries|
the movie is set in the seventies|the book has twelve chapters|there are ten lessons in the course|
i am using it with my laptop|i ordered the medium one|it is made of plastic|my sister has the same one|
he plays a detective in this one|it was released last year|we stayed for three nights|the hotel is next to the station|
the menu changes every month|i have a question about the size|does anyone know when it opens|
see you tomorrow at the meeting|
the manual is in english|she works at the front desk|the room has two beds and a desk|it takes about an hour by train|
the app asks for your location|you can pay by card or in cash|the bus stops in front of the building|
i will call you later
""".replace("\n", "").split("|")
_OPENERS = (
    "",
    "",
    "",
    "",
    "honestly, ",
    "well, ",
    "ok so ",
    "to be fair, ",
    "in my opinion, ",
    "overall, ",
    "i think ",
    "imo ",
)
_SUBJECTS = (
    "the {t}",
    "the {t}",
    "this {t}",
    "that {t}",
    "their {t}",
    "my {t}",
    "our {t}",
    "it",
    "everything",
    "the {t} here",
)


@dataclass(frozen=True)
class GeneratedText:
    """A text and its target."""

    text: str
    target: Target


class Generator:
    """Draws generated texts; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._patterns = _read_patterns()
        names, places = list(first_names()[:2500]), list(place_names()[:1500])
        # Half of the words of judgement and a part of the things are of the word lists, so that patterns are learnt and
        # not these words.
        self._wide: dict[str, tuple[float, Sequence[str]]] = {
            "p": (0.5, _listed(_SURELY)), "n": (0.5, _listed(-_SURELY)), "t": (0.3, _others(ordinary_words())),
        }  # fmt: skip
        self._lists: dict[str, Sequence[str]] = {
            "p": GOOD, "n": BAD, "t": THINGS, "name": names, "place": places, "nation": NATIONALITIES,
            "faith": RELIGIONS, "love": ORIENTATIONS, "job": _PROFESSIONS, "neutral": NEUTRAL_WORDS,
            "lv": _GOOD_VERBS, "hv": _BAD_VERBS, "praise": PRAISE, "complaint": COMPLAINTS, "fact": FACTS,
            "very": ("very", "really", "so", "extremely", "truly", "incredibly", "absolutely", "quite", "super"),
            "aside": _ASIDES, "former": _FORMER,
            "much": ("far", "much", "a lot", "even", "way", "so much", "a good deal", "", "", "still", "clearly"),
            "abit": ("a bit", "slightly", "a little", "somewhat", "kind of", "sort of"),
            "s": _SUBJECTS, "was": ("is", "was", "is", "was", "has been", "looks", "seems"),
            "isnt": ("is not", "isn't", "was not", "wasn't", "is never", "was never", "is hardly", "was hardly",
                     "isn't really", "was not at all", "is by no means", "is far from", "was anything but", "isnt",
                     "wasnt", "is not very", "wasn't that", "isn't so", "is not exactly", "has never been",
                     "doesn't look",
                     "did not seem", "won't be", "would not be", "ain't", "cannot be called"),
            "dont": ("don't", "do not", "didn't", "did not", "never", "would not", "wouldn't", "can't", "cannot",
                     "couldn't", "could not", "dont", "no longer", "hardly", "can't really", "don't really"),
            "no": ("no", "nope", "no.", "not at all", "not really", "absolutely not", "never", "no way", "hell no"),
            "yes": ("yes", "yes.", "yep", "absolutely", "definitely", "of course", "for sure", "very much so"),
            "num": [*map(str, [*range(2, 1000), *range(2, 60), *range(1950, 2030)]), *"23456789" * 40],
        }  # fmt: skip

    def texts(self, count: int) -> list[GeneratedText]:
        """``count`` texts of all kinds, shuffled as drawn."""
        kinds = list(self._patterns)
        weights = [_WEIGHTS.get(kind, 1.0) for kind in kinds]
        return [self._pattern(kind) for kind in self._random.choices(kinds, weights, k=count)]

    def lexicon(self) -> list[GeneratedText]:
        """Every word and emoji of the sentiment lists, alone and, but those of the behaviour suite, in a few words."""
        made = []
        tested = _tested()
        for word, value in {**sentiment_words(), **emoji_sentiment()}.items():
            target = graded(value)
            made.append(GeneratedText(word, target))
            if word.isalpha() and word not in tested:
                frames = self._random.sample(_FRAMES, 1 if abs(value) < _SURELY else 4)
                made += [GeneratedText(self._filled(frame.replace("{}", word)), target) for frame in frames]
            elif not word.isascii():
                made.append(GeneratedText(f"{self._filled('{fact}')} {word}", target))
                made.append(GeneratedText(f"{self._filled('{t}')} {word}{word}", target))
        return made

    def with_phrase(self, text: str, target: Target) -> GeneratedText:
        """A text with a complaint or a praise behind or before it, and a target that moved that way."""
        good = self._random.random() < 0.4
        phrase = self._filled(self._random.choice(_PRAISING if good else _BLAMING))
        share = 0.45 if len(text.split()) > 8 else 0.6
        moved = POSITIVE if good else NEGATIVE
        parts = (text, phrase) if self._random.random() < 0.8 else (phrase, text)
        mixed = tuple((1 - share) * old + share * new for old, new in zip(target, moved, strict=True))
        ending = "" if parts[0].rstrip()[-1:] in ".!?" else "."
        return GeneratedText(f"{parts[0]}{ending} {parts[1]}", (mixed[0], mixed[1], mixed[2]))

    def _pattern(self, kind: str) -> GeneratedText:
        pattern, target = self._random.choice(self._patterns[kind])
        text = self._filled(pattern)
        if self._random.random() < 0.25:
            text = self._filled(self._random.choice(_OPENERS)) + text
        if self._random.random() < 0.5:
            text = text[:1].upper() + text[1:]
        if text[-1].isalnum() and self._random.random() < 0.7:
            text += self._random.choice((".", ".", ".", "!", "!!", "..."))
        return GeneratedText(text, target)

    def _filled(self, pattern: str) -> str:
        """A pattern with random words."""
        return behaviour.filled(pattern, self._word)

    def _word(self, place: str) -> str:
        share, wide = self._wide.get(place, (0.0, ()))
        if share and self._random.random() < share:
            return self._random.choice(wide)
        if place == "name" and self._random.random() < _INVENTED:
            return "".join(self._random.choice(_SYLLABLES) for _ in range(self._random.randint(2, 3)))
        return self._random.choice(self._lists[place])


def _listed(bound: float) -> list[str]:
    """Words of the sentiment lists that are surely good, or bad where the bound is negative, and judge things."""
    words = sentiment_words()
    sign = 1 if bound > 0 else -1
    return _others(
        word for word, value in words.items() if word.isalpha() and value * sign >= abs(bound) and _judges(word)
    )


def _judges(word: str) -> bool:
    """Whether a word looks like an adjective or a participle, which fit the patterns."""
    return word.endswith(_ADJECTIVES)


def _others(words: Iterable[str]) -> list[str]:
    """Words that the behaviour suite does not have."""
    tested = _tested()
    return [word for word in words if word not in tested]


def _tested() -> set[str]:
    return {word for words in behaviour.WORDS.values() for word in words}


def _read_patterns() -> dict[str, list[tuple[str, Target]]]:
    """Patterns with their targets, by kind."""
    patterns: dict[str, list[tuple[str, Target]]] = {}
    with PATTERNS_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            negative, neutral, positive = (float(row[label]) for label in ("negative", "neutral", "positive"))
            patterns.setdefault(row["kind"], []).append((row["pattern"], (negative, neutral, positive)))
    return patterns


def graded(value: float) -> Target:
    """A valence, -1 to 1, as a target: the further from 0, the surer."""
    strength = min(1.0, abs(value) * 1.9)
    sure = 0.30 + 0.65 * strength if abs(value) > 0.1 else 0.05
    neutral = 1 - sure - 0.03
    return (0.03, neutral, sure) if value > 0 else (sure, neutral, 0.03)


_ADJECTIVES = (
    "ful",
    "ous",
    "ing",
    "ent",
    "ant",
    "ible",
    "able",
    "ive",
    "less",
    "ed",
    "ic",
    "y",
    "al",
    "ate",
    "id",
    "ish",
    "ne",
    "st",
)
_FRAMES = (
    "so {}",
    "{}!",
    "it was {}",
    "very {}",
    "just {}",
    "{} {t}",
    "how {}",
    "{} as always",
    "the {t} was {}",
    "{} and {}",
)
_PRAISING = ("{praise}.", "i {lv} it!", "{s} was {very} {p}.", "you are {p}.", "i would {lv} it again.")
_BLAMING = (
    "{complaint}.", "i {hv} it.", "i {hv} you.", "{s} was {very} {n}.", "you are {n}.", "never flying with you again.",
    "i {dont} {lv} it.", "{s} {isnt} {p}.", "this is {n}.", "so {n}.",
)  # fmt: skip

_SURELY = 0.3
_INVENTED = 0.3
_SYLLABLES = (
    "ka mi ro shan wei tha bo ra jesh yu ki no la ti va den mar zu fe lo san dri nia ber to xi oma ne so ju".split()
)
_WEIGHTS = {
    "numbers": 2.2,
    "contrast": 2.2,
    "comparison": 1.6,
    "others": 0.9,
    "emoji": 0.7,
    "idioms": 1.0,
    "plain": 1.2,
    "negated good": 4.0,
    "negated bad": 2.2,
    "question": 1.2,
    "then and now": 1.5,
    "fact": 1.6,
    "people": 1.4,
}
