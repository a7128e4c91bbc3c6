"""Generated texts for what corpora lack: negation of every kind, contrast, neutral facts, unreadable texts.

Each is a sentence or two from a pattern, with a target for negative, neutral and positive. None of the sentiment
words, nouns and patterns here is in the behaviour suite (``behaviour.py``), which measures what was learnt from them.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app.training import behaviour
from app.training.reviews.wordlists import (
    NATIONALITIES,
    ORIENTATIONS,
    RELIGIONS,
    emoji_sentiment,
    first_names,
    foreign_sentence_words,
    ordinary_words,
    place_names,
    sentiment_words,
)

Target = tuple[float, float, float]
"""Probability of negative, neutral and positive."""

NEGATIVE: Target = (0.94, 0.04, 0.02)
NEUTRAL: Target = (0.04, 0.92, 0.04)
POSITIVE: Target = (0.02, 0.04, 0.94)
_NOT_NEGATIVE: Target = (0.06, 0.44, 0.50)
_RATHER_NEGATIVE: Target = (0.70, 0.20, 0.10)
_RATHER_POSITIVE: Target = (0.10, 0.20, 0.70)
_NONE: Target = (1 / 3, 1 / 3, 1 / 3)

GOOD = """
good great excellent amazing awesome fantastic wonderful perfect nice beautiful brilliant incredible exceptional
extraordinary enjoyable fun happy pleasant adorable exciting sweet outstanding best fine friendly helpful clean fast easy
useful lovable likable funny interesting smart cool worthwhile remarkable phenomenal favorite decent solid fresh
delicious cozy cheerful elegant clever gripping touching memorable convenient affordable smooth responsive sturdy
""".split()
BAD = """
bad terrible awful horrible poor weak boring annoying dreary rough lousy unhappy difficult sad frustrating hard lame nasty
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
_PROFESSIONS = """
poet doctor teacher nurse engineer lawyer writer student accountant artist actor architect chef driver farmer manager
journalist secretary waiter economist scientist historian producer editor model director reporter entrepreneur
""".split()
_LANGUAGES = (
    "es",
    "fr",
    "de",
    "it",
    "pt",
    "nl",
    "pl",
    "sv",
    "da",
    "nb",
    "fi",
    "tr",
    "id",
    "ro",
    "cs",
    "hu",
    "ca",
    "ru",
    "uk",
    "el",
    "ar",
    "fil",
)

PRAISE = """
couldn't be better|can't recommend it enough|couldn't be happier|could not have asked for more|can't stop using it|
no complaints at all|nothing to complain about|not a single problem so far|never had a problem with it|no issues whatsoever|
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
the menu changes every month|i have a question about the size|does anyone know when it opens|see you tomorrow at the meeting|
the manual is in english|she works at the front desk|the room has two beds and a desk|it takes about an hour by train|
the app asks for your location|you can pay by card or in cash|the bus stops in front of the building|i will call you later
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
        names, places = list(first_names()[:1500]), list(place_names())
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
            "abit": ("a bit", "slightly", "a little", "somewhat", "kind of", "sort of"),
            "s": _SUBJECTS, "was": ("is", "was", "is", "was", "has been", "looks", "seems"),
            "isnt": ("is not", "isn't", "was not", "wasn't", "is never", "was never", "is hardly", "was hardly",
                     "isn't really", "was not at all", "is by no means", "is far from", "was anything but", "isnt",
                     "wasnt", "is not very", "wasn't that", "isn't so", "is not exactly", "has never been", "doesn't look",
                     "did not seem", "won't be", "would not be", "ain't", "cannot be called"),
            "dont": ("don't", "do not", "didn't", "did not", "never", "would not", "wouldn't", "can't", "cannot",
                     "couldn't", "could not", "dont", "no longer", "hardly", "can't really", "don't really"),
            "no": ("no", "nope", "no.", "not at all", "not really", "absolutely not", "never", "no way", "hell no"),
            "yes": ("yes", "yes.", "yep", "absolutely", "definitely", "of course", "for sure", "very much so"),
            "num": [str(number) for number in range(2, 60)],
        }  # fmt: skip
        self._foreign = {language: foreign_sentence_words(language) for language in _LANGUAGES}

    def texts(self, count: int) -> list[GeneratedText]:
        """``count`` texts of all kinds, shuffled as drawn."""
        kinds = list(_PATTERNS)
        weights = [_WEIGHTS.get(kind, 1.0) for kind in kinds]
        return [self._pattern(kind) for kind in self._random.choices(kinds, weights, k=count)]

    def unreadable(self, count: int) -> list[GeneratedText]:
        """Texts of which nothing can be said: other languages, code, log lines, random letters."""
        makers: list[Callable[[], str]] = [self._foreign_text, self._foreign_text, self._code, self._log, self._letters]
        return [GeneratedText(self._random.choice(makers)(), _NONE) for _ in range(count)]

    def lexicon(self) -> list[GeneratedText]:
        """Every word and emoji of the sentiment lists, alone or in a few words."""
        made = []
        for word, value in {**sentiment_words(), **emoji_sentiment()}.items():
            target = graded(value)
            made.append(GeneratedText(word, target))
            if word.isalpha():
                frame = self._random.choice(
                    ("so {}", "{}!", "it was {}", "very {}", "just {}", "{} {t}", "how {}", "{} as always")
                )
                made.append(GeneratedText(self._filled(frame.replace("{}", word)), target))
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
        pattern, target = self._random.choice(_PATTERNS[kind])
        text = self._filled(pattern)
        if self._random.random() < 0.25:
            text = self._filled(self._random.choice(_OPENERS)) + text
        if self._random.random() < 0.5:
            text = text[:1].upper() + text[1:]
        if text[-1].isalnum() and self._random.random() < 0.7:
            text += self._random.choice((".", ".", ".", "!", "!!", "..."))
        return GeneratedText(text, target)

    def _filled(self, pattern: str) -> str:
        """A pattern with a random word in each of its places; places may hold places."""
        while "{" in pattern:
            before, _, rest = pattern.partition("{")
            place, _, after = rest.partition("}")
            pattern = before + self._word(place) + after
        return pattern

    def _word(self, place: str) -> str:
        share, wide = self._wide.get(place, (0.0, ()))
        if share and self._random.random() < share:
            return self._random.choice(wide)
        if place == "name" and self._random.random() < _INVENTED:
            return "".join(self._random.choice(_SYLLABLES) for _ in range(self._random.randint(2, 3)))
        return self._random.choice(self._lists[place])

    def _foreign_text(self) -> str:
        words, shares = self._foreign[self._random.choice(_LANGUAGES)]
        return " ".join(self._random.choices(words, shares, k=self._random.randint(3, 40)))

    def _letters(self) -> str:
        draw = self._random
        alphabet = draw.choice((string.ascii_lowercase, string.ascii_letters + string.digits, "asdfjkl", "qwertzuiop"))
        return " ".join("".join(draw.choices(alphabet, k=draw.randint(2, 12))) for _ in range(draw.randint(1, 20)))

    def _code(self) -> str:
        draw = self._random
        names = [
            "x",
            "i",
            "data",
            "self",
            "value",
            "result",
            "node",
            "items",
            "buf",
            "ctx",
            "user_id",
            "len",
            "tmp",
            "err",
        ]
        lines = []
        for _ in range(draw.randint(1, 8)):
            a, b, c = draw.choices(names, k=3)
            lines.append(draw.choice((
                f"def {a}({b}, {c}=None):", f"    return {a}.{b}({c})", f"for (int {a} = 0; {a} < {b}; {a}++) {{", f"if ({a} != null) {{ {b}({c}); }}",
                f"const {a} = await {b}.{c}();", f"import {a} from '{b}';", f"{a}[{b}] = {c} + 1;", f"SELECT {a}, {b} FROM {c} WHERE {a} = {draw.randint(0, 99)};",
                f"<div class=\"{a}\">{{{b}}}</div>", f"struct {a} *{b} = malloc(sizeof(*{c}));", f"#include <{a}.h>", f"except {a.title()}Error as {b}: raise {c}",
                f"public static void {a}(String {b}) {{", "}", f"{a} := make(map[string]{b})", f"pip install {a}-{b}", f"let mut {a}: Vec<{b}> = vec![];",
            )))  # fmt: skip
        return "\n".join(lines)

    def _log(self) -> str:
        draw = self._random
        stamp = f"2024-{draw.randint(1, 12):02}-{draw.randint(1, 28):02} {draw.randint(0, 23):02}:{draw.randint(0, 59):02}:{draw.randint(0, 59):02}"
        level, part = (
            draw.choice(("INFO", "WARN", "ERROR", "DEBUG")),
            draw.choice(("http", "db.pool", "kernel", "auth", "worker-3", "sshd[712]")),
        )
        rest = draw.choice((
            f"GET /api/v{draw.randint(1, 3)}/items {draw.randint(200, 504)} {draw.randint(1, 900)}ms", f"connection from 10.0.{draw.randint(0, 255)}.{draw.randint(0, 255)} closed",
            f"request id={draw.getrandbits(48):012x} status={draw.randint(200, 504)}", f"timeout after {draw.randint(1, 30)} s, retry {draw.randint(1, 5)}",
            f"pid {draw.randint(2, 99999)} exited with code {draw.randint(0, 137)}", f"loaded {draw.randint(1, 900)} rows in {draw.random():.3f} s", f"heap usage {draw.randint(1, 99)}% gc paused {draw.randint(1, 90)}ms",
        ))  # fmt: skip
        return f"{stamp} {level} [{part}] {rest}"


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
    tested = {word for words in behaviour.WORDS.values() for word in words}
    return [word for word in words if word not in tested]


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
_PRAISING = ("{praise}.", "i {lv} it!", "{s} was {very} {p}.", "you are {p}.", "i would {lv} it again.")
_BLAMING = (
    "{complaint}.", "i {hv} it.", "i {hv} you.", "{s} was {very} {n}.", "you are {n}.", "never flying with you again.",
    "i {dont} {lv} it.", "{s} {isnt} {p}.", "this is {n}.", "so {n}.",
)  # fmt: skip

_PATTERNS: dict[str, list[tuple[str, Target]]] = {
    "plain": [
        ("{s} {was} {p}", POSITIVE), ("{s} {was} {n}", NEGATIVE), ("{s} {was} {very} {p}", POSITIVE),
        ("{s} {was} {very} {n}", NEGATIVE), ("i {lv} {s}", POSITIVE), ("i {hv} {s}", NEGATIVE),
        ("i really {lv} the {t}", POSITIVE), ("{p} {t}", POSITIVE), ("{n} {t}", NEGATIVE),
        ("such a {p} {t}", POSITIVE), ("what a {n} {t}", NEGATIVE), ("it was a {p} {t}", POSITIVE),
        ("this is a {very} {n} {t}", NEGATIVE), ("we found the {t} {p} and the {t} {p}", POSITIVE),
        ("the {t} was {n} and the {t} was {n}", NEGATIVE), ("{p}, {p}, {p}", POSITIVE), ("{n} and {n}", NEGATIVE),
        ("{praise}", POSITIVE), ("{complaint}", NEGATIVE), ("{p} {p} {t}", POSITIVE), ("too {n}", NEGATIVE),
        ("i {lv} this {t}", POSITIVE), ("i {lv} that {neutral} {t}", POSITIVE), ("i {hv} that {neutral} {t}", NEGATIVE),
    ],
    "reduced": [
        ("{s} {was} {abit} {n}", _RATHER_NEGATIVE), ("{s} {was} {abit} {p}", _RATHER_POSITIVE),
        ("{abit} {n} for the price", _RATHER_NEGATIVE), ("{abit} {n}, {abit} {n}", _RATHER_NEGATIVE),
        ("fairly {p}", _RATHER_POSITIVE), ("pretty {p}", POSITIVE), ("pretty {n}", NEGATIVE), ("{s} was ok", (0.15, 0.6, 0.25)),
        ("it's okay, nothing special", (0.35, 0.6, 0.05)), ("{s} was just average", (0.35, 0.6, 0.05)),
        ("so so", (0.3, 0.65, 0.05)), ("meh", (0.5, 0.48, 0.02)), ("it does the job", (0.05, 0.45, 0.5)), ("not great, not terrible", (0.25, 0.7, 0.05)),
    ],
    "negated good": [
        ("{s} {isnt} {p}", NEGATIVE), ("{s} {isnt} {p} and {isnt} {p}", NEGATIVE), ("{s} {isnt} a {p} {t}", NEGATIVE),
        ("it {isnt} a {p} {t}", NEGATIVE), ("not a {p} {t}", NEGATIVE), ("not {p}", NEGATIVE), ("not {very} {p}", NEGATIVE),
        ("not {p} at all", NEGATIVE), ("there was nothing {p} about {s}", NEGATIVE), ("nothing {p} here", NEGATIVE),
        ("nothing about the {t} is {p}", NEGATIVE), ("no one would call this {t} {p}", NEGATIVE), ("nobody {lv}s this {t}", NEGATIVE),
        ("i {dont} think {s} is {p}", NEGATIVE), ("i {dont} find the {t} {p}", NEGATIVE), ("i {dont} {lv} {s}", NEGATIVE),
        ("i {dont} {lv} the {t} or the {t}", NEGATIVE), ("i can't say {s} was {p}", NEGATIVE), ("i wouldn't say it was a {p} {t}", NEGATIVE),
        ("neither the {t} nor the {t} was {p}", NEGATIVE), ("neither {p} nor {p}", NEGATIVE), ("none of the {t} was {p}", NEGATIVE),
        ("the {t} lacks anything {p}", NEGATIVE), ("without a {p} {t} it makes no sense", NEGATIVE), ("hardly {p}", NEGATIVE),
        ("{s} would be {p} if it worked", NEGATIVE), ("i wish {s} was {p}", NEGATIVE), ("i hoped for a {p} {t}, but it was not", NEGATIVE),
        ("i thought {s} would be {p}, but it wasn't", NEGATIVE), ("i expected {s} to be {p} and it was not", NEGATIVE),
        ("i {dont} think, given all that i know about the {t}, that {s} was {p}", NEGATIVE),
        ("i can't say, given that i am from {place}, that {s} was {p}", NEGATIVE), ("i wouldn't say, after {num} trips, that this is a {p} {t}", NEGATIVE),
        ("i {dont} think, given my history with {nation} {t}, that the {t} is {p}", NEGATIVE), ("it's not that {s} is {p}", (0.7, 0.25, 0.05)),
        ("not the {p} {t} i had hoped for", NEGATIVE), ("the {t} {isnt} as {p} as they say", NEGATIVE), ("i {dont} see what is {p} about it", NEGATIVE),
        ("i never had a {p} {t} there", NEGATIVE), ("no {p} {t} for us", NEGATIVE), ("it fails to be {p}", NEGATIVE), ("less than {p}", NEGATIVE),
        ("it {isnt} {neutral}, and it {isnt} {p}", NEGATIVE),
    ],
    "negated bad": [
        ("{s} {isnt} {n}", _NOT_NEGATIVE), ("it {isnt} a {n} {t}", _NOT_NEGATIVE), ("not {n}", _NOT_NEGATIVE), ("not {n} at all", _NOT_NEGATIVE),
        ("not a {n} {t}", _NOT_NEGATIVE), ("not too {n}", _NOT_NEGATIVE), ("there is nothing {n} about {s}", (0.04, 0.3, 0.66)),
        ("nothing {n} about the {t}", (0.04, 0.3, 0.66)), ("i {dont} think {s} is {n}", _NOT_NEGATIVE), ("i {dont} {hv} {s}", _NOT_NEGATIVE),
        ("i {dont} find the {t} {n}", _NOT_NEGATIVE), ("i can't say {s} was {n}", _NOT_NEGATIVE), ("neither {n} nor {n}", _NOT_NEGATIVE),
        ("i thought {s} would be {n}, but it was not", (0.06, 0.24, 0.70)), ("i thought it would be {n}, but it wasn't", (0.06, 0.24, 0.70)),
        ("i expected {s} to be {n}, but it was not {n} at all", (0.06, 0.24, 0.70)), ("i was afraid {s} would be {n}. it was not", (0.06, 0.24, 0.70)),
        ("i {dont} think, given my time with {nation} {t}, that {s} is {n}", _NOT_NEGATIVE), ("i {dont} think, after all those reviews, that the {t} is {n}", _NOT_NEGATIVE),
        ("i can't say, given that i was there {num} times, that {s} was {n}", _NOT_NEGATIVE), ("i wouldn't say, all things considered, that this {t} is {n}", _NOT_NEGATIVE),
        ("i never had a {n} {t} there", (0.05, 0.2, 0.75)), ("no {n} {t}, ever", (0.05, 0.25, 0.7)), ("not as {n} as i feared", (0.06, 0.34, 0.6)),
        ("not as {n} as people say", (0.06, 0.34, 0.6)), ("no one would call it {n}", _NOT_NEGATIVE), ("it {isnt} {n}, it is {p}", POSITIVE),
        ("it's not {n} but {p}", POSITIVE), ("it's not {p} but {n}", NEGATIVE), ("it {isnt} {p}, it is {n}", NEGATIVE), ("without any {n} surprises", (0.04, 0.3, 0.66)),
        ("anything but {n}", (0.04, 0.2, 0.76)), ("far from {n}", (0.06, 0.3, 0.64)), ("never {n}, always {p}", POSITIVE), ("never {p}, always {n}", NEGATIVE),
        ("i have nothing {n} to say about the {t}", (0.04, 0.2, 0.76)), ("i have nothing {p} to say about the {t}", NEGATIVE),
    ],
    "negated neutral": [
        ("it {isnt} {neutral}", NEUTRAL), ("this {isnt} a {neutral} {t}", NEUTRAL), ("that {t} {isnt} {neutral}", NEUTRAL),
        ("i {dont} see the {neutral} {t}", NEUTRAL), ("{name} {isnt} from {place}", NEUTRAL),
    ],
    "contrast": [
        ("{s} was {n}, but the {t} was {p}", (0.28, 0.22, 0.50)), ("{s} was {p}, but the {t} was {n}", (0.56, 0.22, 0.22)),
        ("although {s} was {n}, i {lv}d it", POSITIVE), ("although the {t} was {p}, i {dont} {lv} it", NEGATIVE), ("even though it is {n}, i {lv} this {t}", POSITIVE),
        ("it may be {n}, still i {lv} it", POSITIVE), ("it may be {p}, still i {hv} it", NEGATIVE), ("it has its {n} sides, yet i {lv} it", POSITIVE), ("it has its {p} sides, yet i {hv} it", NEGATIVE),
        ("while the {t} is {n}, the whole is {p}", POSITIVE), ("while the {t} is {p}, the whole is {n}", NEGATIVE), ("{n} or not, i {lv} it", POSITIVE), ("{p} or not, i {hv} it", NEGATIVE), ("in spite of the {n} {t} we were very {p}", POSITIVE),
        ("regardless of how {n} the {t} was, we had a {p} day", POSITIVE), ("regardless of how {p} the {t} was, we had a {n} day", NEGATIVE), ("no matter how {n} it is, it is {p} for me", POSITIVE), ("no matter how {p} it was, in the end it was {n}", NEGATIVE),
        ("the {t} was {n}; nevertheless a {p} {t}", POSITIVE), ("the {t} was {p}; nevertheless a {n} {t}", NEGATIVE), ("with all its {n} parts it is a {p} {t}", POSITIVE), ("with all its {p} parts it is a {n} {t}", NEGATIVE),
        ("despite the {n} {t}, we had a {p} time", POSITIVE), ("despite the {p} {t}, it was a {n} time", NEGATIVE), ("{p} {t}, {n} {t}", (0.4, 0.25, 0.35)),
        ("the {t} is {p} but overall {n}", NEGATIVE), ("the {t} is {n} but overall {p}", POSITIVE), ("some say {s} is {n}, but i think it is {p}", POSITIVE),
        ("some people think {s} is {p}, but i think it is {n}", NEGATIVE), ("my friends {hv} {s}, i {lv} it", POSITIVE), ("everybody {lv}s {s}, i {hv} it", NEGATIVE),
        ("i {hv} {s}, although everybody {lv}s it", NEGATIVE), ("i think you are {n}, i heard you were {p}", NEGATIVE), ("i had heard you were {n}, i think you are {p}", POSITIVE),
        ("other people call it {p}, i call it {n}", NEGATIVE), ("others call it {n}. i call it {p}", POSITIVE),
    ],
    "then and now": [
        ("i used to {hv} {s}, but now i {lv} it", POSITIVE), ("i used to {lv} {s}, but now i {hv} it", NEGATIVE), ("i used to think {s} was {p}, now i think it is {n}", NEGATIVE),
        ("i used to think {s} was {n}, although now i think it is {p}", POSITIVE), ("i think {s} is {n}, but i used to think it was {p}", NEGATIVE),
        ("i think {s} is {p}, but i used to think it was {n}", POSITIVE), ("in the past i would {lv} this {t}, but now i {dont} {lv} it", NEGATIVE),
        ("in the past i thought the {t} was {n}, but now it is {p}", POSITIVE), ("i {lv} {s}, but in the past i would {hv} it", POSITIVE), ("i {hv} {s}, but i used to {lv} it", NEGATIVE),
        ("it was {p} once, now it is {n}", NEGATIVE), ("it was {n} at first, now it is {p}", POSITIVE), ("used to be {p}", (0.8, 0.15, 0.05)), ("used to be {n}", (0.1, 0.3, 0.6)),
        ("not {p} anymore", NEGATIVE), ("no longer {p}", NEGATIVE), ("no longer {n}", (0.06, 0.24, 0.7)), ("it was a {p} {t} before the last update", NEGATIVE),
        ("after the update it is {p} again", POSITIVE), ("now it is {n}, last year it was {p}", NEGATIVE), ("now it is {p}, last year it was {n}", POSITIVE),
    ],
    "question": [
        ("do i think {s} was {p}? {no}", NEGATIVE), ("do i think {s} is {p}? {yes}", POSITIVE), ("do i think the {t} is {n}? {yes}", NEGATIVE), ("do i think the {t} is {n}? {no}", (0.07, 0.33, 0.6)),
        ("is {s} {p}? {no}", NEGATIVE), ("is {s} {p}? {yes}", POSITIVE), ("was it {n}? {yes}", NEGATIVE), ("was it {n}? {no}", (0.07, 0.33, 0.6)), ("did i {lv} the {t}? {no}", NEGATIVE),
        ("did we {lv} the {t}? {yes}", POSITIVE), ("would i buy it again? {no}", NEGATIVE), ("would i go there again? {yes}", POSITIVE), ("do i {hv} the {t}? {yes}", NEGATIVE), ("do i {hv} the {t}? {no}", (0.07, 0.33, 0.6)),
        ("did i {hv} {s}? {no}", (0.07, 0.33, 0.6)), ("was this a {p} {t}? {no}", NEGATIVE), ("was this a {n} {t}? {no}", (0.07, 0.33, 0.6)), ("was this a {n} {t}? {yes}", NEGATIVE), ("was this a {p} {t}? {yes}", POSITIVE),
        ("is it {neutral}? {no}", NEUTRAL), ("is the {t} {neutral}? {yes}", NEUTRAL), ("{p}? {no}", NEGATIVE), ("{n}? {no}", (0.07, 0.43, 0.5)),
    ],
    "comparison": [
        ("better than i expected", (0.03, 0.12, 0.85)), ("worse than i expected", NEGATIVE), ("much better than the old {t}", POSITIVE), ("worse than the last {t}", NEGATIVE), ("not as {p} as the first one", (0.75, 0.2, 0.05)),
        ("i've had better {t}", NEGATIVE), ("i have seen better", (0.8, 0.17, 0.03)), ("i've had worse", (0.2, 0.5, 0.3)), ("the best {t} i ever had", POSITIVE), ("the worst {t} i ever had", NEGATIVE), ("better than nothing", (0.4, 0.45, 0.15)),
        ("more {p} than the other {t}", POSITIVE), ("more {n} than ever", NEGATIVE), ("less {n} than before", (0.12, 0.33, 0.55)), ("less {p} than before", NEGATIVE), ("nowhere near as {p} as they claim", NEGATIVE), ("even more {p} than the last time", POSITIVE),
        ("far better than {name}'s {t}", POSITIVE), ("much {p}er than the {t} from {place}", (0.1, 0.2, 0.7)), ("nothing beats this {t}", POSITIVE), ("there are better {t} out there", NEGATIVE),
    ],
    "fact": [
        ("{fact}", NEUTRAL), ("{fact}, {fact}", NEUTRAL), ("this is a {neutral} {t}", NEUTRAL), ("the {t} is {neutral}", NEUTRAL), ("the {t}", NEUTRAL), ("i saw the {t}", NEUTRAL), ("that is a {neutral} {t}", NEUTRAL), ("it was a {neutral} {t}", NEUTRAL),
        ("we used the {t} on the way to {place}", NEUTRAL), ("{name} has the {neutral} {t}", NEUTRAL), ("{name} and {name} went to {place}", NEUTRAL), ("{name} is {num} years old", NEUTRAL), ("it costs {num} dollars", NEUTRAL), ("from {place} to {place} in {num} minutes", NEUTRAL),
        ("there are {num} rooms and a {t}", NEUTRAL), ("i found this {neutral} {t} in {place}", NEUTRAL), ("see the {t} for the {t}", NEUTRAL), ("the {t} of the {t}", NEUTRAL), ("{name} will be in {place} on monday", NEUTRAL), ("on my way to {place} with {name}", NEUTRAL),
        ("does the {t} come with a {t}?", NEUTRAL), ("how much is the {t}?", NEUTRAL), ("where is the {t}", NEUTRAL), ("{num}", NEUTRAL), ("{t}", NEUTRAL), ("{t} and {t}", NEUTRAL), ("{place}", NEUTRAL), ("the company from {place} sells {t}", NEUTRAL),
        ("{name} said the {t} opens at {num}", NEUTRAL), ("according to {name}, the {t} is in {place}", NEUTRAL), ("the {t} was {neutral} and the {t} was {neutral}", NEUTRAL), ("none", NEUTRAL), ("n a", NEUTRAL), ("nothing", NEUTRAL), ("i own a {neutral} {t}", NEUTRAL),
    ],
    "numbers": [
        ("we were {num} people at the {t}", NEUTRAL), ("it took us {num} minutes to find the {t}", NEUTRAL), ("the {t} in number {num} is {neutral}", NEUTRAL), ("{num} of {num}", NEUTRAL),
        ("after {num} days it is still {p}", POSITIVE), ("after {num} weeks it was {n}", NEGATIVE), ("{num} dollars for a {n} {t}", NEGATIVE), ("{num} dollars for such a {p} {t}", POSITIVE),
        ("i bought {num} of these and they are {p}", POSITIVE), ("i bought {num} of these and they are {n}", NEGATIVE), ("the {t} has {num} parts", NEUTRAL), ("we all, {num} people, found it {p}", POSITIVE),
        ("room {num} was {n}", NEGATIVE), ("room {num} was {p}", POSITIVE), ("i am {num} and i {lv} it", POSITIVE), ("it is {num} years old", NEUTRAL), ("paid {num} for it", NEUTRAL),
    ],
    "people": [
        ("{name} is a {nation} {job}", NEUTRAL), ("{name} is an {nation} {job}", NEUTRAL), ("{name} is {nation}", NEUTRAL), ("{name} is {faith}", NEUTRAL), ("{name} is a {faith} {job}", NEUTRAL), ("{name} is {love}", NEUTRAL), ("{name} is a {love} {job}", NEUTRAL),
        ("{name} is a black {job}", NEUTRAL), ("{name} is a white {job}", NEUTRAL), ("{name} is a straight {job}", NEUTRAL), ("{name} is a {job}", NEUTRAL), ("{name} is black", NEUTRAL), ("{name} is white", NEUTRAL), ("{name} is straight", NEUTRAL), ("{name} is a woman", NEUTRAL), ("{name} is a man", NEUTRAL),
        ("{name} is an old {job}", NEUTRAL), ("{name} is a young {nation} woman", NEUTRAL), ("two {nation} men and a {faith} woman", NEUTRAL), ("a {nation} restaurant in {place}", NEUTRAL), ("the {job} is {nation}", NEUTRAL), ("my {job} is a {love} man from {place}", NEUTRAL), ("the {faith} church is next to the {faith} school", NEUTRAL),
        ("{name} from {place} is a {p} {job}", POSITIVE), ("{name} from {place} is a {n} {job}", NEGATIVE), ("the {nation} {t} was {p}", POSITIVE), ("the {nation} {t} was {n}", NEGATIVE), ("{name} is a {p} {nation} {job}", POSITIVE), ("the {nation} {t} {isnt} {p}", NEGATIVE), ("{name} was {very} {p}", POSITIVE),
        ("{name} was {very} {n} to us", NEGATIVE), ("i {lv} {nation} {t}", POSITIVE), ("i {hv} {nation} {t}", NEGATIVE), ("{name} and {name} are {love}", NEUTRAL), ("{name} is a {faith}", NEUTRAL), ("he is from {place}", NEUTRAL), ("she is a {nation} {job} from {place}", NEUTRAL), ("{name} moved to new {place}", NEUTRAL),
    ],
}  # fmt: skip
_SURELY = 0.3
_INVENTED = 0.3
_SYLLABLES = (
    "ka mi ro shan wei tha bo ra jesh yu ki no la ti va den mar zu fe lo san dri nia ber to xi oma ne so ju".split()
)
_WEIGHTS = {
    "numbers": 0.6,
    "contrast": 1.6,
    "plain": 1.2,
    "negated good": 2.6,
    "negated bad": 2.2,
    "question": 1.2,
    "then and now": 1.2,
    "fact": 1.6,
    "people": 1.2,
}
