"""What an HTTP worker has of each version that it answers for: put together here, of the parts of all rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from app.engine.admission import QueueLimits
from app.engine.client import RemoteEngine
from app.engine.interface import Engine, ServedModel
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.explainer_link import RemoteExplainer
from app.serving.explanations import Explainer, Explanations
from app.serving.versions import FurtherVersions, Version
from app.settings import Settings
from app.store import WEIGHTS_FILE, ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from app.serving.redis_cache import RedisCache

_ENGINE_SECONDS = 3.0
"""How long is waited for the engine of a version."""

Opened: TypeAlias = tuple[StoredModel, Tokenizer]


def open_model(settings: Settings, digest: str | None = None, vocabulary: Path | None = None) -> Opened:
    """The model that the settings name, with its tokenizer.

    Args:
        settings: name it.
        digest: what its digest has to be, where others have opened it, who read the weights; None: nobody has.
        vocabulary: see ``load_tokenizer``.

    Raises:
        CheckpointError: it is missing, damaged, or has another digest.
    """
    unread = () if digest is None else (WEIGHTS_FILE,)
    model = ModelStore(settings.model_store).open(settings.model, digest, unread)
    return model, load_tokenizer(model, vocabulary)


def shared_cache(settings: Settings, classes: int) -> RedisCache | None:
    """What is kept in Redis, where there is one, of a model with so many classes."""
    if not settings.cache or settings.redis_url is None:
        return None
    from app.serving.redis_cache import RedisCache  # its client takes a while to import

    return RedisCache(settings.redis_url, classes, settings.redis_timeout, settings.redis_ttl)


def classifier_of(
    model: StoredModel,
    tokenizer: Tokenizer,
    engine: Engine,
    shared: RedisCache | None,
    settings: Settings,
    *,
    further: bool = False,
) -> Classifier:
    """The classifier of a model."""
    # A request of the largest size must be admissible, or it would be told to come back for ever.
    in_flight = max(settings.max_queue, settings.max_texts)
    limits = ClassifierLimits(settings.max_characters, in_flight, settings.timeout)
    memory = MemoryCache(settings.cache_size) if settings.cache else None
    secret = "" if settings.cache_secret is None else settings.cache_secret.get_secret_value()
    return Classifier(model, tokenizer, engine, limits, memory, shared, secret, further=further)


def explanations_of(model: StoredModel, explainer: Explainer | None, settings: Settings) -> Explanations:
    """The explanations of a model; without an explainer one is made in this process."""
    cache_bytes = settings.explain_cache_bytes if settings.cache else 0
    if explainer is None:
        from app.explainer_process import make_explainer

        explainer = make_explainer(model, settings)
    return Explanations(model.digest, explainer, cache_bytes)


async def further_version(
    settings: Settings, share: QueueLimits, further: FurtherVersions, entry: Mapping[str, str]
) -> Version:
    """What an entry of the roster names, with an engine and an explainer that run."""
    chosen = settings.model_copy(update={"model": entry["model"]})
    # Checksums and vocabulary take too long for an event loop.
    model, tokenizer = await asyncio.to_thread(open_model, chosen, entry["digest"], Path(entry["vocabulary"]))
    named = ServedModel(model.reference, model.digest)
    made: list[Version] = []

    def tell(_: int, ready: bool) -> None:
        further.tell()
        if made and not ready:
            made[0].engine_left()

    engine = RemoteEngine([Path(entry["engine"])], share, named, tell=tell)
    shared = shared_cache(settings, len(model.config.labels))
    explainer = RemoteExplainer(Path(entry["explainer"]), settings.explain_max_queue, named)
    explanations = explanations_of(model, explainer, settings)
    with suppress(TimeoutError):  # it is being started again, then, and texts wait for it or are refused
        await asyncio.wait_for(engine.start(), _ENGINE_SECONDS)

    async def close() -> None:
        await engine.close()
        await explanations.close()
        if shared is not None:
            await shared.close()

    classifier = classifier_of(model, tokenizer, engine, shared, settings, further=True)
    made.append(Version(classifier, explanations, close))
    return made[0]
