"""What a text speaks of, and which part of it is about each of these: by rules, without a parser.

An aspect is a noun phrase (``the battery life``) or what somebody is looking for. A sentence with several is divided
between them, at the strongest thing that stands between two: ``but`` before a semicolon, that before a comma. What is
left without anything that could judge (``the food`` of ``the food and the service were slow``) goes with its neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from app.text.sentences import sentence_spans

MOST_FOUND = 20
"""Aspects that are found in one text, in their order, where none are given."""

_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DETERMINERS = _words(
    "the a an my our your his her its their this that these those some any no every each both all another one two three"
)
_JOINING = _words(
    "but although though while whereas however yet except nevertheless nonetheless still otherwise despite unlike "
    "and or"
)
_CONTRASTS = _JOINING - {"and", "or"} | _words("sadly luckily unfortunately fortunately shame followed")
_PREPOSITIONS = _words(
    "of in on at by for from with without to into onto over under about after before between during through "
    "against than as like up down out off per near inside outside behind around within until since"
)
_OTHERS = _words(
    "i me you he him she it we us they them who whom whose which what that there here if when where why how "
    "because so or nor and not only just very too quite rather really far much more most less least even also "
    "again once at almost always never ever ago away back itself themselves himself herself myself yourself "
    "ourselves then now"
)
_VERBS = _words(
    "is are was were be been being am isn't aren't wasn't weren't has have had do does did don't doesn't didn't "
    "will would can could can't cannot couldn't should shall may might must won't wouldn't seems seem seemed "
    "looks look feels feel felt sounds sound sounded tastes taste smells smell smelled gets get got makes make "
    "made goes go went comes come came works work broke breaks fits fit runs run ran lasts last fell falls died "
    "dies costs cost took takes take gives give gave keeps keep kept needs need wants want let lets leaves leave "
    "left stinks stank tore tears deserves deserve lacks lack stops stop spoils spoil ruins ruin served solved "
    "shows says said knows love loved like liked hate hated adore enjoy enjoyed recommend adores adored loves "
    "hates enjoys forgot"
)
_NOUN_OR_VERB = _words("sound taste smell look feel work cost need run love fit")
"""Nouns behind an article."""
_VERDICTS = _words(
    "pleasure joy delight nightmare disaster joke scam mess bargain masterpiece disappointment dream agony "
    "disgrace shame rip-off junk rubbish treat gem waste bore failure success hit miss fortune must letdown"
)
"""Nouns that judge, and are not what is judged."""
_ADJECTIVES = _words(
    "good great nice bad best worst better worse fine awful terrible horrible lousy poor brilliant superb "
    "excellent fantastic wonderful amazing lovely perfect gorgeous stunning beautiful ugly cheap expensive "
    "overpriced fresh stale cold warm hot cool big small large tiny huge long short high low new old young loud "
    "quiet clean dirty filthy soft hard sharp dull slow quick fast rude kind friendly grumpy unfair fair honest "
    "weak strong heavy light dark bright crystal clear miserable charming delightful delicious tasty bland boring "
    "stylish sturdy flimsy solid mediocre decent cute smart silly stupid first second third last next whole "
    "entire other same own such main actual many few several little free easy rich smooth wet dry crisp crunchy "
    "competent attentive cosy cozy comfy comfortable"
)
_ORDINALS = _words("first second third last next")
_CLAUSE_STARTS = _CONTRASTS | {"and"}
_NO_NOUNS = _DETERMINERS | _CONTRASTS | _PREPOSITIONS | _OTHERS | _VERBS | _ADJECTIVES
_ADJECTIVE = re.compile(r"\w{2,}(?:ful|less|ous|ible|able|ive|ish|iest|est|ic|ical)|\w{4,}(?:ing|ed)")
_NOUNS_ALL_THE_SAME = _words(
    "building ending charging parking setting wedding clothing packaging music fabric heating lighting seating "
    "stitching opening morning evening topic traffic forest rest interest test recording tracking shipping acting "
    "writing pricing ceiling plumbing cooking styling dressing breakfast table cable dialogue dish fish olive "
    "engine"
)
_GENERIC = _words(
    "thing things lot bit way ways time times day days night week month year years minute minutes hour hours "
    "people person man woman everything something nothing anything everyone someone nobody one ones part kind "
    "sort fact case reason point place side end start money job life world it that others home town"
)
_ADVERB = re.compile(r"\w{3,}ly")

_MOST_NEIGHBOURS = 8
"""Parts that only name something, between one of them and what judges it."""
_STOPS = frozenset(";:—–!.")
_COMMA = 2
"""How much a comma divides; see ``_strength``."""
_Span = tuple[int, int]


class Mention(NamedTuple):
    """Where a text names an aspect, and the part of it that is about that.

    Attributes:
        aspect: as it is called: what was asked for, else the phrase in small letters.
        start, end: of the name.
        said_start, said_end: of the part, which has the name in it.
    """

    aspect: str
    start: int
    end: int
    said_start: int
    said_end: int


class _Token(NamedTuple):
    start: int
    end: int
    word: str
    """In small letters."""


class _Noun(NamedTuple):
    aspect: str
    first: int
    last: int
    """Its tokens, the last one included."""


def mentions(text: str, wanted: Sequence[str] = ()) -> list[Mention]:
    """Every mention of an aspect, in the order of the text.

    Args:
        text: any.
        wanted: what to look for, however it is capitalised, in the singular or the plural; nothing: noun phrases, the
            first ``MOST_FOUND`` different ones.
    """
    found: list[Mention] = []
    for start, end in sentence_spans(text):
        sentence = text[start:end]
        tokens = _tokens(sentence)
        named = _named(tokens, wanted)
        taken = {place for noun in named for place in range(noun.first, noun.last + 1)}
        others = [it for it in noun_phrases(tokens) if taken.isdisjoint(range(it.first, it.last + 1))]
        nouns = sorted(named + others, key=lambda noun: noun.first)
        for noun, (first, last) in zip(nouns, _divided(tokens, nouns), strict=True):
            if not wanted or noun in named:
                places = tokens[noun.first].start, tokens[noun.last].end, tokens[first].start, tokens[last].end
                found.append(Mention(noun.aspect, *(start + place for place in places)))
    if not wanted:
        first_ones = set(list(dict.fromkeys(it.aspect for it in found))[:MOST_FOUND])
        found = [it for it in found if it.aspect in first_ones]
    return found


def spoken_of(text: str) -> set[str]:
    """The noun phrases of a text, without where they are: in a fraction of the time."""
    return {noun.aspect for noun in noun_phrases(_tokens(text))}


def _tokens(text: str) -> list[_Token]:
    return [_Token(it.start(), it.end(), _plain(it.group())) for it in _TOKEN.finditer(text)]


def _named(tokens: Sequence[_Token], wanted: Iterable[str]) -> list[_Noun]:
    """Where what is wanted is named; of what overlaps, the longest."""
    found: list[_Noun] = []
    taken: set[int] = set()
    for aspect in sorted(wanted, key=len, reverse=True):
        words = _TOKEN.findall(_plain(aspect))
        for first in range(len(tokens) - len(words) + 1) if words else ():
            there = [token.word.removesuffix("'s") for token in tokens[first : first + len(words)]]
            places = range(first, first + len(words))
            if (there[:-1], _singular(there[-1])) == (words[:-1], _singular(words[-1])) and taken.isdisjoint(places):
                found.append(_Noun(aspect, first, places[-1]))
                taken.update(places)
    return found


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")


def _singular(word: str) -> str:
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word.removesuffix(ending) + singular
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def noun_phrases(tokens: Sequence[_Token]) -> list[_Noun]:
    """What seems to be named: words behind an article or such, or behind an adjective, or at the head of a sentence
    before a verb."""
    found = []
    place = 0
    while place < len(tokens):
        word = tokens[place].word
        begins = word in _DETERMINERS or _is_adjective(word) or _starts_clause(tokens, place)
        first = place if _starts_clause(tokens, place) and _may_be_noun(word) else place + 1
        if not begins:
            place += 1
            continue
        while first < len(tokens) and (_is_adjective(tokens[first].word) or _ADVERB.fullmatch(tokens[first].word)):
            first += 1
        last = first
        while last < len(tokens) and last - first < 3 and _may_be_noun(tokens[last].word):
            last += 1
        alone = word not in _DETERMINERS and not any(_is_adjective(it.word) for it in tokens[place:first])
        if last == first and first > place + 1 and tokens[first - 1].word.endswith("ing"):
            first -= 1  # ``the dancing``
        elif last == first == place + 1 and last < len(tokens) and tokens[last].word in _NOUN_OR_VERB:
            last += 1
        verb = last < len(tokens) and tokens[last].word in _VERBS
        phrase = [token.word for token in tokens[first:last]]
        if phrase and not set(phrase) <= _GENERIC | _VERDICTS and (verb or not alone):
            if first and tokens[first - 1].word in _ORDINALS:  # ``the first half`` is not the second
                first -= 1
            found.append(_Noun(" ".join(token.word for token in tokens[first:last]), first, last - 1))
        place = max(last, place + 1)
    return found


def _starts_clause(tokens: Sequence[_Token], place: int) -> bool:
    return place == 0 or not tokens[place - 1].word[0].isalnum() or tokens[place - 1].word in _CLAUSE_STARTS


def _is_adjective(word: str) -> bool:
    if word in _ADJECTIVES:
        return True
    return _ADJECTIVE.fullmatch(word) is not None and word not in _NOUNS_ALL_THE_SAME and word not in _VERBS


def _may_be_noun(word: str) -> bool:
    if not word[0].isalpha() or word in _NO_NOUNS or "n't" in word or len(word) < 2:
        return False
    return word in _NOUNS_ALL_THE_SAME or not (_ADVERB.fullmatch(word) or _is_adjective(word))


def _divided(tokens: Sequence[_Token], nouns: Sequence[_Noun]) -> list[_Span]:
    """The first and the last token of what is about each noun."""
    if not nouns:
        return []
    cuts = [_cut(tokens, one, other) for one, other in pairwise(nouns)]
    starts = [0, *(cut if cut is not None else -1 for cut in cuts)]
    # Nouns with nothing between them that divides share their part.
    parts: list[list[int]] = []
    for number, start in enumerate(starts):
        if start < 0 or (parts and start == starts[number - 1]):
            parts[-1].append(number)
        else:
            parts.append([number])
    edges = [starts[part[0]] for part in parts] + [len(tokens)]
    spans = list(pairwise(edges))
    spans = _with_judges(tokens, nouns, spans)
    owner = {number: span for part, span in zip(parts, spans, strict=True) for number in part}
    return [_trimmed(tokens, *owner[number]) for number in range(len(nouns))]


def _with_judges(tokens: Sequence[_Token], nouns: Sequence[_Noun], spans: Sequence[_Span]) -> list[_Span]:
    """The parts, where those that only name something are one with the part before, or else the one behind."""
    names = {place for noun in nouns for place in range(noun.first, noun.last + 1)}
    bare = [
        all(place in names or _says_nothing(tokens[place].word) for place in range(first, last))
        for first, last in spans
    ]
    merged = list(spans)
    for number, empty in enumerate(bare):
        if not empty:
            continue
        with_ = _judge_of(number, bare, [_strength(tokens[first].word) for first, _ in spans])
        if with_ is not None:
            merged[number] = (min(spans[number][0], spans[with_][0]), max(spans[number][1], spans[with_][1]))
    return merged


def _judge_of(number: int, bare: Sequence[bool], strengths: Sequence[int]) -> int | None:
    """The part that judges what another one only names; nothing that a contrast or a semicolon parts from it."""
    for places in (range(number, 0, -1)[:_MOST_NEIGHBOURS], range(number + 1, len(bare))[:_MOST_NEIGHBOURS]):
        for place in places:
            if strengths[place] > _COMMA:
                break
            found = place - 1 if place <= number else place
            if not bare[found]:
                return found
    return None


def _says_nothing(word: str) -> bool:
    return not word[0].isalnum() or word in _DETERMINERS | _PREPOSITIONS or word in ("and", "or", "both", "also")


def _cut(tokens: Sequence[_Token], one: _Noun, other: _Noun) -> int | None:
    """Where to divide between two nouns: the token that begins the second part; None where nothing divides."""
    best, strength = None, 0
    if all(noun.first and _is_adjective(tokens[noun.first - 1].word) for noun in (one, other)):
        best = other.first - 1
        while best > one.last + 1 and tokens[best - 1].word in _DETERMINERS:
            best -= 1  # ``beautiful pictures of a dull town``: each is judged beside its name
    for place in range(one.last + 1, other.first):
        found = _strength(tokens[place].word)
        if found and found >= strength:
            best, strength = place, found
    return best


def _strength(word: str) -> int:
    if word in _CONTRASTS:
        return 4
    return 3 if word in _STOPS else _COMMA if word in ",(" else 1 if word in ("and", "by", "or") else 0


def _trimmed(tokens: Sequence[_Token], first: int, last: int) -> _Span:
    """Without signs and words that only join at either end."""
    while first < last - 1 and (not tokens[first].word[0].isalnum() or tokens[first].word in _JOINING):
        first += 1
    while last - 1 > first and tokens[last - 1].word in _JOINING | _STOPS - set("!.") | set(",("):
        last -= 1
    return first, last - 1
