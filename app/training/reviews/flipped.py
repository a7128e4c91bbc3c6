"""Texts turned into their opposite: words of sentiment exchanged for antonyms, as an editor would do.

What else such a text speaks of (genre, actors, product) stays, so a network learns to read the words that judge.
"""

from __future__ import annotations

import re

_PAIRS = """
good/bad great/terrible excellent/awful best/worst love/hate loved/hated loves/hates like/dislike liked/disliked
beautiful/ugly amazing/horrible wonderful/dreadful fantastic/pathetic perfect/flawed brilliant/stupid funny/unfunny
interesting/boring exciting/dull enjoyable/tedious enjoyed/disliked enjoy/dislike happy/unhappy friendly/rude
helpful/unhelpful clean/dirty fast/slow easy/difficult comfortable/uncomfortable strong/weak better/worse nice/nasty
fresh/stale delicious/disgusting recommend/avoid recommended/avoided pleasant/unpleasant fun/annoying smart/dumb
believable/unbelievable original/derivative masterpiece/disaster positive/negative success/failure successful/failed
works/fails worked/failed reliable/unreliable polite/impolite quiet/noisy cheap/overpriced warm/cold
impressed/disappointed
impressive/disappointing satisfied/dissatisfied memorable/forgettable convincing/unconvincing talented/talentless
professional/unprofessional worthwhile/worthless superb/lousy outstanding/mediocre entertaining/tiresome
well/badly always/never everything/nothing
""".split()
OPPOSITE = {
    word: other
    for pair in _PAIRS
    for word, other in (tuple(pair.split("/")), tuple(reversed(pair.split("/"))))
}  # fmt: skip
_WEAK = frozenset(
    ("always", "never", "everything", "nothing", "well", "badly", "cold", "warm", "like", "works", "fails")
)
_WORD = re.compile(r"[A-Za-z']+")
_NEGATION = re.compile(r"n't\b|\bnot\b|\bnever\b|\bno\b", re.IGNORECASE)
_FEWEST_SHARE = 0.04


def flipped(text: str) -> str | None:
    """The text with its words of sentiment exchanged; None where they are too few to turn it, or negations blur it."""
    found = _WORD.findall(text)
    turned = [word for word in found if word.lower() in OPPOSITE and word.lower() not in _WEAK]
    if not turned or len(turned) < _FEWEST_SHARE * len(found) or len(_NEGATION.findall(text)) > len(turned):
        return None
    return _WORD.sub(_exchanged, text)


def _exchanged(match: re.Match[str]) -> str:
    word = match.group()
    other = OPPOSITE.get(word.lower())
    if other is None:
        return word
    return other.capitalize() if word[0].isupper() else other
