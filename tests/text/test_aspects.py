"""What texts speak of, and which part of a text is about it."""

from __future__ import annotations

import pytest

from app.text.aspects import MOST_FOUND, mentions


def parts(text: str, *wanted: str) -> list[tuple[str, str]]:
    """Each aspect with what is said about it; the aspect is where it should be, within that."""
    found = mentions(text, wanted)
    for it in found:
        assert it.said_start <= it.start < it.end <= it.said_end
        if not wanted:
            assert text[it.start : it.end].lower() == it.aspect
    return [(it.aspect, text[it.said_start : it.said_end]) for it in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The battery life is great.", [("battery life", "The battery life is great.")]),
        ("Great camera, terrible battery.", [("camera", "Great camera"), ("battery", "terrible battery.")]),
        ("I liked the food but the waiter was rude", [("food", "I liked the food"), ("waiter", "the waiter was rude")]),
        ("Service was slow.", [("service", "Service was slow.")]),
        (
            "The food and the service were slow; the view was fine.",
            [
                ("food", "The food and the service were slow"),
                ("service", "the service were slow"),
                ("view", "the view was fine."),
            ],
        ),
        (
            "I loved the food and the wine, but the music was loud.",
            [
                ("food", "I loved the food"),
                ("wine", "I loved the food and the wine"),
                ("music", "the music was loud."),
            ],
        ),
        ("Unlike the trailer, the film is dull.", [("trailer", "the trailer"), ("film", "the film is dull.")]),
        (
            "🎬 The plot is thin. Lovely songs!",
            [("plot", "The plot is thin."), ("songs", "Lovely songs!")],
        ),
        (
            "I liked the first half, the second half was dull.",
            [("first half", "I liked the first half"), ("second half", "the second half was dull.")],
        ),
        ("It was a nightmare, and not the first time.", []),
        ("I never was so bored.", []),
        ("…", []),
        ("", []),
    ],
)
def test_noun_phrases_share_a_text(text: str, expected: list[tuple[str, str]]) -> None:
    """Each has its clause; what has no judgement of its own has its neighbour's; verdicts are no aspects."""
    assert parts(text) == expected


def test_what_is_wanted_is_found() -> None:
    """However it is written, in the singular or plural, of several words; beside what the text speaks of besides."""
    text = "The Batteries died. Sadly, the battery's case is solid, the power button sticks, the box is nice."
    assert parts(text, "battery", "power button", "screen") == [
        ("battery", "The Batteries died."),
        ("battery", "Sadly, the battery's case is solid"),
        ("power button", "the power button sticks"),
    ]
    assert parts("The battery life is short.", "battery", "battery life") == [
        ("battery life", "The battery life is short.")
    ]
    assert parts("The café’s owner is kind", "café") == [("café", "The café’s owner is kind")]
    assert parts("good", "", "!", "…") == []


def test_long_texts_have_bounds() -> None:
    """As many different ones as are shown; names without an end have parts of a bounded length."""
    text = ", ".join(f"the thingamajig{number}" for number in range(500)) + " are great"
    found = mentions(text)
    assert len({it.aspect for it in found}) == MOST_FOUND
    assert max(it.said_end - it.said_start for it in mentions(text, ["thingamajig499"])) < 300
    assert len(mentions("battery " * 2_000, ["battery"])) == 2_000
