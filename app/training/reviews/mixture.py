"""Everything the ``reviews`` preset trains on, as one dataset."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from app.errors import NoWordsError
from app.sentiment import TOKEN_TYPECODE, TokenIds
from app.text.preprocessing2 import NUMBER
from app.text.tokenizer import Tokenizer
from app.training.data import Dataset
from app.training.reviews.flipped import flipped
from app.training.reviews.generated import GeneratedText, Generator
from app.training.reviews.sources import LABELS, Source
from app.training.reviews.unreadable import unreadable_texts

_FLIPPED_SURE = 0.8
_NOTHING = (1 / 3, 1 / 3, 1 / 3)
_PHRASE_LONGEST = 60
_CUT_SHARE = 0.02
_CUT_FROM_RANK = 1500
_EXCHANGED_SHARE = 0.4
"""Share of the numbers in training texts that become other numbers: how many, when and for how much says nothing about
how good it was."""
_NUMBERS = (*"23456789", NUMBER)
_RATES_BEFORE = frozenset(("give", "gave", "rate", "rated", "rating", "score", "scored", "grade"))
_RATES_AFTER = frozenset(("10", "star", "stars", "out", "/", "%"))
"""What stands near a number that says how good it was: up to four tokens before it, or next behind it."""


@dataclass
class Mixture:
    """Texts with targets and stars.

    Attributes:
        texts: N texts.
        targets: (3,) probabilities each.
        stars: 1 to 10, 0 for none.
    """

    texts: list[str] = field(default_factory=list)
    targets: list[Sequence[float]] = field(default_factory=list)
    stars: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, target: Sequence[float], stars: float = 0.0) -> None:
        self.texts.append(text)
        self.targets.append(target)
        self.stars.append(stars)

    def add_generated(self, made: Sequence[GeneratedText]) -> None:
        for of in made:
            self.add(of.text, of.target)


@dataclass(frozen=True)
class MixtureSizes:
    """How many texts of each made kind."""

    generated: int = 90_000
    unreadable: int = 24_000
    phrases: int = 36_000
    flipped: int = 36_000


def mix(sources: Sequence[Source], sizes: MixtureSizes, seed: int) -> Mixture:
    """Texts of the sources as often as their weights say, and the generated ones."""
    draw = random.Random(seed)
    generator = Generator(seed)
    mixture = Mixture()
    short: list[tuple[str, tuple[float, float, float]]] = []
    for source in sources:
        of = source.examples
        for text, label, stars in zip(of.texts, of.labels, of.stars, strict=True):
            target = one_hot_target(label)
            if len(text) < _PHRASE_LONGEST * 6:
                short.append((text, target))
            for _ in range(int(source.weight + draw.random())):
                mixture.add(text, target, stars or 0.0)
    draw.shuffle(short)
    made = 0
    for text, target in short:
        if made == sizes.flipped:
            break
        other = flipped(text) if not target[1] else None
        if other is not None:
            made += 1
            rest = (1 - _FLIPPED_SURE) / 2
            mixture.add(other, (_FLIPPED_SURE if target[2] else rest, rest, _FLIPPED_SURE if target[0] else rest))
    mixture.add_generated([generator.with_phrase(*draw.choice(short)) for _ in range(sizes.phrases)])
    mixture.add_generated(generator.texts(sizes.generated))
    for text in unreadable_texts(sizes.unreadable, draw):
        mixture.add(text, _NOTHING)
    mixture.add_generated(generator.lexicon())
    return mixture


def one_hot_target(label: int) -> tuple[float, float, float]:
    target = [0.0] * len(LABELS)
    target[label] = 1.0
    return (target[0], target[1], target[2])


def encoded(mixture: Mixture, tokenizer: Tokenizer, seed: int, *, cut: bool = True) -> Dataset:
    """The mixture as token ids; texts without a word are left out.

    Args:
        mixture: what to encode.
        tokenizer: with what.
        seed: decides which words are cut, and which numbers exchanged.
        cut: whether some of the rarer words are cut into their pieces, so that pieces are learnt, and some numbers are
            exchanged.
    """
    found = tokenizer.encode_all(mixture.texts)
    rows = [row for row, encoding in enumerate(found) if not isinstance(encoding, NoWordsError)]
    ids = [encoding.ids for encoding in found if not isinstance(encoding, NoWordsError)]
    if cut:
        ids = _cut_words(_exchange_numbers(ids, tokenizer, seed), tokenizer, seed)
    return Dataset(
        ids,
        np.asarray([mixture.targets[row] for row in rows], dtype=np.float32),
        np.asarray([mixture.stars[row] for row in rows], dtype=np.float32),
    )


def _exchange_numbers(ids: list[TokenIds[int]], tokenizer: Tokenizer, seed: int) -> list[TokenIds[int]]:
    draw = random.Random(seed)
    places = {word: number for number, word in enumerate(tokenizer.vocabulary)}
    numbers, before, after = (
        [places[word] for word in words if word in places] for words in (_NUMBERS, _RATES_BEFORE, _RATES_AFTER)
    )
    exchangeable = set(numbers)
    changed = []
    for text in ids:
        found = array(TOKEN_TYPECODE, text)
        for at in [at for at, number in enumerate(text) if number in exchangeable]:
            rates = not set(text[at + 1 : at + 2]).isdisjoint(after) or not set(text[max(0, at - 4) : at]).isdisjoint(
                before
            )
            if not rates and draw.random() < _EXCHANGED_SHARE:
                found[at] = draw.choice(numbers)
        changed.append(found)
    return changed


def _cut_words(ids: list[TokenIds[int]], tokenizer: Tokenizer, seed: int) -> list[TokenIds[int]]:
    random_numbers = np.random.default_rng(seed)
    pieces = {
        number: cut
        for number, word in enumerate(tokenizer.vocabulary)
        if number > _CUT_FROM_RANK and (cut := tokenizer.pieces(word))
    }
    changed = []
    for text in ids:
        marks = np.flatnonzero(random_numbers.random(len(text)) < _CUT_SHARE)
        rows = [mark for mark in marks.tolist() if text[mark] in pieces]
        if rows:
            parts = text.tolist()
            for mark in reversed(rows):
                parts[mark : mark + 1] = pieces[parts[mark]]
            changed.append(array(TOKEN_TYPECODE, parts[: tokenizer.max_tokens]))
        else:
            changed.append(text)
    return changed
