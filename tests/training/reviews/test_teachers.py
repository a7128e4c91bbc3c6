"""Teachers of labelled texts: judged out of fold, blended, one of them reading backwards."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from app.sentiment import TOKEN_TYPECODE
from app.training.data import Dataset
from app.training.reviews.teachers import blended, regression_labels, reversed_texts

WORDS = ("awful", "plain", "great")


def texts_and_labels(copies: int) -> tuple[list[str], list[int]]:
    rows = [(f"{word} thing number {number}", label) for number in range(copies) for label, word in enumerate(WORDS)]
    return [text for text, _ in rows], [label for _, label in rows]


def test_regression_learns_what_the_other_texts_say() -> None:
    texts, labels = texts_and_labels(20)
    found, none = regression_labels(texts, labels, [])
    assert found.shape == (60, 3)
    assert none.shape == (0, 3)
    assert found.sum(-1) == pytest.approx(np.ones(60), abs=1e-5)
    assert (found.argmax(-1) == labels).all()


def test_regression_judges_texts_without_a_label() -> None:
    """By the mean of all that were fitted."""
    _, found = regression_labels(*texts_and_labels(20), ["a great thing", "an awful thing"])
    assert found.sum(-1) == pytest.approx(np.ones(2), abs=1e-5)
    assert found.argmax(-1).tolist() == [2, 0]


def test_no_text_is_judged_by_a_regression_that_was_fitted_on_it() -> None:
    """A text with a wrong label is judged by the others', as it could not be if its own label counted."""
    texts, labels = texts_and_labels(20)
    labels[2] = 0
    assert texts[2].startswith("great")
    found, _ = regression_labels(texts, labels, [])
    assert found[2].argmax() == 2
    labels[2] = 2
    again, _ = regression_labels(texts, labels, [])
    assert again[2] == pytest.approx(found[2], abs=1e-6)
    assert not np.allclose(again, found)


def test_a_blend_is_the_weighted_geometric_mean() -> None:
    """Networks share three quarters, regression has one; one who is sure of the opposite counts for much."""
    same = np.array([[0.2, 0.3, 0.5]])
    assert blended([same, same], same) == pytest.approx(same, abs=1e-5)
    one, other, third = (np.array([row]) for row in ([0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]))
    mean = one**0.375 * other**0.375 * third**0.25
    assert blended([one, other], third) == pytest.approx(mean / mean.sum(), abs=1e-4)
    sure = np.array([[0.0, 0.0, 1.0]])
    found = blended([sure, np.array([[1.0, 0.0, 0.0]])], same)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)


def test_reversed_texts_keep_labels_and_stars() -> None:
    ids = [array(TOKEN_TYPECODE, [2, 3, 4]), array(TOKEN_TYPECODE, [5])]
    data = Dataset(ids, np.eye(3, dtype=np.float32)[:2], np.array([1.0, 0.0], dtype=np.float32))
    turned = reversed_texts(data)
    assert [list(row) for row in turned.ids] == [[4, 3, 2], [5]]
    assert turned.targets is data.targets
    assert turned.stars is data.stars
    assert [list(row) for row in reversed_texts(turned).ids] == [[2, 3, 4], [5]]
