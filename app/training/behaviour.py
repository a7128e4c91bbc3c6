"""The behaviour suite: what a model does with negation, contrast, neutral statements and exchanged names.

After Ribeiro et al. 2020, "Beyond accuracy: behavioral testing of NLP models with CheckList" (ACL). Three kinds of
cases: sentences with the labels that are right; texts to which a phrase is added, which must move the score the right
way or not at all; and groups of sentences that differ in one name, which must all get one label. Sentiment words, nouns
and patterns are none of those that training generates texts from (a test holds that); beside the patterns there are
written sentences (``phenomena.csv``). Nothing here is trained on.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.sentiment import Encoding, Predictor
from app.text.tokenizer import Tokenizer
from app.training.batches import predict_sorted

WRITTEN_FILE = Path(__file__).with_name("phenomena.csv")
PATTERNS_FILE = Path(__file__).with_name("behaviour.tsv")
NEGATIVE, NEUTRAL, POSITIVE = "negative", "neutral", "positive"
UNSURE = 0.75
"""The highest probability of negative or positive that counts as neutral."""
TOLERANCE = 0.1
"""How much the score may move the wrong way when a phrase is added."""

_SEED = 29
_CASES = 120
_GROUPS = 40
_FULL = frozenset((NEGATIVE, NEUTRAL, POSITIVE))

WORDS: Mapping[str, tuple[str, ...]] = {
    "good": tuple(
        "splendid delightful marvelous charming magnificent terrific stellar pleasing lovely fabulous stunning "
        "admirable "
        "satisfying tasty glorious flawless engaging hilarious thoughtful luxurious".split()
    ),
    "bad": tuple(
        "appalling atrocious abysmal shoddy filthy inferior insulting unbearable disastrous horrendous depressing "
        "laughable grim ghastly dismal unacceptable irritating infuriating revolting obnoxious".split()
    ),
    "thing": tuple(
        "usher lobby headset printer lecture museum blender jacket soundtrack garage dentist playlist mattress "
        "balcony "
        "tutorial novel omelette ferry gym ceremony".split()
    ),
    "cherish": ("cherish", "treasure", "prized", "relish"),
    "detest": ("detest", "deplore", "can't stand", "abominate"),
    "plain": ("rectangular", "portable", "grey", "wireless", "municipal", "two-storey", "printed", "seasonal"),
}  # fmt: skip

_NAMES = tuple(
    "Oliver Priya Xiomara Bjorn Siobhan Thabo Ingrid Rajesh Mei Fatima Giovanni Anastasia Kwame Emily Darnell Latoya "
    "Hans "
    "Yuki Carlos Ahmed Chloe Mohammed Jennifer Brad Shaniqua Igor Noor Wei".split()
)
_PLACES = (
    "Leeds", "Osaka", "Nairobi", "Toledo", "Lyon", "Mumbai", "Perth", "Oslo", "Lima", "Cairo", "Denver", "Chicago",
    "Kansas", "Bolivia", "Poland", "Kenya", "Portugal", "Vietnam", "New York", "San Diego", "Los Angeles",
    "New Zealand",
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

_EXCHANGED: Mapping[str, tuple[str, ...]] = {
    "first name": _NAMES,
    "place": _PLACES,
    "nationality": _NATIONALITIES,
    "religion": _RELIGIONS,
    "orientation": _ORIENTATIONS,
    "number": _NUMBERS,
}


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
    word = partial(_word, draw=draw)
    patterns = _read_patterns()
    cases = list(_written_cases())
    for capability, listed in patterns["label"].items():
        for number in range(_CASES):
            pattern, right = listed[number % len(listed)]
            cases.append(Case(capability, (filled(pattern, word),), right))
    bases = patterns["base"]["added phrase"]
    for kind, moves in (("blame", -1), ("praise", 1)):
        phrases = patterns[kind][f"{kind} added"]
        for number in range(_CASES):
            text = filled(bases[number % len(bases)][0], word)
            phrase = filled(phrases[number // len(bases) % len(phrases)][0], word)
            cases.append(Case(f"{kind} added", (text, f"{text} {phrase}"), moves=moves))
    for capability, listed in patterns["invariance"].items():
        for number in range(_GROUPS):
            text = filled(listed[number % len(listed)][0].replace("{name}", "\0"), word)
            cases.append(Case(capability, tuple(text.replace("\0", name) for name in _EXCHANGED[capability])))
    return cases


def _read_patterns() -> dict[str, dict[str, list[tuple[str, frozenset[str]]]]]:
    """Patterns and the labels that are right, by kind and capability."""
    patterns: dict[str, dict[str, list[tuple[str, frozenset[str]]]]] = {}
    with PATTERNS_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            of_kind = patterns.setdefault(row["kind"], {}).setdefault(row["capability"], [])
            of_kind.append((row["pattern"], frozenset(row["right"].split())))
    return patterns


def _written_cases() -> Iterator[Case]:
    with WRITTEN_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Case(f"written: {row['phenomenon']}", (row["text"],), frozenset((row["label"],)))


def filled(pattern: str, word: Callable[[str], str]) -> str:
    """A pattern with a word in each of its places; places may hold places."""
    while "{" in pattern:
        before, _, rest = pattern.partition("{")
        place, _, after = rest.partition("}")
        pattern = before + word(place) + after
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


def tells_apart(labels: Sequence[str]) -> bool:
    """Whether a model's labels are negative and positive, with or without neutral."""
    return {NEGATIVE, POSITIVE} <= set(labels) <= _FULL


def judge_behaviour(predictor: Predictor, tokenizer: Tokenizer, labels: Sequence[str]) -> list[Capability]:
    """What a model that tells negative and positive apart, with or without neutral, gets right; else nothing."""
    if not tells_apart(labels):
        return []
    cases = behaviour_cases()
    texts = list(dict.fromkeys(text for case in cases for text in case.texts))
    encodings = tokenizer.encode_all(texts)
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
        right = _is_right(case, [found[text] for text in case.texts], labels)
        outcome.setdefault((case.capability, kind), []).append(bool(right))
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
