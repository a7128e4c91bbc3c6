"""The behaviour suite: what a model does with negation, contrast, neutral statements and exchanged names.

After Ribeiro et al. 2020, "Beyond accuracy: behavioral testing of NLP models with CheckList" (ACL). Three kinds of
cases: sentences with the labels that are right; texts to which a phrase is added, which must move the score the right
way or not at all; and groups of sentences that differ in one name, which must all get one label. Sentiment words, nouns
and patterns are none of those that training generates texts from (a test holds that); beside the patterns there are
written sentences (``phenomena.csv``). Nothing here is trained on or chosen by.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.sentiment import Encoding, Predictor
from app.text.tokenizer import Tokenizer
from app.training.batches import predict_sorted

WRITTEN_FILE = Path(__file__).with_name("phenomena.csv")
NEGATIVE, NEUTRAL, POSITIVE = "negative", "neutral", "positive"
UNSURE = 0.75
"""The highest probability of negative or positive that counts as neutral."""
TOLERANCE = 0.1
"""How much the score may move the wrong way when a phrase is added."""

_SEED = 29
_CASES = 120
_GROUPS = 40
_FULL = frozenset((NEGATIVE, NEUTRAL, POSITIVE))
_NOT_NEGATIVE = frozenset((NEUTRAL, POSITIVE))

WORDS: Mapping[str, tuple[str, ...]] = {
    "good": tuple(
        "splendid delightful marvelous charming magnificent terrific stellar pleasing lovely fabulous stunning admirable "
        "satisfying tasty glorious flawless engaging hilarious thoughtful luxurious".split()
    ),
    "bad": tuple(
        "appalling atrocious abysmal shoddy filthy inferior insulting unbearable disastrous horrendous depressing "
        "laughable grim ghastly dismal unacceptable irritating infuriating revolting obnoxious".split()
    ),
    "thing": tuple(
        "waiter lobby headset printer lecture museum blender jacket soundtrack garage dentist playlist mattress balcony "
        "tutorial novel sandwich ferry gym ceremony".split()
    ),
    "cherish": ("cherish", "treasure", "adored", "relish"),
    "detest": ("detest", "deplore", "can't stand", "resented"),
    "plain": ("rectangular", "portable", "grey", "wireless", "municipal", "two-storey", "printed", "seasonal"),
}  # fmt: skip

_NAMES = tuple(
    "Oliver Priya Xiomara Bjorn Siobhan Thabo Ingrid Rajesh Mei Fatima Giovanni Anastasia Kwame Emily Darnell Latoya Hans "
    "Yuki Carlos Ahmed Chloe Mohammed Jennifer Brad Shaniqua Igor Noor Wei".split()
)
_PLACES = (
    "Leeds", "Osaka", "Nairobi", "Toledo", "Lyon", "Mumbai", "Perth", "Oslo", "Lima", "Cairo", "Denver", "Chicago",
    "Kansas", "Bolivia", "Poland", "Kenya", "Portugal", "Vietnam", "New York", "San Diego", "Los Angeles", "New Zealand",
)  # fmt: skip
_NATIONALITIES = (
    "Turkish", "Kenyan", "Norwegian", "Brazilian", "Chinese", "Iranian", "French", "Mexican", "Nigerian", "Canadian",
    "Polish", "Vietnamese", "Israeli", "German", "Somali", "Australian", "Cuban", "Indonesian", "Pakistani", "American",
)  # fmt: skip
_RELIGIONS = (
    "Christian",
    "Muslim",
    "Hindu",
    "Buddhist",
    "Jewish",
    "Sikh",
    "Catholic",
    "Mormon",
    "Protestant",
    "Baptist",
)
_ORIENTATIONS = ("gay", "straight", "lesbian", "bisexual", "heterosexual", "homosexual", "asexual", "queer")
_NUMBERS = ("2", "3", "7", "12", "18", "40", "75", "250", "1999", "6000")

_LABELLED: Mapping[str, tuple[tuple[str, frozenset[str]], ...]] = {
    "plain judgement": (
        ("We thought the {thing} was {good}.", frozenset((POSITIVE,))), ("Their {thing} turned out {bad}.", frozenset((NEGATIVE,))),
        ("A {good} {thing} from start to finish.", frozenset((POSITIVE,))), ("An utterly {bad} {thing}.", frozenset((NEGATIVE,))),
        ("We {cherish} the {thing} they gave us.", frozenset((POSITIVE,))), ("I {detest} their {thing}.", frozenset((NEGATIVE,))),
    ),
    "negation": (
        ("You could not call the {thing} {good}.", frozenset((NEGATIVE,))), ("There isn't a {good} {thing} in the whole building.", frozenset((NEGATIVE,))),
        ("The {thing} we got was not {good}.", frozenset((NEGATIVE,))), ("Sadly the {thing} wasn't {good}.", frozenset((NEGATIVE,))),
        ("I have never seen a less {good} {thing}.", frozenset((NEGATIVE,))), ("We didn't {cherish} the {thing}.", frozenset((NEGATIVE,))),
        ("Nobody in our group found the {thing} {good}.", frozenset((NEGATIVE,))), ("The {thing} is anything but {good}.", frozenset((NEGATIVE,))),
        ("It is not, whatever the brochure claims, a {good} {thing}.", frozenset((NEGATIVE,))), ("I do not believe, having tried three of them, that this {thing} is {good}.", frozenset((NEGATIVE,))),
    ),
    "negated negative": (
        ("You could not call the {thing} {bad}.", _NOT_NEGATIVE), ("The {thing} we got was not {bad}.", _NOT_NEGATIVE), ("In the end the {thing} wasn't {bad} in the least.", _NOT_NEGATIVE),
        ("We feared the {thing} would be {bad}, but it wasn't.", _NOT_NEGATIVE), ("Nobody in our group found the {thing} {bad}.", _NOT_NEGATIVE), ("The {thing} is anything but {bad}.", _NOT_NEGATIVE),
        ("I was told the {thing} would be {bad}; it was not.", _NOT_NEGATIVE), ("We didn't {detest0} the {thing}.", _NOT_NEGATIVE),
    ),
    "neutral statement": (
        ("The {thing} is {plain}.", frozenset((NEUTRAL,))), ("There is a {plain} {thing} beside the {thing}.", frozenset((NEUTRAL,))), ("They moved the {thing} to another room last week.", frozenset((NEUTRAL,))),
        ("The {thing} will be shown on Thursday.", frozenset((NEUTRAL,))), ("Our neighbours own a {plain} {thing}.", frozenset((NEUTRAL,))), ("Which of the two is the {plain} {thing}?", frozenset((NEUTRAL,))),
        ("The label on the {thing} gives its weight in grams.", frozenset((NEUTRAL,))),
    ),
    "contrast": (
        ("The {thing} may be {bad}, yet all in all we were delighted.", frozenset((POSITIVE,))), ("The {thing} may be {good}, yet all in all we were let down.", frozenset((NEGATIVE,))),
        ("For all its {bad} moments, this {thing} is {good}.", frozenset((POSITIVE,))), ("For all its {good} moments, this {thing} is {bad}.", frozenset((NEGATIVE,))),
        ("However {bad} the {thing} was, the evening was {good}.", frozenset((POSITIVE,))), ("However {good} the {thing} was, the evening was {bad}.", frozenset((NEGATIVE,))),
    ),
    "then and now": (
        ("Years ago the {thing} was {good}; these days it is {bad}.", frozenset((NEGATIVE,))), ("Years ago the {thing} was {bad}; these days it is {good}.", frozenset((POSITIVE,))),
        ("The {thing} used to be {good} until they changed it.", frozenset((NEGATIVE,))), ("We once found the {thing} {bad}, but since the repair it is {good}.", frozenset((POSITIVE,))),
        ("What was a {good} {thing} has become {bad}.", frozenset((NEGATIVE,))), ("What was a {bad} {thing} has become {good}.", frozenset((POSITIVE,))),
    ),
    "question and answer": (
        ("Did we find the {thing} {good}? Sadly no.", frozenset((NEGATIVE,))), ("Did we find the {thing} {good}? Oh yes!", frozenset((POSITIVE,))), ("Was their {thing} {bad}? Yes it was.", frozenset((NEGATIVE,))),
        ("Was their {thing} {bad}? No, it was not.", _NOT_NEGATIVE), ("Would you call that a {good} {thing}? I would not.", frozenset((NEGATIVE,))), ("A {good} {thing}? No.", frozenset((NEGATIVE,))),
    ),
    "comparison": (
        ("This {thing} beats every other one I have owned.", frozenset((POSITIVE,))), ("Any other {thing} would have been an improvement.", frozenset((NEGATIVE,))), ("It is far more {good} than its predecessor.", frozenset((POSITIVE,))),
        ("It is even more {bad} than its predecessor.", frozenset((NEGATIVE,))), ("The old {thing} was much more {good} than this one.", frozenset((NEGATIVE,))), ("Nothing else comes close to this {good} {thing}.", frozenset((POSITIVE,))),
    ),
    "other people's view": (
        ("Critics call the {thing} {bad}; I disagree, it is {good}.", frozenset((POSITIVE,))), ("Critics call the {thing} {good}; I disagree, it is {bad}.", frozenset((NEGATIVE,))),
        ("My parents {cherish0} this {thing} while I find it {bad}.", frozenset((NEGATIVE,))), ("My parents {detest0} this {thing} while I find it {good}.", frozenset((POSITIVE,))),
    ),
    "emoji and emoticons": (
        ("The {thing} arrived today \U0001f60d", frozenset((POSITIVE,))), ("The {thing} arrived today \U0001f621", frozenset((NEGATIVE,))), ("About that {thing} \U0001f44e", frozenset((NEGATIVE,))),
        ("About that {thing} \U0001f44d", frozenset((POSITIVE,))), ("So that was the {thing} :(", frozenset((NEGATIVE,))), ("So that was the {thing} :)", frozenset((POSITIVE,))), ("{thing} \U0001f92e\U0001f92e", frozenset((NEGATIVE,))), ("{thing} <3", frozenset((POSITIVE,))),
    ),
    "spelling": (
        ("The {thing} was {good_long}!", frozenset((POSITIVE,))), ("The {thing} was {bad_long}!", frozenset((NEGATIVE,))), ("THE {thing} WAS {good_upper}", frozenset((POSITIVE,))), ("THE {thing} WAS {bad_upper}", frozenset((NEGATIVE,))),
        ("The {thing} wasnt {good} and didnt help", frozenset((NEGATIVE,))), ("The {thing} wasn&#39;t {good}, it didn&#39;t help", frozenset((NEGATIVE,))), ("The <b>{thing}</b> is {good} &amp; {good}", frozenset((POSITIVE,))),
    ),
    "strength": (
        ("The {thing} was ever so slightly {bad}.", frozenset((NEGATIVE, NEUTRAL))), ("The {thing} was unbelievably {good}.", frozenset((POSITIVE,))), ("The {thing} was insanely {bad}.", frozenset((NEGATIVE,))), ("The {thing} was rather {good}.", _NOT_NEGATIVE),
        ("The {thing} was every bit as {good} as promised.", frozenset((POSITIVE,))), ("The {thing} was every bit as {bad} as feared.", frozenset((NEGATIVE,))),
    ),
}  # fmt: skip

_BASES = (
    "We picked up the {thing} on Saturday.", "The {thing} was {good}.", "The {thing} was {bad}.", "The {thing} is {plain} and the {thing} is {good}.",
    "They have a {thing} in {place}.", "Our {thing} came with a {plain} bag, and it looks {good}.",
)  # fmt: skip
_PRAISE = ("I was thrilled.", "You people are {good}.", "We would gladly pay for it again.", "Simply {good}.")
_BLAME = ("I was furious.", "You people are {bad}.", "We will not pay for it again.", "Simply {bad}.", "Shame on you.")

_INVARIANT: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "first name": ("{x}", _NAMES, (
        "{x} is a plumber.", "{x} brought the {thing} to our table.", "{x} was {good} to us.", "{x} was {bad} to us.", "I asked {x} about the {thing}.", "The {thing} that {x} sold us is {good}.", "The {thing} that {x} sold us is {bad}.", "{x} did not make the {thing} any better.",
    )),
    "place": ("{x}", _PLACES, (
        "They sell this {thing} in {x}.", "We drove to {x} yesterday.", "The {thing} in {x} was {good}.", "The {thing} in {x} was {bad}.", "She grew up in {x}.", "Our {thing} was sent from {x} and is {good}.", "Nothing about the {thing} in {x} was {good}.", "The branch in {x} has a {plain} {thing}.",
    )),
    "nationality": ("{x}", _NATIONALITIES, (
        "Ana met a {x} painter.", "The {x} {thing} was {good}.", "The {x} {thing} was {bad}.", "A {x} family runs the {thing}.", "He is {x}.", "The {x} guide showed us the {thing}.", "Their {x} {thing} wasn't {good}.", "The {x} guests liked the {thing}.",
    )),
    "religion": ("{x}", _RELIGIONS, (
        "Ana met a {x} painter.", "The {x} school has a {thing}.", "A {x} family runs the {thing}.", "He is {x}.", "Her {x} neighbour is {good}.", "Her {x} neighbour is {bad}.", "The {x} guide showed us the {thing}.", "The {x} visitors found the {thing} {good}.",
    )),
    "orientation": ("{x}", _ORIENTATIONS, (
        "Ana met a {x} painter.", "A {x} couple runs the {thing}.", "He is {x}.", "Her {x} neighbour is {good}.", "Her {x} neighbour is {bad}.", "The {x} guide showed us the {thing}.", "The {x} visitors found the {thing} {good}.", "My {x} cousin bought the {thing}.",
    )),
    "number": ("{x}", _NUMBERS, (
        "We were {x} people at the {thing}.", "The {thing} costs {x} euros.", "It took {x} minutes to reach the {thing}.", "After {x} days the {thing} is still {good}.", "After {x} days the {thing} was {bad}.", "Room {x} has a {plain} {thing}.", "I paid {x} dollars for a {bad} {thing}.", "All {x} of us found the {thing} {good}.",
    )),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Texts that are judged together.

    Attributes:
        capability: what is tested.
        texts: one text and the labels that are right; or a text and the same with a phrase; or variants of one text.
        right: the labels; empty for the other kinds.
        moves: 1 where the added phrase is praise, -1 where it is blame, 0 for the other kinds.
    """

    capability: str
    texts: tuple[str, ...]
    right: frozenset[str] = frozenset()
    moves: int = 0


@dataclass(frozen=True)
class Capability:
    """How many cases of one kind a model got right.

    Attributes:
        kind: ``label``, ``direction`` (a phrase added) or ``invariance`` (a name exchanged).
    """

    name: str
    kind: str
    cases: int
    right: int

    @property
    def share(self) -> float:
        """Right cases among all."""
        return self.right / self.cases


def behaviour_cases() -> list[Case]:
    """All cases, the same ones each time."""
    draw = random.Random(_SEED)
    cases = list(_written_cases())
    for capability, patterns in _LABELLED.items():
        for number in range(_CASES):
            pattern, right = patterns[number % len(patterns)]
            cases.append(Case(capability, (_filled(pattern, draw),), right))
    for capability, phrases, moves in (("blame added", _BLAME, -1), ("praise added", _PRAISE, 1)):
        for number in range(_CASES):
            text = _filled(_BASES[number % len(_BASES)], draw)
            phrase = _filled(phrases[number // len(_BASES) % len(phrases)], draw)
            cases.append(Case(capability, (text, f"{text} {phrase}"), moves=moves))
    for capability, (place, variants, frames) in _INVARIANT.items():
        for number in range(_GROUPS):
            text = _filled(frames[number % len(frames)].replace(place, "\0"), draw)
            cases.append(Case(capability, tuple(text.replace("\0", variant) for variant in variants)))
    return cases


def _written_cases() -> Iterator[Case]:
    with WRITTEN_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Case(f"written: {row['phenomenon']}", (row["text"],), frozenset((row["label"],)))


def _filled(pattern: str, draw: random.Random) -> str:
    while "{" in pattern:
        before, _, rest = pattern.partition("{")
        place, _, after = rest.partition("}")
        pattern = before + _word(place, draw) + after
    return pattern


def _word(place: str, draw: random.Random) -> str:
    if place == "place":
        return draw.choice(_PLACES)
    if place in ("cherish0", "detest0"):
        return WORDS[place[:-1]][draw.randrange(2)]
    kind, _, form = place.partition("_")
    word = draw.choice(WORDS[kind])
    if form == "upper":
        return word.upper()
    if form == "long":
        vowel = max(word.find(letter) for letter in "aeiou")
        return word[:vowel] + word[vowel] * 4 + word[vowel + 1 :]
    return word


def judge_behaviour(predictor: Predictor, tokenizer: Tokenizer, labels: Sequence[str]) -> list[Capability]:
    """What a model that tells negative and positive apart, with or without neutral, gets right; else nothing."""
    if not {NEGATIVE, POSITIVE} <= set(labels) <= _FULL:
        return []
    cases = behaviour_cases()
    texts = list(dict.fromkeys(text for case in cases for text in case.texts))
    encodings = [encoding for encoding in tokenizer.encode_all(texts)]
    readable = [encoding for encoding in encodings if isinstance(encoding, Encoding)]
    scores = iter(predict_sorted(predictor, [encoding.ids for encoding in readable]))
    # A text without words has no answer, and so is never right.
    found = {
        text: np.asarray(next(scores).probabilities) if isinstance(encoding, Encoding) else None
        for text, encoding in zip(texts, encodings, strict=True)
    }
    outcome: dict[tuple[str, str], list[bool]] = {}
    for case in cases:
        kind = "label" if case.right else "direction" if case.moves else "invariance"
        outcome.setdefault((case.capability, kind), []).append(_is_right(case, [found[t] for t in case.texts], labels))
    return [Capability(name, kind, len(right), sum(right)) for (name, kind), right in outcome.items()]


def _is_right(case: Case, found: Sequence[np.ndarray | None], labels: Sequence[str]) -> bool:
    if any(part is None for part in found):
        return False
    probabilities = [part for part in found if part is not None]
    named = [labels[int(part.argmax())] for part in probabilities]
    if case.moves:
        before, after = (_score(part, labels) for part in probabilities)
        return (after - before) * case.moves >= -TOLERANCE
    if not case.right:
        return len(set(named)) == 1
    judged = max(probabilities[0][labels.index(label)] for label in (NEGATIVE, POSITIVE))
    return named[0] in case.right or (NEUTRAL in case.right and judged < UNSURE)


def _score(probabilities: np.ndarray, labels: Sequence[str]) -> float:
    """0 where a text is surely negative, 1 where it is surely positive."""
    return float((probabilities[labels.index(POSITIVE)] - probabilities[labels.index(NEGATIVE)] + 1) / 2)


def behaviour_as_dict(found: Sequence[Capability]) -> list[dict[str, Any]]:
    """For ``metrics.json``."""
    return [asdict(capability) for capability in found]
