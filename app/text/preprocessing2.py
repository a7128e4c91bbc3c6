"""Text to tokens, version 2: what version 1 threw away of tone is kept.

What it does beyond ``preprocessing`` (version 1):

- HTML entities are decoded, also those that were encoded twice.
- An emoji is a token, ``emoji`` and its code point in hexadecimal digits; skin tones and joiners are dropped.
- Emoticons are one of five tokens, links are ``<link>``, names after an at sign ``<user>``.
- Numbers above ten are ``<number>``: prices, years and ages say nothing of a text's sentiment, ratings do.
- ``n't`` is a token of its own ("do", "n't"), also where the apostrophe is missing ("dont"); other words are split at
  their apostrophes ("it", "s"), as in texts that were tokenized already ("it 's").
- A letter three times or more in a row stands there twice ("goood" is "good").

Everything after decoding and folding happens on bytes, UTF-8 in which only letters and digits are not ASCII, so that
``words.c`` and this module read the very same thing; property tests hold them equal. ``plain`` is what the compiled
code takes, ``words`` and ``word_spans`` do all of it in Python.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

from app.text.preprocessing import APOSTROPHES, DROPPED_CATEGORIES, FoldTable, Span

LINK, USER, NUMBER = "<link>", "<user>", "<number>"
SMILE, FROWN, WRY, HEART, BROKEN_HEART = "<smile>", "<frown>", "<wry>", "<heart>", "<broken-heart>"
SPECIAL_TOKENS = (LINK, USER, NUMBER, SMILE, FROWN, WRY, HEART, BROKEN_HEART)
"""Tokens that no word of a text can be, in the order in which ``words.c`` knows them."""
EMOJI_PREFIX = "emoji"
NOT = "n't"
TEN = "10"

_FEW = 16
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
# Code points of pictures, as of Unicode 15: a table of one's own, since Python versions know different ones.
_EMOJI = ((0x2190, 0x21FF), (0x2300, 0x23FF), (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F300, 0x1FAFF))
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_TOKEN = re.compile(
    rb"""
      (?P<tag> </?[a-z][^<>]{0,200}> )
    | (?P<link> (?:https?://|www\.)[^\x00-\x20<>"]+ )
    | (?P<user> (?<![a-z0-9\x80-\xff])@[a-z0-9_]+ )
    | (?P<heart> <(?P<broken>/?)3(?![a-z0-9\x80-\xff]) )
    | (?P<emoticon>
        (?: (?: [:;] | (?<![a-z0-9\x80-\xff])= ) '?[-^]?
              (?: (?P<smile> \)++ | \]++ | \}++ ) | (?P<frown> \(++ | \[++ | \{++ ) | [/\\|](?!/) )
          | (?<![a-z0-9\x80-\xff])[:;=]'?[-^]?(?P<grin> [dp] ) )
        (?![a-z0-9\x80-\xff]) )
    | (?P<tone> [!?] )
    | (?P<word> [a-z0-9\x80-\xff]+(?:'[a-z0-9\x80-\xff]+)* )
    """,
    re.VERBOSE,
)
_LENGTHENED = re.compile(r"([a-z])\1\1+")
_BARE_NOT = frozenset(
    [
        "dont",
        "doesnt",
        "didnt",
        "isnt",
        "arent",
        "wasnt",
        "werent",
        "cant",
        "couldnt",
        "wont",
        "wouldnt",
        "shouldnt",
        "havent",
        "hasnt",
        "hadnt",
        "aint",
    ]
)


def _fold(character: str) -> str:
    code = ord(character)
    if character.isascii():
        return character
    if code in _SKIN_TONES:
        return ""
    if any(first <= code <= last for first, last in _EMOJI):
        return f" {EMOJI_PREFIX}{code:x} "
    folded = []
    for part in unicodedata.normalize("NFKD", character.casefold()):
        if character in APOSTROPHES or part in APOSTROPHES:
            folded.append("'")
        elif part.isascii():
            folded.append(part.lower())
        elif unicodedata.category(part) in DROPPED_CATEGORIES:
            continue
        elif part.isalnum() or unicodedata.category(part) == "Mc":
            folded.append(part.casefold())
        else:
            folded.append(" ")
    return "".join(folded)


_FOLDED = FoldTable(_fold)


def _decode(text: str) -> str:
    # Twice: "&amp;#39;" is an apostrophe that was encoded twice.
    return _ENTITY.sub(_decoded, _ENTITY.sub(_decoded, text))


def _decoded(entity: re.Match[str]) -> str:
    return html.unescape(entity.group())


def plain(text: str) -> bytes:
    """What the compiled code reads: entities decoded, everything but letters and digits in ASCII, in UTF-8."""
    if "&" in text:
        text = _decode(text)
    if text.isascii():
        return text.encode("ascii")
    foreign = set(_NON_ASCII.findall(text))
    if len(foreign) > _FEW:
        text = text.translate(_FOLDED)
    else:
        for character in foreign:
            text = text.replace(character, _FOLDED[ord(character)])
    return text.encode("utf-8")


def words(text: str) -> list[str]:
    """The tokens of ``text``, in order. Linear in its length; accepts any string, lone surrogates too."""
    return [token for token, _, _ in _tokens(plain(text))]


def has_words(text: str) -> bool:
    """Whether there is a token at all; stops at the first."""
    return next(_tokens(plain(text)), None) is not None


def word_spans(text: str) -> list[Span]:
    """The tokens of ``text`` with their character offsets, in order; the tokens equal ``words(text)``."""
    parts: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    for character, start, end in _decoded_characters(text):
        part = (_FOLDED[ord(character)] if ord(character) > 127 else character).encode("utf-8")
        if not part and ends and unicodedata.category(character) in DROPPED_CATEGORIES:
            ends[-1] = end  # a combining mark folds to nothing but belongs to the character before it
        parts.append(part)
        starts += [start] * len(part)
        ends += [end] * len(part)
    return [Span(token, starts[first], ends[last - 1]) for token, first, last in _tokens(b"".join(parts))]


def _decoded_characters(text: str) -> list[tuple[str, int, int]]:
    """Each character after ``_decode`` with the offsets of what it was in ``text``."""
    characters = [(character, index, index + 1) for index, character in enumerate(text)]
    for _ in range(2):
        decoded: list[tuple[str, int, int]] = []
        at = 0
        for entity in _ENTITY.finditer("".join(character for character, _, _ in characters)):
            decoded += characters[at : entity.start()]
            start, end = characters[entity.start()][1], characters[entity.end() - 1][2]
            decoded += [(character, start, end) for character in _decoded(entity)]
            at = entity.end()
        characters = decoded + characters[at:]
    return characters


def _tokens(text: bytes) -> Iterator[tuple[str, int, int]]:
    """Tokens of what ``plain`` returns, with their byte offsets."""
    for match in _TOKEN.finditer(text.lower().replace(b"`", b"'")):
        kind = match.lastgroup
        start, end = match.span()
        if kind == "word":
            yield from _split(match.group().decode("utf-8"), match.group(), start)
        elif kind == "tone":
            yield match.group().decode("ascii"), start, end
        elif kind != "tag":
            yield _special(kind, match), start, end


def _special(kind: str | None, match: re.Match[bytes]) -> str:
    if kind == "link":
        return LINK
    if kind == "user":
        return USER
    if kind == "heart":
        return BROKEN_HEART if match["broken"] else HEART
    if match["smile"] is not None or match["grin"] is not None:
        return SMILE
    return WRY if match["frown"] is None else FROWN


def _split(word: str, encoded: bytes, start: int) -> Iterator[tuple[str, int, int]]:
    """A run of letters, digits and inner apostrophes as tokens."""
    end = start + len(encoded)
    negated = end
    if word.endswith(NOT):
        negated -= 3
    elif word in _BARE_NOT:
        negated -= 2
    for part in encoded[: negated - start].split(b"'"):
        if part:
            yield _folded_part(part.decode("utf-8")), start, start + len(part)
        start += len(part) + 1
    if negated < end:
        yield NOT, negated, end


def _folded_part(part: str) -> str:
    if part.isascii() and part.isdigit():
        return part if len(part) == 1 or part == TEN else NUMBER
    return _LENGTHENED.sub(r"\1\1", part)
