import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import CheckpointError, NoWordsError
from app.native import words
from app.native.compiler import WORDS
from app.sentiment import UNKNOWN_ID
from app.store import TOKENIZER_FILE, StoredModel
from app.text.preprocessing2 import NOT, SPECIAL_TOKENS
from app.text.tokenizer import Tokenizer, build_vocabulary, load_tokenizer, share_vocabulary
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from tests import compiled
from tests.checkpoints import add_checkpoint

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


VERSION2 = [*VOCABULARY, *SPECIAL_TOKENS, NOT, "not", "<person>", "amazing", "love", "+un", "+bear", "+able", "la"]


def tokens_of(text: str) -> list[str]:
    tokenizer = Tokenizer(VERSION2, 20, 0, 2, {"<person>": ["carlos", "priya"]}, foreign=1)
    return [tokenizer.vocabulary[token] for token in tokenizer.encode(text).ids]


def test_other_words_with_one_id() -> None:
    """Names that share a token are the same to the model."""
    assert tokens_of("Carlos film") == tokens_of("Priya film") == ["<person>", "film"]


def test_an_unknown_word_is_looked_up_with_single_letters_then_cut() -> None:
    """A doubled letter is a slip of the finger; what is left unknown is cut into the longest known pieces."""
    assert tokens_of("amazzing loooove") == ["amazing", "love"]
    assert tokens_of("unbearable unbearables") == ["+un", "+bear", "+able", UNKNOWN_TOKEN]


def test_words_are_counted_as_known_unknown_and_foreign() -> None:
    """Numbers, tone and links are no words; pieces are one unknown word."""
    encoding = Tokenizer(VERSION2, 20, 0, 2, {}, foreign=1).encode("Good, unbearable la zzz! 12 1999 http://a.b")
    assert (encoding.words, encoding.unknown, encoding.foreign) == (4, 2, 1)


def test_aliases_must_be_of_the_vocabulary() -> None:
    """An alias of a word that is not there, or that is a word itself, is a mistake."""
    for aliases in ({"nobody": ["carlos"]}, {"<person>": ["good"]}):
        with pytest.raises(CheckpointError, match="aliases of"):
            Tokenizer(VERSION2, 20, 0, 2, aliases)


def test_version_2_is_saved_with_all_that_decides_ids(tmp_path: Path) -> None:
    """What is loaded encodes as what was saved."""
    tokenizer = Tokenizer(VERSION2, 20, 0, 2, {"<person>": ["carlos"]}, foreign=1)
    tokenizer.save(tmp_path / "t.json")
    text = "Carlos didn't la unbearable :) film"
    assert Tokenizer.load(tmp_path / "t.json", 20, 0).encode(text) == tokenizer.encode(text)


def test_another_preprocessing_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"type": "word", "preprocessing": 999, "vocabulary": ["<pad>", "<unk>", "a"]}')
    with pytest.raises(CheckpointError, match=r"t\.json: preprocessing version 999"):
        Tokenizer.load(path, 5, 0)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "\x00", "[" * 200_000),
        '{"type": "word", "preprocessing": 1, "vocabulary": [1, 2]}',
        '{"type": "word", "preprocessing": 1, "vocabulary": {"<pad>": 0, "<unk>": 1}}',
        '{"type": "word", "preprocessing": 1, "vocabulary": ["<pad>", "<unk>", "\\ud800"]}',
        '{"type": "word", "preprocessing": 1, "vocabulary": ["<pad>", "<unk>", ""]}',
    ],
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
        ([*VOCABULARY, ""], 5, 0, "empty word"),
        ([*VOCABULARY, "\udfff"], 5, 0, "surrogate"),
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
    with pytest.raises(CheckpointError, match=r"preprocessing version 1, config\.json says 0"):
        load_tokenizer(StoredModel("tiny", 1, tiny_model.path, older, {}))


SHARED_TEXTS = ["a good film", "GOOD goood!", "drôle 中 &amp; :) good", "not bad"]


def test_processes_share_a_compiled_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one writes it, another one reads no words, and both encode as one that shares nothing."""
    compiled.require(WORDS)
    model, file = add_checkpoint(tmp_path, preprocessing=2), tmp_path / "vocabulary"
    expected = [load_tokenizer(model).encode(text) for text in SHARED_TEXTS]
    share_vocabulary(model, file)
    monkeypatch.setattr(Tokenizer, "load", _unreadable)
    share_vocabulary(model, file)
    found = load_tokenizer(model, file)
    assert [found.encode(text) for text in SHARED_TEXTS] == expected
    assert len(found) == model.config.vocabulary_size
    monkeypatch.undo()
    assert found.vocabulary == load_tokenizer(model).vocabulary


def test_a_vocabulary_that_is_not_there_as_a_whole_is_written_again(tmp_path: Path) -> None:
    """Whoever wrote it may have been killed, or had no more room."""
    compiled.require(WORDS)
    model, file = add_checkpoint(tmp_path, preprocessing=2), tmp_path / "vocabulary"
    share_vocabulary(model, file)
    whole = file.read_bytes()
    file.write_bytes(b"\0" * 64 + whole[64:-100])
    assert load_tokenizer(model, file).encode("good").ids == load_tokenizer(model).encode("good").ids
    assert file.read_bytes() == whole


@pytest.mark.parametrize("opens", [True, False])
def test_a_vocabulary_that_cannot_be_written_is_not_shared(
    opens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each process has its own then, and the log says why."""
    compiled.require(WORDS)
    model, file = add_checkpoint(tmp_path, preprocessing=2), tmp_path / "vocabulary"
    if opens:
        monkeypatch.setattr(words, "write_at", _full)
    else:
        file = tmp_path / "gone" / "vocabulary"
    found = load_tokenizer(model, file)
    assert found.encode("good").ids == load_tokenizer(model).encode("good").ids
    assert "cannot be shared" in caplog.text
    assert not file.exists() or not any(file.read_bytes())


@pytest.mark.parametrize("compiles", [True, False])
def test_what_python_needs_of_a_text_is_not_shared(
    compiles: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of version 1 that are words in other scripts, and all texts where nothing is compiled."""
    if not compiles:
        monkeypatch.setattr(words, "_load", lambda _: None)
    model, file = add_checkpoint(tmp_path, preprocessing=1 if compiles else 2), tmp_path / "vocabulary"
    share_vocabulary(model, file)
    assert load_tokenizer(model, file).encode("good 中").ids == load_tokenizer(model).encode("good 中").ids
    assert not file.exists()


def _unreadable(*_: object) -> None:
    raise AssertionError("the words were read")


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
