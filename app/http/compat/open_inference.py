"""The Open Inference Protocol, version 2, over REST, with the binary tensor data extension.

Source: ``specification/protocol/inference_rest.md`` of kserve/open-inference-protocol. The models are those that are
loaded; their metadata names one input, ``text``, and the outputs ``label``, ``score``, ``scores``, ``unknown`` and
``judgement``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope

from app.errors import EngineUnavailableError
from app.http.compat import tensors
from app.http.compat.call import CompatEndpoint, json_response
from app.http.problems import Problem, problem_of
from app.http.routing import methods_of
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions
from app.settings import Settings
from app.version import VERSION

SERVER_METADATA = {"name": "sentiment-service", "version": VERSION, "extensions": ["binary_tensor_data"]}


class OpenInferenceError(BaseModel):
    """Why there is no answer."""

    error: str


class ServerLive(BaseModel):
    """Whether the process answers."""

    live: bool


class ServerReady(BaseModel):
    """Whether texts sent now would be answered."""

    ready: bool


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class ModelReady(BaseModel):
    """Whether the model answers."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """An input or output; -1 stands for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    versions: Annotated[list[str], Field(description="Those that are loaded.")]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class _Endpoint(CompatEndpoint):
    @staticmethod
    def refuse(problem: Problem) -> Response:
        # The protocol's status for a request that is not as it should be.
        status = 400 if problem.status == 422 else problem.status
        return json_response({"error": problem.detail}, status, problem.headers)

    def model(self, scope: Scope) -> Classifier:
        """The classifier of the model that the path names. See ``version``."""
        found = self.version(scope)
        return self.classifier() if found is None else found.classifier


class LiveEndpoint(_Endpoint):
    """Answers ``GET /v2/health/live``."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        return json_response({"live": True})


class ReadyEndpoint(_Endpoint):
    """Answers the readiness of server and model."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            classifier = self.model(scope) if scope["path_params"] else self.classifier()
            named = {"name": classifier.model.name} if scope["path_params"] else {}
            ready = classifier.ready and (bool(named) or self.further.settled)
        except EngineUnavailableError:
            ready = False
        if not ready:
            # Returned, not raised: a probe is no refused request.
            return self.refuse(problem_of(EngineUnavailableError("the engine is not ready", retry_after=1.0)))
        return json_response({**named, "ready": True})


class ServerEndpoint(_Endpoint):
    """Answers ``GET /v2``."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        return json_response(SERVER_METADATA)


class ModelEndpoint(_Endpoint):
    """Answers the metadata of the model."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        model, versions = self.model(scope).model, list[int]()
        for known in (self.classifier(), *(it.classifier for it in self.further.loaded.values())):
            versions += [known.model.version] if known.model.name == model.name else []
        return json_response(model_metadata(model.name, model.config.labels, sorted(versions)))


class InferEndpoint(_Endpoint):
    """Answers ``POST .../infer``."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        version = self.version(scope)
        body = await self.body(scope, receive, binary=True)
        request, texts = tensors.parse(scope, body, self.settings.max_texts)
        given = request.parameters.timeout if request.parameters is not None else None
        patience = given / 1e6 if given else math.inf
        model, predictions = await self.classify(texts, scope, receive, tensors.FIELD, patience, version)
        return tensors.answer(request, predictions, model.config.labels, model.name, model.version)


class UnknownEndpoint(_Endpoint):
    """Answers what this server does not have: the protocol's extensions, and other methods of what it has.

    Args:
        classifier: as of all endpoints.
        settings: likewise.
        further: likewise.
        known: routes of what it has.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        settings: Settings,
        further: FurtherVersions,
        known: Sequence[BaseRoute],
    ) -> None:
        super().__init__(classifier, settings, further)
        self._known = known

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        allowed = ", ".join(sorted(methods_of(self._known, scope)))
        if allowed:
            raise Problem(405, "method_not_allowed", f"must be {allowed}", headers={"Allow": allowed})
        raise Problem(404, "not_found", "no such operation; GET /v2 names the extensions that are supported")


def model_metadata(name: str, labels: Sequence[str], versions: Sequence[int]) -> dict[str, Any]:
    """The metadata of a model of which these versions are loaded."""
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "pytorch_safetensors",
        "inputs": [{"name": tensors.INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1, len(labels)] if output == "scores" else [-1]}
            for output, datatype in tensors.DATATYPES.items()
        ],
    }
