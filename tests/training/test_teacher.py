"""The teachers, and what they are made of."""

from __future__ import annotations

import random

import numpy as np
import pytest

from app.text.preprocessing import words
from app.training.documents import document_vectors
from app.training.fragments import draw_fragments
from app.training.ngrams import Ngrams
from app.training.teacher import SoftLabels, teach, word_targets
from tests.training.synthetic import review


def _reviews(count: int, seed: int) -> tuple[list[str], list[int]]:
    rng = random.Random(seed)
    labels = [0] * count + [1] * count
    return [review(bool(label), rng) for label in labels], labels


def _soft_labels(vector_passes: int) -> tuple[SoftLabels, list[int], list[int]]:
    texts, labels = _reviews(40, 1)
    unlabelled, truth = _reviews(20, 2)
    return teach(texts, labels, unlabelled, vector_passes), labels, truth


@pytest.mark.parametrize("vector_passes", [0, 20])
def test_teachers_are_right_about_texts_they_have_not_seen_and_repeat_themselves(vector_passes: int) -> None:
    soft_labels, labels, truth = _soft_labels(vector_passes)
    assert ((soft_labels.labelled > 0.5) == np.array(labels)).mean() > 0.9
    assert ((soft_labels.unlabelled > 0.5) == np.array(truth)).mean() > 0.9
    again, _, _ = _soft_labels(vector_passes)
    assert all(np.array_equal(value, vars(again)[name]) for name, value in vars(soft_labels).items())


def test_vectors_of_texts_on_one_subject_lie_together() -> None:
    rng = random.Random(3)
    subjects = ("bread oven flour yeast dough".split(), "rope cliff boots summit snow".split())
    documents = [rng.choices(subjects[number % 2], k=12) for number in range(40)]
    vectors = document_vectors(Ngrams(documents, 1).presence(documents), size=16, passes=20, rate=0.1)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = vectors @ vectors.T
    same = np.equal.outer(np.arange(40) % 2, np.arange(40) % 2) & ~np.eye(40, dtype=bool)
    assert likeness[same].mean() > likeness[~same & ~np.eye(40, dtype=bool)].mean() + 0.25


def test_presence_of_ngrams_against_counting_by_hand() -> None:
    documents = [["a", "b", "a", "b"], ["b", "a"], [], ["c", "a", "b"]]
    ngrams = Ngrams(documents, min_texts=2)
    # In two texts or more: "a", "b", "a b" and "b a".
    assert len(ngrams) == 4
    assert ngrams.presence(documents).toarray().tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]]
    unseen = ngrams.presence([["unheard", "of"], ["a", "unheard", "b"]])
    assert unseen.toarray().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert ngrams.presence([]).shape == (0, 4)


def test_weights_stand_where_their_ngrams_end() -> None:
    documents = [["a", "b", "a", "b"], ["b", "a"], ["c", "a", "b"]]
    ngrams = Ngrams(documents, min_texts=2)
    # Columns: "a", "b", "a b", "b a".
    found = ngrams.weights_at_words([["a", "b", "a"], [], ["b"]], np.array([1.0, 10.0, 100.0, 1000.0]))
    assert found.tolist() == [1, 110, 1001, 10]


def test_clues_tell_words_of_praise_from_words_of_blame() -> None:
    texts, labels = _reviews(40, 1)
    found = word_targets(texts, labels, ["a great film", "a dull film"], ["great"])
    assert len(found) == sum(len(words(text)) for text in texts) + 3 + 3 + 1
    praise, blame, alone = found[-6], found[-3], found[-1]
    assert praise > 0.1
    assert alone > 0.1
    assert blame < -0.1


def test_fragments_are_neighbouring_sentences_of_their_sources() -> None:
    texts = ["One two three. Four five! Six seven?<br /><br />Eight nine.", "Word", ""]
    drawn = draw_fragments(texts, 60, seed=1)
    assert drawn == draw_fragments(texts, 60, seed=1)
    assert {"One two three.", "Four five! Six seven?", "Eight nine."} <= set(drawn.texts)
    # A single word is too short.
    assert set(drawn.sources) == {0}
    assert len(drawn.sources) == len(drawn.texts)
    assert draw_fragments([], 5, seed=1).texts == []
