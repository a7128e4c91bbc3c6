"""``POST /`` and ``POST /models/NAME``: text classification as Hugging Face's Inference Endpoints and its inference API
serve it, for ``huggingface_hub.InferenceClient(model=URL).text_classification``.

Source: the text classification task of ``huggingface.js/packages/tasks``, and what ``huggingface_hub`` sends and reads.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from starlette.responses import Response
from starlette.types import Receive, Scope

from app.http.compat.call import CompatEndpoint, json_response, judgement_header, ranked
from app.http.json_body import check_count, parse_document
from app.http.problems import Problem
from app.http.schemas import REVIEW, WHOLE


def _form(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "texts" if isinstance(value, list) else None


class TextClassificationParameters(BaseModel):
    """How the answer is to look."""

    model_config = ConfigDict(strict=True)

    top_k: Annotated[
        Annotated[int, Field(ge=1), WHOLE] | None,
        Field(description="Only the most probable classes; all of them by default."),
    ] = None
    function_to_apply: Annotated[
        Literal["softmax", "none"] | None,
        Field(description="softmax (default) gives probabilities, none their natural logarithms."),
    ] = None


class TextClassificationRequest(BaseModel):
    """One text or several. Fields that only other models know are ignored."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"inputs": REVIEW, "parameters": {"top_k": 1}}]}
    )

    inputs: Annotated[
        Annotated[str, Tag("text")] | Annotated[list[str], Field(min_length=1, fail_fast=True), Tag("texts")],
        Discriminator(_form, "inputs", "must be a text or a list of texts"),
        Field(description="A review, or several."),
    ]
    parameters: TextClassificationParameters | None = None


class TextClassificationScore(BaseModel):
    """One class of a text."""

    label: Annotated[str, Field(examples=["positive"])]
    score: float


class HuggingFaceError(BaseModel):
    """Why there is no answer."""

    error: str


class HuggingFaceEndpoint(CompatEndpoint):
    """Answers ``POST /``, and the same of a model that the path names."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        version = self.version(scope)
        request = parse_document(TextClassificationRequest, await self.body(scope, receive))
        texts = [request.inputs] if isinstance(request.inputs, str) else request.inputs
        check_count(len(texts), self.settings.max_texts, "inputs")
        model, predictions = await self.classify(texts, scope, receive, "inputs", version=version)
        parameters = request.parameters or TextClassificationParameters()
        labels = model.config.labels
        logarithms = parameters.function_to_apply == "none"
        # A single text has a list of its own too: the client reads the first one.
        answers = [ranked(prediction, labels, logarithms=logarithms)[: parameters.top_k] for prediction in predictions]
        return json_response(answers, headers=judgement_header(predictions))

    @staticmethod
    def refuse(problem: Problem) -> Response:
        return json_response({"error": problem.detail}, problem.status, problem.headers)
