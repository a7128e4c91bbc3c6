"""Reviews written for tests, put together by chance: plain and odd ones, with everything that makes offsets hard."""

from __future__ import annotations

import random

SENTENCES = (
    "The story never really starts, and when it does it is too late.",
    "I loved every minute of it!",
    "A dull, dull film...",
    "Didn't anybody read the script before they shot it?",
    "The cast is brilliant; the ending is not.",
    "Watch it twice \U0001f600\U0001f44d\U0001f3fd",
    "The cafe\u0301 scene was lovely.",
    "CAFÉ, naïve, coöperate: a film about spelling.",
    "<br /><br />The plot was boring <i>and</i> sad.",
    "My family \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 hated it.",
    "It cost 10 dollars & was worth 1.",
    "Mr. and Mrs. Miller would have loved it, e.g. on a rainy evening.",
    "\u201cGreat fun\u201d, they said \u2013 it wasn\u2019t.",
    "Not bad at all!!! Really??",
    "Never again",
    "The acting is awful but the music is great.",
    "z\u0351a\u0321lgo\u0334 was in it, I think",
    "Funny? Yes. Brilliant? No.",
    "We watched it in \u5317\u4eac and in \u041c\u043e\u0441\u043a\u0432\u0430.",
    "This is the best thing I have seen on a screen in ten years.",
    "\ufb01nally a \ufb01lm with a plot",
    "Slow, but very, very good.",
)


def written_reviews(count: int, seed: int = 0) -> list[str]:
    """Different reviews of one to twelve sentences, each with a word."""
    chance = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        parts = chance.choices(SENTENCES, k=chance.randint(1, 12))
        found["".join(part + chance.choice((" ", "  ", "\n", "\n\n")) for part in parts)] = None
    return list(found)
