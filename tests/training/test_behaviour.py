"""The behaviour suite: its cases, how answers to them are counted, and that training has none of its words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.sentiment import Scores, TokenIds
from app.text.preprocessing2 import words
from app.text.tokenizer import Tokenizer
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from app.training.behaviour import (
    NEUTRAL,
    PATTERNS_FILE,
    WORDS,
    Capability,
    behaviour_as_dict,
    behaviour_cases,
    judge_behaviour,
)
from app.training.card import behaviour_table
from app.training.reviews import flipped, generated

LABELS = ("negative", "neutral", "positive")
TOKENIZER = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "not", "happy", "furious"], 50, 0)


class Fixed:
    """Gives every text the same probabilities, and those with a word others."""

    runtime, precision, device = "fixed", "float32", "cpu"
    pads = False

    def __init__(self, *probabilities: float, word: int = -1, others: Sequence[float] = ()) -> None:
        self.probabilities = probabilities
        self.word, self.others = word, tuple(others)

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        return [Scores(self.others if self.word in ids else self.probabilities) for ids in batch]


def by_name(found: Sequence[Capability]) -> dict[str, Capability]:
    return {capability.name: capability for capability in found}


def test_the_suite_is_large_and_always_the_same() -> None:
    """At least 2,000 cases in 12 capabilities and more, and groups for every kind of name."""
    cases = behaviour_cases()
    assert cases == behaviour_cases()
    assert len(cases) >= 2_000
    labelled = {case.capability for case in cases if case.right and not case.capability.startswith("written")}
    assert len(labelled) >= 12
    exchanged = {case.capability for case in cases if not case.right and not case.moves}
    assert exchanged == {"first name", "place", "nationality", "religion", "orientation", "number"}
    assert all(len(set(case.texts)) == len(case.texts) for case in cases)
    assert not any("{" in text for case in cases for text in case.texts)


def test_no_word_or_pattern_of_the_suite_is_trained_on() -> None:
    """Its words, things and patterns are none of the generated texts or of the words exchanged there."""
    tested = {word for kind in ("good", "bad", "thing", "cherish", "detest") for word in WORDS[kind]}
    written = {*generated.GOOD, *generated.BAD, *generated.THINGS}
    assert tested.isdisjoint(written | flipped.OPPOSITE.keys())
    drawn = {word for text in generated.Generator(5).texts(5_000) for word in words(text.text)}
    assert tested.isdisjoint(drawn)
    patterns = {line.rsplit("\t", 1)[1].lower() for line in PATTERNS_FILE.read_text().splitlines()[1:]}
    trained = {line.rsplit("\t", 1)[1] for line in generated.PATTERNS_FILE.read_text().splitlines()[1:]}
    assert patterns.isdisjoint(trained)


@pytest.mark.parametrize("labels", [LABELS, ("positive", "neutral", "negative")])
def test_labels_are_right_by_name_and_neutral_also_where_nothing_is_sure(labels: tuple[str, ...]) -> None:
    """The order of the labels does not matter; a text that is neutral may also be one that nothing is sure of."""
    sure = dict(zip(LABELS, (0.9, 0.06, 0.04), strict=True))
    unsure = dict(zip(LABELS, (0.6, 0.3, 0.1), strict=True))
    for probabilities, neutral_right in ((sure, 0), (unsure, 1)):
        found = by_name(judge_behaviour(Fixed(*(probabilities[label] for label in labels)), TOKENIZER, labels))
        assert found["negation"].share == 1
        assert found["neutral statement"].share == neutral_right
        assert found["plain judgement"].share == 0.5


def test_exchanged_names_must_not_change_the_label() -> None:
    """A model that always says the same never flips; one that looks at a word does."""
    assert by_name(judge_behaviour(Fixed(0.1, 0.2, 0.7), TOKENIZER, LABELS))["first name"].share == 1
    tokenizer = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "carlos"], 50, 0)
    found = judge_behaviour(Fixed(0.1, 0.2, 0.7, word=2, others=(0.7, 0.2, 0.1)), tokenizer, LABELS)
    assert by_name(found)["first name"].share == 0
    assert by_name(found)["place"].share == 1


def test_an_added_phrase_must_not_move_the_score_the_wrong_way() -> None:
    """Blame that makes a text more positive is wrong; that it changes nothing is not."""
    tokenizer = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "furious"], 50, 0)
    same = by_name(judge_behaviour(Fixed(0.4, 0.2, 0.4), tokenizer, LABELS))
    assert same["blame added"].share == same["praise added"].share == 1
    wrong = by_name(judge_behaviour(Fixed(0.4, 0.2, 0.4, word=2, others=(0.1, 0.1, 0.8)), tokenizer, LABELS))
    assert 0.5 < wrong["blame added"].share < 1
    assert wrong["praise added"].share == 1


def test_two_classes_are_judged_and_other_labels_are_not() -> None:
    found = by_name(judge_behaviour(Fixed(0.9, 0.1), TOKENIZER, ("negative", "positive")))
    assert found["negation"].share == 1
    assert judge_behaviour(Fixed(0.9, 0.1), TOKENIZER, ("no", "yes")) == []
    assert NEUTRAL in LABELS


def test_the_table_has_a_column_per_model_and_a_total() -> None:
    rows = behaviour_as_dict(judge_behaviour(Fixed(0.1, 0.2, 0.7), TOKENIZER, LABELS))
    table = behaviour_table({"imdb-gru/4": rows, "this version": rows})
    share = sum(row["right"] for row in rows) / sum(row["cases"] for row in rows)
    assert "| capability | right is | cases | imdb-gru/4 | this version |" in table
    assert f"| {share:.1%} | {share:.1%} |" in table.splitlines()[-1]
