from __future__ import annotations

import pytest
import torch

from app.errors import DataError
from app.model.checkpoint import load_network
from app.model.networks import SentimentNetwork
from app.store import StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training import model_version
from app.training.command import train
from app.training.peer import adopt_word_vectors, soft_labels_of
from app.training.recipe import PRESETS
from tests.training.synthetic import options, tiny_recipe, write_corpus

LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    """A small stored model that tells praise from blame. No test here changes it."""
    root = tmp_path_factory.mktemp("peer")
    write_corpus(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", lambda architecture: tiny_recipe())
        patch.setattr(model_version, "plot_training", lambda *given: None)
        patch.setattr(model_version, "plot_outcome", lambda *given: None)
        return train(options(root)).model


def test_soft_labels_are_in_the_order_of_the_texts(peer: StoredModel) -> None:
    """However long the texts are, which are judged shortest first."""
    texts = ["great lovely film " * 5, "awful", "brilliant", "the film was dull and boring"]
    assert (soft_labels_of(peer, texts, LABELS)[:, 1] > 0.5).tolist() == [True, False, True, False]


def test_a_teacher_with_other_labels_is_refused(peer: StoredModel) -> None:
    """The message names both sets."""
    with pytest.raises(DataError, match="negative, positive, the data has bad, good"):
        soft_labels_of(peer, ["great"], ("bad", "good"))


def test_word_vectors_are_those_of_the_same_words(peer: StoredModel) -> None:
    """In another vocabulary's order; words that the teacher does not know keep their own."""
    known = load_tokenizer(peer).vocabulary
    tokenizer = Tokenizer([*known[:2], "zzz", *reversed(known[2:])], 20, 5)
    network = SentimentNetwork(peer.config.model_copy(update={"vocabulary_size": len(tokenizer)}))
    own = network.embedding.weight.detach().clone()
    adopt_word_vectors(network, tokenizer, peer)
    theirs = load_network(peer.path, peer.config).embedding.weight
    found = network.embedding.weight
    assert torch.equal(found[tokenizer.vocabulary.index("great")], theirs[known.index("great")])
    assert torch.equal(found[2], own[2])


def test_word_vectors_of_another_length_are_left(peer: StoredModel) -> None:
    """The network keeps its own."""
    network = SentimentNetwork(peer.config.model_copy(update={"embedding_size": 3}))
    own = network.embedding.weight.detach().clone()
    adopt_word_vectors(network, load_tokenizer(peer), peer)
    assert torch.equal(network.embedding.weight, own)
