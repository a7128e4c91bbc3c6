"""``/admin/models``: what is served, and having another model served. For keys of the scope admin alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.http.auth.meter import KEY_NAME
from app.http.openapi.admin_texts import LOAD, NO_KEYS, NOT_SUPERVISED, SERVED
from app.http.problems import Problem

_STATUS = {"model_not_found": 404, "load_under_way": 409, "model_refused": 422}


class ModelSwitch(Protocol):
    """Who can have another model served. Errors that are the asker's are in the answer, as ``error``."""

    async def served(self) -> Mapping[str, Any]:
        """What is served, and the last attempts to serve something else."""
        ...

    async def load(self, reference: str, who: str) -> Mapping[str, Any]:
        """Have another model served; what is served then."""
        ...


def add_admin_routes(router: APIRouter, switch: ModelSwitch | None) -> None:
    """Add the routes.

    Args:
        router: gets them.
        switch: None where this process serves alone.
    """

    @router.get("/admin/models", **SERVED)
    async def served_models(request: Request) -> Response:
        """What is served, since when and by which label, and the last attempts to serve something else."""
        return await _answered(request, switch, lambda asked, _: asked.served())

    @router.post("/admin/models/{name}/{version}/load", **LOAD)
    async def load_model(request: Request) -> Response:
        """Have a version served in the place of the one that is, without a lost request.

        The version is given by its number, or by a label such as champion. The answer comes when no new connection gets
        the version before any more; one that is refused changes nothing.
        """
        name, version = (request.path_params[part] for part in ("name", "version"))
        reference = f"{name}{'/' if version.isdigit() else '@'}{version}"
        return await _answered(request, switch, lambda asked, who: asked.load(reference, who))


async def _answered(
    request: Request,
    switch: ModelSwitch | None,
    ask: Callable[[ModelSwitch, str], Awaitable[Mapping[str, Any]]],
) -> Response:
    who = request.scope.get(KEY_NAME)
    if who is None:
        # Where nobody is asked for a key, everybody could do it.
        return NO_KEYS.response()
    if switch is None:
        return NOT_SUPERVISED.response()
    found = await ask(switch, who)
    if error := found.get("error"):
        return Problem(_STATUS[error["code"]], error["code"], error["detail"]).response()
    return Response(orjson.dumps(found), media_type="application/json")
