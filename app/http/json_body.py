"""A JSON body as a checked object: parsed once, with an error for every field that is wrong."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.http.problems import Problem, invalid
from app.http.schemas import ClassifyRequest

Document = TypeVar("Document", bound=BaseModel)


def parse_request(body: bytes, max_texts: int) -> ClassifyRequest:
    """Check a request body.

    Raises:
        Problem: 422, naming every invalid field, or the limit on the number of texts.
    """
    request = parse_document(ClassifyRequest, body)
    if request.texts is not None:
        check_count(len(request.texts), max_texts, "texts")
    return request


def parse_document(model: type[Document], body: bytes) -> Document:
    """A JSON document as a model. Some programs begin what they write by a byte order mark, which may be passed over
    (RFC 8259, section 8.1).

    Raises:
        Problem: 422, naming every invalid field, or one that is given twice.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        document = model.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None
    _refuse_repeated_fields(body)
    return document


def check_count(count: int, limit: int, field: str) -> None:
    """Hold the number of texts within its limit.

    Raises:
        Problem: 422, naming field and limit.
    """
    if count > limit:
        raise invalid("too_many_texts", field, f"has {count} texts; the limit is {limit}")


_FIELD = re.compile(rb'"\s*:')
_BACKSLASH = ord("\\")


def _refuse_repeated_fields(body: bytes) -> None:
    """A repeated field is a mistake whose outcome would depend on the parser (RFC 8259, section 4).

    Raises:
        Problem: 422, naming the field.
    """
    if _is_one_list(body):
        return
    # A quotation mark inside a text is escaped. Where there are two fields, the slow parser decides.
    if sum(not _is_escaped(body, found.start()) for found in _FIELD.finditer(body)) > 1:
        json.loads(body, object_pairs_hook=_distinct)


_LIST_STARTS = (b'{"texts": [', b'{"texts":[')
_SPACE = b" \t\r\n"
_LOOK_AHEAD = 16


def _is_one_list(body: bytes) -> bool:
    """Whether a valid document is plainly nothing but a list of texts: no field follows any bracket.

    Most large bodies are, and looking at their brackets takes a tenth of the time of looking for names.
    """
    if not body.startswith(_LIST_STARTS):
        return False
    at = body.find(b"]")
    while at >= 0:
        follows = body[at + 1 : at + 1 + _LOOK_AHEAD].lstrip(_SPACE)
        # Of a field there would be a comma and a quotation mark; behind much white space anything may come.
        if not follows.strip(_SPACE + b",") and at + 1 + _LOOK_AHEAD < len(body):
            return False
        if follows.startswith(b",") and follows[1:].lstrip(_SPACE).startswith(b'"'):
            return False
        at = body.find(b"]", at + 1)
    return True


def _is_escaped(body: bytes, at: int) -> bool:
    """Whether an odd number of backslashes stands before this place."""
    first = at
    while first and body[first - 1] == _BACKSLASH:
        first -= 1
    return (at - first) % 2 == 1


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise invalid("invalid_request", name[:200], "must not be given twice")
        fields[name] = value
    return fields


_MOST_ERRORS = 20
"""Errors that are named one by one; naming millions would cost seconds and gigabytes."""


def _invalid(error: ValidationError) -> Problem:
    if error.error_count() > _MOST_ERRORS:
        return invalid("invalid_request", "body", f"has {error.error_count()} invalid fields")
    items = error.errors(include_url=False, include_context=False, include_input=False)
    errors = []
    for item in items:
        where = ".".join(map(str, item["loc"])) or "body"
        errors.append({"field": where[:200], "message": _message(item)})
    code = "invalid_json" if items[0]["type"] == "json_invalid" else "invalid_request"
    return Problem(422, code, f"{errors[0]['field']}: {errors[0]['message']}", errors)


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field"
    return str(item["msg"]).removeprefix("Value error, ")
