"""``/admin/models``: what is served and loaded, and changing that. For keys of the scope admin alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.admin_schemas import CanaryShare, ShadowShare
from app.http.auth.meter import KEY_NAME
from app.http.body import ClientGoneError, read_json_body
from app.http.json_body import parse_document
from app.http.openapi import admin_texts as docs
from app.http.problems import Problem

_STATUS = {
    "model_not_found": 404,
    "load_under_way": 409,
    "model_is_served": 409,
    "model_has_share": 409,
    "too_many_models": 409,
    "model_refused": 422,
}


class ModelSwitch(Protocol):
    """Who can have other models served and loaded. Errors that are the asker's are in the answer, as ``error``."""

    async def served(self) -> Mapping[str, Any]:
        """What is served and loaded, and the last orders."""
        ...

    async def load(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have another model served; what is served then."""
        ...

    async def load_beside(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have a model loaded beside the one that is served."""
        ...

    async def unload(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have a model unloaded that is loaded beside."""
        ...

    async def divide(self, reference: str, percent: float, who: str) -> Mapping[str, Any]:
        """Have a model that is loaded beside answer a share of the requests that name none."""
        ...

    async def shadow(self, reference: str, percent: float, who: str) -> Mapping[str, Any]:
        """Have a model that is loaded beside judge a share of the texts for comparison."""
        ...


def add_admin_routes(router: APIRouter, switch: ModelSwitch | None) -> None:
    """Add the routes.

    Args:
        router: gets them.
        switch: None where this process serves alone.
    """

    @router.get("/admin/models", **docs.SERVED)
    async def served_models(request: Request) -> Response:
        """What is served, what is loaded beside it, since when and by which label, and the last orders."""
        return await _answered(request, switch, lambda asked, _: asked.served())

    @router.post("/admin/models/{name}/{version}/load", **docs.LOAD)
    async def load_model(request: Request) -> Response:
        """Have a version served in the place of the one that is, without a lost request.

        The version is given by its number, or by a label such as champion. The answer comes when no new connection gets
        the version before any more; one that is refused changes nothing.
        """
        return await _answered(request, switch, lambda asked, who: asked.load(_reference(request), who))

    @router.post("/admin/models/{name}/{version}/load-beside", **docs.LOAD_BESIDE)
    async def load_model_beside(request: Request) -> Response:
        """Have a version loaded beside the one that is served, for requests that name it.

        The answer comes when every process answers such requests.
        """
        return await _answered(request, switch, lambda asked, who: asked.load_beside(_reference(request), who))

    @router.post("/admin/models/{name}/{version}/unload", **docs.UNLOAD)
    async def unload_model(request: Request) -> Response:
        """Have a version unloaded that is loaded beside the one that is served.

        The answer comes when no process takes requests that name it, and those under way were answered.
        """
        return await _answered(request, switch, lambda asked, who: asked.unload(_reference(request), who))

    @router.post("/admin/models/{name}/{version}/canary", **docs.CANARY)
    async def set_canary(request: Request) -> Response:
        """Have a version that is loaded beside answer a share of the requests to `/classify` that name no model.

        Who is among them is told by a header, where requests have it, else by the text, and stays so while the share
        grows. What the version fails to answer, the one that is served does. The answer comes when every process
        divides requests so.
        """
        return await _shared(request, switch, CanaryShare, lambda asked: asked.divide)

    @router.post("/admin/models/{name}/{version}/shadow", **docs.SHADOW)
    async def set_shadow(request: Request) -> Response:
        """Have a version that is loaded beside judge a share of the texts that the one that is served computes.

        Nobody is given what it says: it is compared and counted, after the answer and while there is little to do; what
        has to wait is dropped. The answer comes when every process has texts judged so.
        """
        return await _shared(request, switch, ShadowShare, lambda asked: asked.shadow)


def _reference(request: Request) -> str:
    """What the path names: a version by its number, or a label."""
    name, version = (request.path_params[part] for part in ("name", "version"))
    return f"{name}{'/' if version.isdigit() else '@'}{version}"


async def _shared(
    request: Request,
    switch: ModelSwitch | None,
    schema: type[CanaryShare | ShadowShare],
    order: Callable[[ModelSwitch], Callable[[str, float, str], Awaitable[Mapping[str, Any]]]],
) -> Response:
    """Have a version get the share that the body says."""
    if request.scope.get(KEY_NAME) is None:
        return docs.NO_KEYS.response()
    try:
        body = await read_json_body(request.scope, request.receive, docs.MOST_BYTES, compressed=False)
        percent = parse_document(schema, body).percent
    except (Problem, ClientGoneError) as error:
        return error.response()
    return await _answered(request, switch, lambda asked, who: order(asked)(_reference(request), percent, who))


async def _answered(
    request: Request,
    switch: ModelSwitch | None,
    ask: Callable[[ModelSwitch, str], Awaitable[Mapping[str, Any]]],
) -> Response:
    who = request.scope.get(KEY_NAME)
    if who is None:
        # Where nobody is asked for a key, everybody could do it.
        return docs.NO_KEYS.response()
    if switch is None:
        return docs.NOT_SUPERVISED.response()
    found = await ask(switch, who)
    if error := found.get("error"):
        return Problem(_STATUS[error["code"]], error["code"], error["detail"]).response()
    return Response(orjson.dumps(found), media_type="application/json")
