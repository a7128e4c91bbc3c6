"""The composition root of the supervisor: what ``serve`` binds, which processes it starts, and who may change them."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.errors import SentimentError
from app.labels import parse_reference
from app.metrics import show
from app.process import sockets
from app.process.child import Child
from app.process.control import CONTROL_SOCKET, ControlServer
from app.process.succession import Generation
from app.process.supervisor import Supervisor, default_workers
from app.settings import PREFIX, Settings
from app.store import ModelStore, StoredModel
from app.switching import Served, Switching, now


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
    settings: Settings, flags: Mapping[str, str], model: StoredModel, listener: socket.socket, folder: Path
) -> int:
    """Serve until a signal; the exit status.

    Args:
        settings: all settings.
        flags: variables for the children, on top of this process' own.
        model: what is served first.
        listener: the listening socket.
        folder: in which the processes meet.
    """
    parent = Supervisor(
        flags,
        settings.shutdown_grace,
        settings.drain_timeout,
        listener,
        # A file that is received for as long as it may, and then answered for as long as that may take.
        2 * settings.file_transfer + settings.timeout,
    )
    generations = _Generations(settings, listener, folder)
    parent.succession.begin_with(generations.of(model))
    label = parse_reference(settings.model).label
    store = ModelStore(settings.model_store)
    switching = Switching(store, parent.succession, generations.of, Served(model, label, now()))
    control = ControlServer(folder / CONTROL_SOCKET, switching.answer)
    stop = threading.Event()
    if settings.follow_label and label is not None:
        threading.Thread(target=switching.follow, args=(settings.model, stop), daemon=True, name="follow").start()
    try:
        return parent.run()
    finally:
        stop.set()
        control.close()


class _Generations:
    """Makes the processes of a model.

    Args:
        settings: all settings.
        listener: the listening socket.
        folder: in which the processes meet.
    """

    def __init__(self, settings: Settings, listener: socket.socket, folder: Path) -> None:
        self._settings = settings
        self._listener = listener
        self._folder = folder
        self._numbers = itertools.count(1)
        self._metrics_in_use: set[Path] = set()

    def of(self, model: StoredModel) -> Generation:
        """Engine, explainer and HTTP workers of a model, not yet started."""
        number = next(self._numbers)
        engine, explainer = (self._folder / f"{name}-{number}.sock" for name in ("engine", "explainer"))
        metrics, wake = self._metrics_of(model), sockets.bind_local(explainer)
        digest, silence = ["--digest", model.digest], self._settings.engine_timeout
        children = [
            Child("engine-0", ["_engine", *digest, "--socket", str(engine)], heartbeat=silence),
            Child("explainer-0", ["_explainer", *digest, "--listener", str(wake.fileno())], wake=wake),
        ]
        command = ["_worker", *digest, "--listener", str(self._listener.fileno()), "--engine", str(engine)]
        command += ["--explainer", str(explainer), *(["--succeeds"] if number > 1 else [])]
        for place in range(self._settings.workers or default_workers()):
            fds = [self._listener.fileno()]
            children.append(Child(f"worker-{place}", command, fds=fds, heartbeat=silence, drains=True))
        for child in children:
            # Resolved once: what a label names later is for another generation, not for a child that is started again.
            child.environment, child.metrics = {f"{PREFIX}MODEL": model.reference}, metrics

        def ends() -> None:
            wake.close()
            for path in (engine, explainer, sockets.fault_file(engine)):
                path.unlink(missing_ok=True)
            self._metrics_in_use.discard(metrics)

        return Generation(
            name=model.reference,
            children=children,
            fault=lambda: _read(sockets.fault_file(engine)),
            serves=lambda: show(metrics, model, serves=True),
            retires=lambda: show(metrics, model, serves=False),
            ends=ends,
        )

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
