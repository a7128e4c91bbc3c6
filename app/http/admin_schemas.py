"""What the operations under ``/admin`` give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ServedVersion(BaseModel):
    """What answers where no model is named."""

    model: str
    version: int
    digest: Annotated[str, Field(description="Of everything that decides a score.")]
    label: Annotated[str | None, Field(description="By which it was asked for.")]
    since: Annotated[str, Field(description="RFC 3339, UTC.")]


class LoadedVersion(ServedVersion):
    """What answers where it is named."""

    answers: Annotated[bool, Field(description="Whether its engine runs.")]


class CanaryShare(BaseModel):
    """How much a canary is to answer."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra={"examples": [{"percent": 10}]})

    percent: Annotated[float, Field(description="Of the requests that name no model; 0 ends it.", ge=0, le=100)]


class CanaryVersion(BaseModel):
    """What answers a share of the requests that name no model."""

    model: Annotated[str, Field(description="NAME/VERSION.")]
    percent: float


class ShadowShare(BaseModel):
    """How much a shadow is to judge."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra={"examples": [{"percent": 100}]})

    percent: Annotated[
        float, Field(description="Of the texts that the version that is served computes; 0 ends it.", ge=0, le=100)
    ]


class ShadowVersion(BaseModel):
    """What judges a share of the texts for comparison."""

    model: Annotated[str, Field(description="NAME/VERSION.")]
    percent: float
    compares: Annotated[str, Field(description="What of the two is compared, for people.")]


class LoadAttempt(BaseModel):
    """One order."""

    order: Literal["model switch", "model load", "model unload", "canary", "shadow"]
    asked: Annotated[str, Field(description="NAME/VERSION or NAME@LABEL.")]
    by: Annotated[
        str, Field(description="Name of the key; `label` where one was moved, `start` for settings, `guard`.")
    ]
    at: str
    outcome: Literal["under way", "served", "loaded", "unloaded", "set", "taken back", "would be taken back", "refused"]
    version: Annotated[str | None, Field(description="NAME/VERSION, once known.")] = None
    reason: Annotated[str | None, Field(description="Why it was refused.")] = None
    seconds: Annotated[float | None, Field(description="How long it took.")] = None


class AdminModels(BaseModel):
    """What is served, what is loaded beside it, and the last orders, newest first."""

    served: ServedVersion
    beside: list[LoadedVersion]
    canary: CanaryVersion | None
    shadow: ShadowVersion | None
    most: Annotated[int, Field(description="Versions that may be loaded, the one that is served among them.")]
    attempts: list[LoadAttempt]
