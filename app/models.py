"""``python -m app models``: list, show, verify, label and import versions of the model store.

torch is imported only where somebody else's tensors are read.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.errors import CheckpointError
from app.flags import add_store_argument
from app.labels import CHAMPION, REFERENCES, Change, Labels, parse_reference
from app.settings import default_of
from app.store import WEIGHTS_FILE, ModelStore, StoredModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``models``."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shared = argparse.ArgumentParser(add_help=False)
    add_store_argument(shared)
    listing = commands.add_parser("list", parents=[shared], help="all versions, with size and test accuracy")
    listing.add_argument("--json", action="store_true", help="one array of objects, for programs")
    listing.set_defaults(action=_list, served=default_of("model"))
    show = commands.add_parser("show", parents=[shared], help="configuration and figures of one version")
    show.add_argument("reference", metavar="MODEL", help=REFERENCES)
    show.set_defaults(action=_show)
    verify = commands.add_parser("verify", parents=[shared], help="check checksums, shapes, values and scores")
    verify.add_argument("reference", metavar="MODEL", nargs="?", help=f"{REFERENCES} (default: all)")
    verify.set_defaults(action=_verify)
    _add_label_arguments(commands)
    importing = commands.add_parser("import", help="store a PyTorch state dict as a new version")
    add_store_argument(importing, writes=True)
    importing.add_argument("name", metavar="NAME", help="name in the model store")
    importing.add_argument("--weights", type=Path, required=True, help="state dict written by torch.save")
    importing.add_argument("--config", type=Path, required=True, help="configuration, as config.json in the store")
    importing.add_argument("--vocabulary", type=Path, required=True, help="words by id, .txt or .json")
    importing.set_defaults(action=_import)


def _add_label_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    shared = argparse.ArgumentParser(add_help=False)
    add_store_argument(shared, writes=True)
    label = commands.add_parser("label", parents=[shared], help="call a version by a label, such as champion")
    label.add_argument("reference", metavar="MODEL", help=REFERENCES)
    # As it was written before: the name, the version, the label.
    label.add_argument("version", type=int, nargs="?", help=argparse.SUPPRESS)
    label.add_argument("label", metavar="LABEL", help="champion, candidate, or a name of your own")
    label.add_argument("--remove", action="store_true", help="take the label from that version instead")
    label.set_defaults(action=_label)
    promote = commands.add_parser("promote", parents=[shared], help="make the candidate the champion")
    promote.set_defaults(action=lambda args: _changed(ModelStore(args.store), args.name, Labels.promoted))
    back = commands.add_parser("roll-back", parents=[shared], help="make the champion before this one champion again")
    back.set_defaults(action=lambda args: _changed(ModelStore(args.store), args.name, Labels.rolled_back))
    for command in (promote, back):
        command.add_argument("name", metavar="NAME", help="of the model")


def run(args: argparse.Namespace) -> int:
    """Run the parsed subcommand; the exit status.

    Raises:
        CheckpointError: a version or a file is not as it should be.
    """
    return int(args.action(args))


def parameters(model: StoredModel) -> int:
    """Number of weights, from the header of the weights file alone.

    Raises:
        CheckpointError: not a safetensors file.
    """
    path = model.path / WEIGHTS_FILE
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file") from error


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    )


def _list(args: argparse.Namespace) -> int:
    store = ModelStore(args.store)
    entries = [_entry(store, name, version, args.served) for name, version in _references(store)]
    if args.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=2))
    elif entries:
        head = ("name", "version", "architecture", "parameters", "size", "test accuracy", "called", "")
        print(table(head, [_row(entry) for entry in entries]))
    else:
        print(f"{args.store}: no models")
    return 0


@dataclass(frozen=True)
class _Entry:
    """A version in the list of them; None stands for what is not known.

    Attributes:
        model: its name.
        version: its number.
        served: whether ``serve`` takes it without being told which.
        called: labels that name it.
        architecture: of its network.
        parameters: number of weights.
        bytes: size of all its files.
        test_accuracy: on the test texts of its training.
        error: why it cannot be used; None of one that can.
    """

    model: str
    version: int
    served: bool
    called: list[str]
    architecture: str | None = None
    parameters: int | None = None
    bytes: int | None = None
    test_accuracy: float | None = None
    error: str | None = None


def _entry(store: ModelStore, name: str, version: int, served: str) -> _Entry:
    entry = _Entry(name, version, _is(store, served, name, version), _labels_of(store, name, version))
    try:
        model = store.open(f"{name}/{version}")
        count = parameters(model)
    except CheckpointError as error:
        # One damaged version must not hide the others.
        return replace(entry, error=str(error))
    accuracy = model.metrics.get("test", {}).get("accuracy")
    return replace(
        entry, architecture=model.config.architecture, parameters=count, bytes=model.size, test_accuracy=accuracy
    )


def _row(entry: _Entry) -> tuple[str, ...]:
    """As people read it."""
    if entry.error is not None:
        return entry.model, str(entry.version), "damaged", "", "", "", "", entry.error
    return (
        entry.model,
        str(entry.version),
        str(entry.architecture),
        f"{entry.parameters:,}",
        f"{(entry.bytes or 0) / 1e6:.1f} MB",
        "" if entry.test_accuracy is None else f"{entry.test_accuracy:.5f}",
        ", ".join(entry.called),
        "served by default" if entry.served else "",
    )


def _is(store: ModelStore, reference: str, name: str, version: int) -> bool:
    try:
        return store.resolve(reference) == (name, version)
    except CheckpointError:
        return False


def _labels_of(store: ModelStore, name: str, version: int) -> list[str]:
    try:
        return store.labels(name).of(version)
    except CheckpointError as error:
        # As with a damaged version: the list goes on.
        return [str(error)]


def _references(store: ModelStore) -> list[tuple[str, int]]:
    return [(name, version) for name, versions in store.models().items() for version in versions]


def _show(args: argparse.Namespace) -> int:
    store = ModelStore(args.store)
    model = store.open(args.reference)
    metrics, labels = model.metrics, store.labels(model.name)
    rows = [
        ("model", model.reference),
        *((("called", ", ".join(called)),) if (called := labels.of(model.version)) else ()),
        ("folder", str(model.path)),
        ("digest", model.digest),
        ("parameters", f"{parameters(model):,}"),
        ("size", f"{model.size / 1e6:.1f} MB"),
        *((name, _plain(value)) for name, value in model.config.model_dump().items()),
    ]
    rows += [(name, _plain(metrics[name])) for name in ("date", "command", "seed") if name in metrics]
    for part in ("data", "training", "calibration", "validation", "test", "machine"):
        rows += [(f"{part} {name}", _plain(value)) for name, value in metrics.get(part, {}).items() if _shown(value)]
    rows += [("changed", _told(change)) for change in labels.history if model.version in (change.before, change.after)]
    print(table(("", ""), rows).lstrip("\n"))
    return 0


def _told(change: Change) -> str:
    before, after = (str(version or "none") for version in (change.before, change.after))
    return f"{change.time:%Y-%m-%d %H:%M:%SZ} {change.label} from {before} to {after} ({change.how})"


def _shown(value: object) -> bool:
    """Tables within the figures are for the model card."""
    return not isinstance(value, list) or not any(isinstance(item, (list, dict)) for item in value)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return str(value)


def _verify(args: argparse.Namespace) -> int:
    from app.model.runtimes import load_predictor
    from app.text.tokenizer import load_tokenizer

    store = ModelStore(args.store)
    references = [args.reference] if args.reference else [f"{name}/{version}" for name, version in _references(store)]
    if not references:
        raise CheckpointError(f"{args.store}: no models")
    failed = 0
    for reference in references:
        try:
            model = store.open(reference)
            load_tokenizer(model)
            load_predictor(model, "cpu")
        except CheckpointError as error:
            failed += 1
            print(f"{reference}: FAILED: {error}", file=sys.stderr)
        else:
            print(f"{model.reference}: ok, {len(model.sums)} files")
    return 1 if failed else 0


def _label(args: argparse.Namespace) -> int:
    """Set a label on a version that passes its checks, or take it away."""
    store = ModelStore(args.store)
    reference = args.reference if args.version is None else f"{args.reference}/{args.version}"
    if args.remove:
        name, version, _ = parse_reference(reference)
        if version is None:
            name, version = store.resolve(reference)
        return _changed(store, name, lambda labels: _removed(labels, args.label, f"{name}/{version}"))
    model = store.open(reference)
    return _changed(store, model.name, lambda labels: labels.moved(args.label, model.version, "label"))


def _removed(labels: Labels, label: str, reference: str) -> Labels:
    found = labels.labels.get(label)
    if found is None or not reference.endswith(f"/{found}"):
        there = f"it names version {found}" if found else "there is no such label"
        raise CheckpointError(f"{reference}: does not have the label {label!r}; {there}")
    return labels.moved(label, None, "remove")


def _changed(store: ModelStore, name: str, change: Callable[[Labels], Labels]) -> int:
    """Change labels, and say how; the new champion must pass its checks."""

    def checked(before: Labels) -> Labels:
        after = change(before)
        champion = after.labels.get(CHAMPION)
        if champion is not None and champion != before.labels.get(CHAMPION):
            store.open(f"{name}/{champion}")
        return after

    store.resolve(name)
    for label, version in store.relabel(name, checked).labels.items():
        print(f"{name}@{label}: version {version}")
    return 0


def _import(args: argparse.Namespace) -> int:
    from app.model.runtimes import NEEDS_TORCH, torch_missing

    if torch_missing():
        raise CheckpointError(f"{args.weights}: a state dict {NEEDS_TORCH}")
    from app.model.importing import import_model

    model = import_model(ModelStore(args.store), args.name, args.weights, args.config, args.vocabulary)
    print(f"{model.path}: {parameters(model):,} parameters")
    return 0
