"""The written set of short texts, and how answers to it are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from app.sentiment import Scores, TokenIds
from app.text.tokenizer import PAD_TOKEN, UNKNOWN_TOKEN, Tokenizer
from app.training.card import phenomena_table
from app.training.phenomena import NEUTRAL, judge_phenomena, phenomena_as_dict, read_phenomena

TOKENIZER = Tokenizer([PAD_TOKEN, UNKNOWN_TOKEN, "not"], 50, 0)


class Fixed:
    """Gives every text the same probabilities."""

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = probabilities

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        return [Scores(self.probabilities) for _ in batch]


def test_the_set_is_large_and_every_text_is_there_once() -> None:
    cases = read_phenomena()
    assert len(cases) >= 200
    assert len({text for _, _, text in cases}) == len(cases)
    assert {label for _, label, _ in cases} == {"negative", "positive", NEUTRAL}
    assert min(Counter(name for name, _, _ in cases).values()) >= 8


@pytest.mark.parametrize(
    ("probabilities", "right"), [((0.1, 0.9), "positive"), ((0.9, 0.1), "negative"), ((0.26, 0.74), "positive")]
)
def test_sure_answers_are_right_by_label_and_unsure_ones_on_neutral_texts(
    probabilities: tuple[float, float], right: str
) -> None:
    found = judge_phenomena(Fixed(*probabilities), TOKENIZER, ("negative", "positive"))
    unsure = max(probabilities) < 0.75
    for phenomenon in found:
        labels = [label for name, label, _ in read_phenomena() if name == phenomenon.name]
        expected = labels.count(right) + (labels.count(NEUTRAL) if unsure else 0)
        assert (phenomenon.texts, phenomenon.right) == (len(labels), expected)


def test_the_order_of_the_labels_does_not_matter_and_other_labels_are_not_judged() -> None:
    one = judge_phenomena(Fixed(0.1, 0.9), TOKENIZER, ("negative", "positive"))
    other = judge_phenomena(Fixed(0.9, 0.1), TOKENIZER, ("positive", "negative"))
    assert one == other
    assert judge_phenomena(Fixed(0.9, 0.1), TOKENIZER, ("no", "yes")) == []


def test_the_table_has_a_column_per_model_and_a_total() -> None:
    rows = phenomena_as_dict(judge_phenomena(Fixed(0.1, 0.9), TOKENIZER, ("negative", "positive")))
    table = phenomena_table({"imdb-gru/2": rows, "this version": rows})
    share = sum(row["right"] for row in rows) / sum(row["texts"] for row in rows)
    assert "| phenomenon | texts | imdb-gru/2 | this version |" in table
    assert table.splitlines()[-1].endswith(f"| {share:.1%} | {share:.1%} |")
