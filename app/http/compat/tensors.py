"""Tensors of the Open Inference Protocol, as JSON or behind it as binary data.

Sources: the protocol's ``inference_rest.md``; Triton's binary tensor data extension: an element of type BYTES is its
length as 4 bytes, little end first, and its bytes; FP32 is 4 bytes, little end first.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator
from starlette.responses import Response
from starlette.types import Scope

from app.http.compat.call import json_response
from app.http.json_body import check_count, parse_document
from app.http.problems import Problem, invalid
from app.http.schemas import REVIEW, WHOLE
from app.sentiment import Prediction

INPUT = "text"
Output = Literal["label", "score", "scores", "unknown", "judgement"]
DATATYPES: dict[Output, Literal["BYTES", "FP32"]] = {
    "label": "BYTES",
    "score": "FP32",
    "scores": "FP32",
    "unknown": "FP32",
    "judgement": "BYTES",
}
"""The outputs, in the order in which they are sent where nobody asks for some."""
HEADER_LENGTH = "Inference-Header-Content-Length"
FIELD = "inputs.0"
"""What errors call the only input."""
_PREFIX = 4
"""Bytes of the length of an element of type BYTES."""


_MOST_MICROSECONDS = 2**63 - 1


def _only_null(schema: dict[str, Any]) -> None:
    # What would be refused is typed, so that the refusal names its reason; the document says what is accepted.
    del schema["anyOf"]
    schema["type"] = "null"


def _form(value: Any) -> str | None:
    if not isinstance(value, list):
        return None
    return "column" if value and isinstance(value[0], list) else "row"


TensorData = Annotated[
    Annotated[list[str], Field(fail_fast=True), Tag("row")]
    | Annotated[list[Annotated[list[str], Field(min_length=1, max_length=1)]], Field(fail_fast=True), Tag("column")],
    Discriminator(_form, "data", "must be a list of texts, or of lists of 1 text"),
]


class InputParameters(BaseModel):
    """How the input arrives."""

    model_config = ConfigDict(strict=True)

    binary_data_size: Annotated[
        Annotated[int, Field(ge=0), WHOLE] | None, Field(description="Bytes behind the JSON, instead of data.")
    ] = None
    shared_memory_region: Annotated[
        str | None, Field(description="Refused: there is no shared memory.", json_schema_extra=_only_null)
    ] = None

    @field_validator("shared_memory_region")
    @classmethod
    def _refuse(cls, value: str | None) -> None:
        if value is not None:
            raise ValueError("shared memory is not supported")


class InputTensor(BaseModel):
    """N texts, of shape [N] or [N, 1]."""

    model_config = ConfigDict(strict=True)

    name: Literal["text"]
    datatype: Literal["BYTES"]
    shape: Annotated[list[Annotated[int, Field(ge=1), WHOLE]], Field(min_length=1, max_length=2)]
    parameters: InputParameters | None = None
    data: Annotated[TensorData | None, Field(description="The texts, flat or nested.")] = None


class OutputParameters(InputParameters):
    """How an output is to be sent."""

    binary_data: Annotated[bool, Field(description="Behind the JSON.")] = False
    classification: Annotated[
        int | None, Field(description="Refused: ask for label, score or scores.", json_schema_extra=_only_null)
    ] = None

    @field_validator("classification")
    @classmethod
    def _refuse_classification(cls, value: int | None) -> None:
        if value is not None:
            raise ValueError("the classification extension is not supported; ask for label, score or scores")


class RequestedOutput(BaseModel):
    """An output that is wanted."""

    model_config = ConfigDict(strict=True)

    name: Output
    parameters: OutputParameters | None = None


class InferParameters(BaseModel):
    """Of the whole request; others are ignored."""

    model_config = ConfigDict(strict=True)

    binary_data_output: Annotated[bool, Field(description="All outputs behind the JSON.")] = False
    timeout: Annotated[
        Annotated[int, Field(ge=0, le=_MOST_MICROSECONDS), WHOLE] | None,
        Field(description="Microseconds; 0 for the service's limit."),
    ] = None


class InferRequest(BaseModel):
    """An inference request."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [REVIEW]}]}]
        },
    )

    id: str | None = None
    parameters: InferParameters | None = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[RequestedOutput] | None, Field(max_length=8, description="All by default.")] = None


class OutputTensor(BaseModel):
    """One output."""

    name: Output
    datatype: Literal["BYTES", "FP32"]
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[str] | list[float] | None = None


class InferResponse(BaseModel):
    """An inference response. ``scores`` is [N, classes], the others have the shape of the input."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def parse(scope: Scope, body: bytes, max_texts: int) -> tuple[InferRequest, list[str]]:
    """A request and its N texts.

    Raises:
        Problem: 422, naming what is wrong.
    """
    length = _header_length(scope, len(body))
    request = parse_document(InferRequest, body[:length])
    tensor = request.inputs[0]
    count, *rest = tensor.shape
    if rest not in ([], [1]):
        raise _problem(f"{FIELD}.shape", "must be [N] or [N, 1]")
    check_count(count, max_texts, FIELD)
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    binary = memoryview(body)[length:]
    if (size or 0) != len(binary):
        raise _problem(f"{FIELD}.binary_data_size", f"says {size or 0} bytes, {len(binary)} bytes follow the JSON")
    if size is not None and tensor.data is None:
        return request, _unpack(binary, count)
    if tensor.data is None or size is not None:
        raise _problem(f"{FIELD}.data", "must be given, either in the JSON or behind it")
    texts = [item if isinstance(item, str) else item[0] for item in tensor.data]
    if len(texts) != count:
        raise _problem(f"{FIELD}.data", f"has {len(texts)} elements where shape says {count}")
    return request, texts


def answer(
    request: InferRequest, predictions: Sequence[Prediction], labels: Sequence[str], model: str, version: int
) -> Response:
    """The response, with the outputs that were asked for in the order and the form that were asked for."""
    everywhere = request.parameters is not None and request.parameters.binary_data_output
    wanted = request.outputs or [RequestedOutput(name=name) for name in DATATYPES]
    outputs, buffers = [], []
    for output in wanted:
        tensor, values = _tensor(output.name, predictions, labels, request.inputs[0].shape)
        if output.parameters.binary_data if output.parameters else everywhere:
            buffers.append(_pack(values))
            outputs.append({**tensor, "parameters": {"binary_data_size": len(buffers[-1])}})
        else:
            outputs.append({**tensor, "data": values})
    identity = {} if request.id is None else {"id": request.id}
    document = {"model_name": model, "model_version": str(version), **identity, "outputs": outputs}
    if not buffers:
        return json_response(document)
    header = orjson.dumps(document)
    return Response(
        b"".join((header, *buffers)),
        headers={HEADER_LENGTH: str(len(header))},
        media_type="application/octet-stream",
    )


def _header_length(scope: Scope, total: int) -> int:
    name = HEADER_LENGTH.lower().encode()
    for field, value in scope["headers"]:
        if field == name:
            # Of more digits than any body has bytes the number is not even made.
            if not value.isdigit() or len(value) > 18 or not 0 < int(value) <= total:
                raise _problem(HEADER_LENGTH, f"must be the length of the JSON, 1 to {total}")
            return int(value)
    return total


def _unpack(buffer: memoryview, count: int) -> list[str]:
    texts, start = [], 0
    for index in range(count):
        body = start + _PREFIX
        end = body + int.from_bytes(buffer[start:body], "little")
        if body > len(buffer) or end > len(buffer):
            raise _problem(FIELD, f"element {index} of {count} is cut off")
        try:
            texts.append(str(buffer[body:end], "utf-8"))
        except UnicodeDecodeError:
            raise _problem(FIELD, f"element {index} is not UTF-8") from None
        start = end
    if start != len(buffer):
        raise _problem(FIELD, f"{len(buffer) - start} bytes follow the last of {count} elements")
    return texts


def _tensor(
    name: Output, predictions: Sequence[Prediction], labels: Sequence[str], shape: list[int]
) -> tuple[dict[str, Any], list[str] | list[float]]:
    values: list[str] | list[float]
    if name == "scores":
        values = [probability for prediction in predictions for probability in prediction.probabilities]
        shape = [len(predictions), len(labels)]
    elif name == "label":
        values = [prediction.best(labels)[0] for prediction in predictions]
    elif name == "score":
        values = [prediction.best(labels)[1] for prediction in predictions]
    elif name == "unknown":
        values = [prediction.unknown for prediction in predictions]
    else:
        values = [str(prediction.judgement) for prediction in predictions]
    return {"name": name, "datatype": DATATYPES[name], "shape": shape}, values


def _pack(values: list[str] | list[float]) -> bytes:
    pieces = []
    for value in values:
        if isinstance(value, str):
            data = value.encode()
            pieces += [len(data).to_bytes(_PREFIX, "little"), data]
        else:
            pieces.append(struct.pack("<f", value))
    return b"".join(pieces)


def _problem(field: str, message: str) -> Problem:
    return invalid("invalid_request", field, message)
