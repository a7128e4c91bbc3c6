"""The composition root of the supervisor: what ``serve`` binds, which processes it starts, and who may change them."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from app.errors import CheckpointError, SentimentError, SettingsError
from app.labels import parse_reference
from app.memory_file import memory_file
from app.metrics import show
from app.process import sockets
from app.process.child import Child
from app.process.control import CONTROL_SOCKET, ControlServer
from app.process.fork_server import ForkServer
from app.process.groups import Group, default_workers, group_of_each, groups, visible_gpus
from app.process.succession import HAND_OVER_SECONDS, Generation
from app.process.supervisor import Supervisor
from app.rollout.beside import Beside
from app.rollout.canary import Canary
from app.rollout.canary_guard import Guard, Rules, counted
from app.rollout.orders import Orders, RefusedError, now
from app.rollout.roster import Entry, Roster
from app.rollout.shadowing import Shadowing
from app.rollout.switching import Served, Switching
from app.settings import PREFIX, Settings, listed
from app.store import ModelStore, StoredModel

_START = "start"
"""Who asks for the models that the settings name."""
_LOOK_SECONDS = 0.1
_FURTHER = "further"
"""What stands for a number in the role of an engine of a further model, and so in the label of its metrics."""

logger = logging.getLogger(__name__)


def bound(settings: Settings) -> socket.socket:
    """The listening socket.

    Raises:
        SentimentError: the address is not to be had.
    """
    try:
        return sockets.bind(settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one of a host
        reason = getattr(error, "strerror", None) or "not the name of a host"
        raise SentimentError(f"cannot listen on {settings.host}:{settings.port}: {reason}") from error


def run_supervisor(
    settings: Settings,
    flags: Mapping[str, str],
    model: StoredModel,
    listener: socket.socket,
    folder: Path,
    forks: ForkServer,
) -> int:
    """Serve until a signal; the exit status.

    Args:
        settings: all settings.
        flags: variables for the children, on top of this process' own.
        model: what is served first.
        listener: the listening socket.
        folder: in which the processes meet.
        forks: what becomes the children.
    """
    gpus = visible_gpus(settings.device)
    divided = groups(settings.engines, settings.device, gpus)
    workers = settings.workers or default_workers(divided)
    # Several engines stand in for each other, and memory of a GPU is too dear for one that has nothing to do.
    spare = settings.spare_engine and len(divided) == 1 and not gpus
    engines = "; ".join(map(str, divided)) + (", and a spare one" if spare else "")
    logger.info("HTTP workers: %d; engines: %s", workers, engines)
    parent = Supervisor(
        forks,
        # What is free of memory is another thing when a process is started again.
        {**flags, f"{PREFIX}WORKERS": str(workers)},
        settings.shutdown_grace,
        settings.drain_timeout,
        listener,
        # A file that is received for as long as it may, and then answered for as long as that may take.
        2 * settings.file_transfer + settings.timeout,
    )
    generations = _Generations(settings, listener, folder, divided, workers, spare=spare)
    first = generations.of(model)
    parent.succession.begin_with(first)
    label = parse_reference(settings.model).label
    store, orders, roster = ModelStore(settings.model_store), Orders(), Roster()
    beside = Beside(
        store,
        parent.succession,
        generations.beside,
        roster,
        orders,
        lambda: switching.served,
        settings.max_models,
        min(settings.drain_timeout, HAND_OVER_SECONDS),
    )
    served = Served(model, label, now())
    switching = Switching(store, parent.succession, generations.of, served, orders, beside.forget)
    canary = Canary(store, beside, roster, orders, lambda: switching.served)
    shadowing = Shadowing(store, beside, roster, orders, lambda: switching.served)
    desk = _Desk(switching, beside, canary, shadowing, roster, orders)
    control = ControlServer(folder / CONTROL_SOCKET, desk.answer)
    stop = threading.Event()
    if settings.guard != "off":
        guard = Guard(
            canary,
            lambda: roster.canary,
            lambda: switching.served,
            lambda: counted(folder / "metrics"),
            Rules(settings.guard_errors, settings.guard_latency, settings.guard_change, settings.guard_disagreement),
            settings.guard_window,
            dry_run=settings.guard == "dry-run",
        )
        threading.Thread(target=guard.watch, args=(stop,), daemon=True, name="guard").start()

    def begin() -> None:
        # One model after the other: the one that everything depends on is not to share its start.
        while not first.ready():
            if stop.wait(_LOOK_SECONDS):
                return
        beside.begin(listed(settings.further_models), _START)

    threading.Thread(target=begin, daemon=True, name="further").start()
    if settings.follow_label and label is not None:
        threading.Thread(target=switching.follow, args=(settings.model, stop), daemon=True, name="follow").start()
    try:
        return parent.run()
    finally:
        stop.set()
        control.close()


def check_further(settings: Settings) -> None:
    """Open what is to be loaded beside what is served, so that a wrong name or a damaged file ends the start.

    A label that names nothing does not: a candidate that was promoted must not keep the service from starting again.

    Raises:
        CheckpointError: of the first one that is wrong.
        SettingsError: there are more than may be loaded.
    """
    references, store = listed(settings.further_models), ModelStore(settings.model_store)
    if len(references) >= settings.max_models:
        named = f"SENTIMENT_MODEL and {PREFIX}FURTHER_MODELS name {len(references) + 1} models"
        raise SettingsError(f"{PREFIX}MAX_MODELS: {named}, and the limit is {settings.max_models}")
    for reference in references:
        try:
            name, _, label = parse_reference(reference)
            if label is None or not store.versions(name) or label in store.labels(name).labels:
                store.open(reference)
        except CheckpointError as error:
            raise CheckpointError(f"{PREFIX}FURTHER_MODELS: {error}") from error


class _Desk:
    """Answers workers. See ``process.control``.

    Args:
        switching: changes what is served.
        beside: what is loaded beside that.
        canary: which share of the requests one of these answers.
        shadowing: which share of the texts one of these judges for comparison.
        roster: what workers should have.
        orders: the last ones.
    """

    def __init__(
        self,
        switching: Switching,
        beside: Beside,
        canary: Canary,
        shadowing: Shadowing,
        roster: Roster,
        orders: Orders,
    ) -> None:
        self._switching = switching
        self._beside = beside
        self._canary = canary
        self._shadowing = shadowing
        self._roster = roster
        self._orders = orders
        self._do = {"load": switching.load, "load_beside": beside.load, "unload": beside.unload}
        self._share = {"divide": canary.divide, "shadow": shadowing.cast}

    def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is served and loaded, once what is asked for was done; or why it was not."""
        order = question["do"]
        if order == "roster":
            return self._roster.answer(question)
        if order != "show":
            try:
                model, who = str(question["model"]), str(question["who"])
                if order in self._share:
                    self._share[order](model, float(question["percent"]), who)
                else:
                    self._do[order](model, who)
            except RefusedError as error:
                return {"error": {"code": error.code, "detail": str(error)}}
        loaded = self._switching.document() | self._beside.document()
        loaded |= self._canary.document() | self._shadowing.document()
        return loaded | {"attempts": self._orders.newest_first()}


class _Places(NamedTuple):
    """Where the processes of a generation meet."""

    engines: list[Path]
    spare: Path | None
    explainer: Path
    vocabulary: Path


class _Generations:
    """Makes the processes of a model.

    Args:
        settings: all settings.
        listener: the listening socket.
        folder: in which the processes meet.
        groups: one for each engine of what is served.
        workers: how many, in all groups together.
        spare: whether an engine more stands by, for the one group there is.
    """

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket,
        folder: Path,
        groups: Sequence[Group],
        workers: int,
        *,
        spare: bool,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._folder = folder
        self._groups = groups
        self._workers = workers
        self._spare = spare
        self._numbers = itertools.count(1)
        self._metrics_in_use: set[Path] = set()
        self._first = True

    def of(self, model: StoredModel) -> Generation:
        """Engines, explainer and HTTP workers of a model, not yet started."""
        succeeds, self._first = [] if self._first else ["--succeeds"], False
        generation, places, metrics = self._without_workers(model, self._groups)
        environment, silence = {f"{PREFIX}MODEL": model.reference}, self._settings.engine_timeout
        command = ["_worker", "--digest", model.digest, "--listener", str(self._listener.fileno()), "--explainer"]
        command += [str(places.explainer), f"--vocabulary={places.vocabulary}"]
        command += [f"--engine={engine}" for engine in places.engines]
        command += [f"--spare={places.spare}"] if places.spare is not None else []
        for place, group in enumerate(group_of_each(self._workers, self._groups)):
            own = [*command, "--group", str(group), *succeeds]
            worker = Child(f"worker-{place}", own, fds=[self._listener.fileno()], heartbeat=silence, drains=True)
            worker.environment, worker.metrics, worker.cores = environment, metrics, self._groups[group].cores
            generation.children.append(worker)
        generation.serves = partial(show, metrics, model, serves=True)
        generation.retires = partial(show, metrics, model, serves=False)
        return generation

    def beside(self, model: StoredModel) -> tuple[Generation, Entry]:
        """Engine and explainer of a model, not yet started, and what workers need to know of them."""
        generation, places, metrics = self._without_workers(model, [])
        # What is served is said by others; what this one computes counts all the same.
        generation.serves = partial(show, metrics, model, serves=False)
        files = {"engine": places.engines[0], "explainer": places.explainer, "vocabulary": places.vocabulary}
        paths = {name: str(path) for name, path in files.items()}
        return generation, {"model": model.reference, "digest": model.digest, **paths}

    def _without_workers(self, model: StoredModel, groups: Sequence[Group]) -> tuple[Generation, _Places, Path]:
        """The same, with an engine for each group and the spare one, and the folder of their metrics' files. Without
        groups there is one engine, which all groups share."""
        number = next(self._numbers)
        # The spare one is a second engine of the one group that there is then.
        of_engines: list[Group | None] = [*groups, *groups] if self._spare else [*groups]
        names = [str(place) for place in range(len(of_engines))] or [_FURTHER]
        paths = [self._folder / f"engine-{number}.{name}.sock" for name in names]
        regular = len(groups) or 1
        engines, spare = paths[:regular], next(iter(paths[regular:]), None)
        explainer, vocabulary = self._folder / f"explainer-{number}.sock", self._folder / f"vocabulary-{number}"
        metrics, wake = self._metrics_of(model), sockets.bind_local(explainer)
        digest, silence = ["--digest", model.digest], self._settings.engine_timeout
        # Resolved once: what a label names later is for another generation, not for a child that is started again.
        environment = {f"{PREFIX}MODEL": model.reference}
        # Engines of one memory node share the packed weights; those that come in their place find them.
        packed = {node: memory_file("packed-model") for node in {group.node for group in groups} or {0}}
        children = []
        for name, path, group in zip(names, paths, of_engines or [None], strict=True):
            file = packed[0 if group is None else group.node]
            command = ["_engine", *digest, "--socket", str(path), f"--packed={file}", f"--vocabulary={vocabulary}"]
            child = Child(f"engine-{name}", command, fds=[file], heartbeat=silence, spare=path == spare)
            if group is not None:
                child.cores, child.environment = group.cores, self._share(group)
            children.append(child)
        children.append(Child("explainer-0", ["_explainer", *digest, "--listener", str(wake.fileno())], wake=wake))
        for child in children:
            child.metrics, child.environment = metrics, {**environment, **child.environment}

        def ends() -> None:
            wake.close()
            for file in packed.values():
                os.close(file)
            for path in (explainer, vocabulary, *paths, *map(sockets.fault_file, paths)):
                path.unlink(missing_ok=True)
            self._metrics_in_use.discard(metrics)

        generation = Generation(
            name=model.reference,
            children=children,
            fault=lambda: next(filter(None, map(_read, map(sockets.fault_file, engines))), None),
            ready=lambda: all(engine.exists() for engine in engines),
            ends=ends,
        )
        return generation, _Places(engines, spare, explainer, vocabulary), metrics

    def _share(self, group: Group) -> dict[str, str]:
        """What an engine is told of its share of the machine."""
        share = {f"{PREFIX}THREADS": str(self._settings.threads or group.threads)}
        return share if group.gpu is None else {**share, "CUDA_VISIBLE_DEVICES": group.gpu}

    def _metrics_of(self, model: StoredModel) -> Path:
        """A folder for metrics' files. Counters of a model that was served before go on where they stopped."""
        name = f"{model.name}-{model.version}"
        for number in itertools.count():
            path = self._folder / "metrics" / f"{name}.{number}"
            if path not in self._metrics_in_use:
                break
        path.mkdir(parents=True, exist_ok=True)
        self._metrics_in_use.add(path)
        return path


def _read(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or None
    return None
