from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import CheckpointError, NoWordsError
from app.sentiment import UNKNOWN_ID
from app.store import TOKENIZER_FILE, StoredModel
from app.text.tokenizer import PAD_TOKEN, UNKNOWN_TOKEN, Tokenizer, build_vocabulary, load_tokenizer

VOCABULARY = [PAD_TOKEN, UNKNOWN_TOKEN, "good", "bad", "film", "!"]


def test_encodes_words_and_counts_the_unknown_ones() -> None:
    encoding = Tokenizer(VOCABULARY, 10, 0).encode("A good, GOOD film!")
    assert list(encoding.ids) == [UNKNOWN_ID, 2, 2, 4, 5]
    assert (encoding.tokens, encoding.truncated, encoding.unknown) == (5, False, 1)


def test_special_tokens_cannot_be_typed() -> None:
    assert list(Tokenizer([*VOCABULARY, "pad"], 10, 0).encode("<pad> pad <unk> unk").ids) == [6, UNKNOWN_ID]


@pytest.mark.parametrize(
    ("head", "expected"), [(0, ["c", "d", "e"]), (1, ["a", "d", "e"]), (2, ["a", "b", "e"]), (3, ["a", "b", "c"])]
)
def test_truncation_keeps_head_and_tail(head: int, expected: list[str]) -> None:
    tokenizer = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, *"abcde"], 3, head)
    encoding = tokenizer.encode("a b c d e")
    assert [tokenizer.vocabulary[token] for token in encoding.ids] == expected
    assert (encoding.tokens, encoding.truncated, encoding.unknown) == (5, True, 0)


def test_a_text_of_just_the_limit_is_not_truncated() -> None:
    encoding = Tokenizer(VOCABULARY, 3, 1).encode("good bad film")
    assert (list(encoding.ids), encoding.truncated) == ([2, 3, 4], False)


@given(st.text(), st.integers(1, 6), st.integers(0, 6))
def test_there_is_one_span_per_id(text: str, limit: int, head: int) -> None:
    tokenizer = Tokenizer(VOCABULARY, limit, min(head, limit))
    try:
        encoding = tokenizer.encode(text)
    except NoWordsError:
        assert tokenizer.spans(text) == []
        return
    spans = tokenizer.spans(text)
    assert list(encoding.ids) == [tokenizer.encode(span.word).ids[0] for span in spans]
    assert len(encoding.ids) <= limit


@pytest.mark.parametrize("text", ["", " \n", "...", "😀", "<br />"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(NoWordsError):
        Tokenizer(VOCABULARY, 5, 0).encode(text)


def test_save_and_load(tmp_path: Path) -> None:
    tokenizer = Tokenizer([*VOCABULARY, "drôle", "中"], 7, 3)
    tokenizer.save(tmp_path / "t.json")
    loaded = Tokenizer.load(tmp_path / "t.json", 7, 3)
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded.encode("good 中").ids == tokenizer.encode("good 中").ids


def test_another_preprocessing_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"type": "word", "preprocessing": 999, "vocabulary": ["<pad>", "<unk>", "a"]}')
    with pytest.raises(CheckpointError, match=r"t\.json: preprocessing version 999"):
        Tokenizer.load(path, 5, 0)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "\x00", '{"type": "word", "preprocessing": 1, "vocabulary": [1, 2]}']
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"t\.json"):
        Tokenizer.load(path, 5, 0)


@pytest.mark.parametrize(
    ("vocabulary", "limit", "head", "message"),
    [
        (["a", "b"], 5, 0, "must begin with"),
        ([*VOCABULARY, "bad"], 5, 0, "twice"),
        (VOCABULARY, 5, 6, "head_tokens 6"),
        (VOCABULARY, 0, 0, "max_tokens 0"),
    ],
)
def test_inconsistent_arguments_are_refused(vocabulary: list[str], limit: int, head: int, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Tokenizer(vocabulary, limit, head)


def test_vocabulary_is_ranked_by_frequency_then_alphabet() -> None:
    texts = ["bad good good", "film film bad", "rare"]
    assert build_vocabulary(texts, 5) == [PAD_TOKEN, UNKNOWN_TOKEN, "bad", "film", "good"]
    assert build_vocabulary(reversed(texts), 99) == build_vocabulary(texts, 99)


def test_load_tokenizer_checks_size_and_version(tiny_model: StoredModel) -> None:
    assert len(load_tokenizer(tiny_model)) == tiny_model.config.vocabulary_size
    larger = tiny_model.config.model_copy(update={"vocabulary_size": 999})
    with pytest.raises(CheckpointError, match=rf"{TOKENIZER_FILE}: .* words, config.json says 999"):
        load_tokenizer(StoredModel("tiny", 1, tiny_model.path, larger, {}))
    older = tiny_model.config.model_copy(update={"preprocessing": 0})
    with pytest.raises(CheckpointError, match="preprocessing version 0"):
        load_tokenizer(StoredModel("tiny", 1, tiny_model.path, older, {}))
