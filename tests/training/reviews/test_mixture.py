"""The mixture: how often a text counts, what is made of it, and how it becomes token ids."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from app.text.preprocessing2 import NUMBER
from app.text.tokenizer import Tokenizer
from app.text.word_ids import PAD_TOKEN, PIECE, UNKNOWN_TOKEN
from app.training.labelled import Examples
from app.training.reviews import mixture as module
from app.training.reviews.assembly import film_target, soften
from app.training.reviews.generated import Generator
from app.training.reviews.mixture import Mixture, MixtureSizes, encoded, mix, one_hot_target
from app.training.reviews.run import labelled_mixture
from app.training.reviews.sources import Source

NOTHING_MADE = MixtureSizes(generated=0, unreadable=0, phrases=0, flipped=0)
TEXTS = ["a good book", "so so", "a terrible film"]


def source(weight: float, copies: int = 1) -> Source:
    return Source("shops", Examples(TEXTS * copies, [2, 1, 0] * copies, [10.0, None, 1.0] * copies), weight)


@pytest.fixture(autouse=True)
def no_lexicon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word lists are tested elsewhere; here they would hide the texts."""
    monkeypatch.setattr(Generator, "lexicon", lambda self: [])


def test_a_text_counts_as_often_as_its_sources_weight_says() -> None:
    """Whole weights exactly, others on the average, also those below 1."""
    assert Counter(mix([source(2)], NOTHING_MADE, 1).texts) == dict.fromkeys(TEXTS, 2)
    half = mix([source(0.5, copies=200)], NOTHING_MADE, 1)
    assert 250 < len(half) < 350
    both = mix([source(1), source(3)], NOTHING_MADE, 1)
    assert Counter(both.texts) == dict.fromkeys(TEXTS, 4)


def test_labels_and_stars_come_along() -> None:
    found = mix([source(1)], NOTHING_MADE, 1)
    assert found.texts == TEXTS
    assert found.targets == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert found.stars == [10.0, 0.0, 1.0]


def test_flipped_texts_get_the_opposite_label_less_surely() -> None:
    """At the most as many as asked for; none of neutral texts; without stars."""
    found = mix([source(1)], MixtureSizes(generated=0, unreadable=0, phrases=0, flipped=5), 1)
    made = dict(zip(found.texts[3:], found.targets[3:], strict=True))
    assert made.keys() == {"a bad book", "a great film"}
    assert made["a bad book"] == pytest.approx((0.8, 0.1, 0.1))
    assert made["a great film"] == pytest.approx((0.1, 0.1, 0.8))
    assert found.stars[3:] == [0.0, 0.0]
    assert len(mix([source(1)], MixtureSizes(generated=0, unreadable=0, phrases=0, flipped=1), 1)) == 4


def test_made_texts_are_as_many_as_asked_for_and_depend_on_the_seed() -> None:
    sizes = MixtureSizes(generated=30, unreadable=20, phrases=10, flipped=0)
    found = mix([source(1)], sizes, 3)
    assert len(found) == 3 + 60
    assert np.allclose(np.sum(found.targets, axis=1), 1)
    assert found.targets[-20:] == [pytest.approx((1 / 3, 1 / 3, 1 / 3))] * 20
    assert found == mix([source(1)], sizes, 3)
    assert found != mix([source(1)], sizes, 4)


def test_texts_without_a_word_are_left_out_with_their_targets() -> None:
    found = Mixture()
    for text, label, stars in (("good", 2, 9.0), ("...", 0, 1.0), ("bad", 0, 2.0)):
        found.add(text, one_hot_target(label), stars)
    data = encoded(found, Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "good", "bad"], 9, 3, 2), 1)
    assert [list(ids) for ids in data.ids] == [[2], [3]]
    assert data.targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.stars.tolist() == [9, 2]


def test_some_of_the_rarer_words_are_cut_into_their_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frequent words and words without pieces stay whole, no text grows too long, and validation is never cut."""
    monkeypatch.setattr(module, "_CUT_FROM_RANK", 2)
    monkeypatch.setattr(module, "_CUT_SHARE", 0.3)
    tokenizer = Tokenizer(
        [PAD_TOKEN, UNKNOWN_TOKEN, "good", "unfair", "\u4f60", f"{PIECE}un", f"{PIECE}fair"], 12, 4, 2
    )
    found = Mixture()
    for _ in range(50):
        found.add("good unfair \u4f60 " * 4, one_hot_target(0))
    whole, cut = encoded(found, tokenizer, 1, cut=False), encoded(found, tokenizer, 1)
    assert {tuple(ids) for ids in whole.ids} == {(2, 3, 4) * 4}
    assert {number for ids in cut.ids for number in ids} == {2, 3, 4, 5, 6}
    assert all(len(ids) <= 12 for ids in cut.ids)
    uncut = ["".join(map(str, ids)).replace("56", "3") for ids in cut.ids]
    assert all(("234" * 4).startswith(text.removesuffix("5")) for text in uncut)
    assert [list(ids) for ids in encoded(found, tokenizer, 1).ids] == [list(ids) for ids in cut.ids]


def test_soft_targets_are_mixed_into_those_of_the_texts_that_teachers_know() -> None:
    found = mix([source(2)], NOTHING_MADE, 1)
    soften(found, {"a good book": np.array([0.2, 0.2, 0.6])}, 0.5)
    targets = dict(zip(found.texts, found.targets, strict=True))
    assert targets["a good book"] == pytest.approx([0.1, 0.1, 0.8])
    assert targets["so so"] == (0, 1, 0)
    assert found.targets[0] == found.targets[1]


@pytest.mark.parametrize("positive", [0.0, 0.3, 0.5, 0.95, 1.0])
def test_a_film_is_hardly_ever_neutral(positive: float) -> None:
    """Least where a side is sure; the rest keeps its proportion."""
    target = film_target(positive)
    assert sum(target) == pytest.approx(1)
    assert 0.02 <= target[1] <= 0.18
    assert target[2] == pytest.approx(positive * (1 - target[1]))


def test_development_texts_have_plain_labels() -> None:
    found = labelled_mixture([source(5)], [])
    assert found.texts == TEXTS
    assert found.targets == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_some_numbers_become_others() -> None:
    """In training texts alone; those that say how good it was stay."""
    words = ["paid", "gave", "it", "4", "8", NUMBER, "10"]
    tokenizer = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, *words], 12, 4, 2)
    found = Mixture()
    for _ in range(50):
        found.add("paid 12 4 paid gave it 8 paid it it 4 10", one_hot_target(0))
    whole, exchanged = encoded(found, tokenizer, 1, cut=False), encoded(found, tokenizer, 1)
    assert {tuple(ids) for ids in whole.ids} == {(2, 7, 5, 2, 3, 4, 6, 2, 4, 4, 5, 8)}
    columns = [set(column) for column in zip(*exchanged.ids, strict=True)]
    assert columns == [{2}, {5, 6, 7}, {5, 6, 7}, {2}, {3}, {4}, {6}, {2}, {4}, {4}, {5}, {8}]
