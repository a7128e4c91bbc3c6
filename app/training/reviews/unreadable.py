"""Texts of which nothing can be said: other languages, code, log lines, random letters.

A network that never saw such texts is sure of something; trained on these with no label more probable than another, it
says that it is not.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from functools import cache

from app.training.reviews.wordlists import foreign_sentence_words

_LANGUAGES = tuple("es fr de it pt nl pl sv da nb fi tr id ro cs hu ca ru uk el ar fil".split())
_NAMES = "x i data self value result node items buf ctx user_id len tmp err".split()
_ALPHABETS = (string.ascii_lowercase, string.ascii_letters + string.digits, "asdfjkl", "qwertzuiop")
_CODE = """
def {a}({b}, {c}=None):
    return {a}.{b}({c})
for (int {a} = 0; {a} < {b}; {a}++) [
if ({a} != null) [ {b}({c}); ]
const {a} = await {b}.{c}();
import {a} from '{b}';
{a}[{b}] = {c} + 1;
SELECT {a}, {b} FROM {c} WHERE {a} = {n};
<div class="{a}">[{b}]</div>
struct {a} *{b} = malloc(sizeof(*{c}));
#include <{a}.h>
except {a}Error as {b}: raise {c}
public static void {a}(String {b}) [
]
{a} := make(map[string]{b})
pip install {a}-{b}
let mut {a}: Vec<{b}> = vec![];
""".strip("\n").splitlines()
_LOG = """
GET /api/v{n}/items {status} {m}ms
connection from 10.0.{n}.{m} closed
request id={id} status={status}
timeout after {n} s, retry {m}
pid {m} exited with code {n}
loaded {m} rows in 0.{m} s
heap usage {n}% gc paused {m}ms
""".strip().splitlines()
_LEVELS, _PARTS = "INFO WARN ERROR DEBUG".split(), "http db.pool kernel auth worker-3 sshd[712]".split()


def unreadable_texts(count: int, draw: random.Random) -> list[str]:
    """``count`` such texts, two fifths of them in other languages."""
    makers: list[Callable[[random.Random], str]] = [_foreign, _foreign, _code, _log, _letters]
    return [draw.choice(makers)(draw) for _ in range(count)]


@cache
def _words_of(language: str) -> tuple[list[str], list[float]]:
    return foreign_sentence_words(language)


def _foreign(draw: random.Random) -> str:
    words, shares = _words_of(draw.choice(_LANGUAGES))
    return " ".join(draw.choices(words, shares, k=draw.randint(3, 40)))


def _letters(draw: random.Random) -> str:
    alphabet = draw.choice(_ALPHABETS)
    return " ".join("".join(draw.choices(alphabet, k=draw.randint(2, 12))) for _ in range(draw.randint(1, 20)))


def _code(draw: random.Random) -> str:
    lines = []
    for _ in range(draw.randint(1, 8)):
        a, b, c = draw.choices(_NAMES, k=3)
        lines.append(draw.choice(_CODE).format(a=a, b=b, c=c, n=draw.randint(0, 99)))
    return "\n".join(lines).replace(" [\n", " {\n")


def _log(draw: random.Random) -> str:
    stamp = f"2024-{draw.randint(1, 12):02}-{draw.randint(1, 28):02} {draw.randint(0, 23):02}:{draw.randint(0, 59):02}"
    numbers = {"n": draw.randint(1, 200), "m": draw.randint(1, 900), "status": draw.randint(200, 504)}
    said = draw.choice(_LOG).format(**numbers, id=f"{draw.getrandbits(48):012x}")
    return f"{stamp}:{draw.randint(0, 59):02} {draw.choice(_LEVELS)} [{draw.choice(_PARTS)}] {said}"
