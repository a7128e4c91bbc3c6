"""``python -m app ray-classify``: the files of one ``classify``, shared out among the machines of a Ray cluster.

Each file is scored by the very functions of ``classify``, in one process on some node, so its results are the same to
the byte. Ray Data keeps the processes, gives each a file when it is free, and gives a file that was on a node that died
to another, which goes on from the journal beside the results. So all nodes must see the same folders.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

from app.classify import add_place_arguments, classify_file, files_of, survey_of
from app.errors import BusyFileError, DataError, OptionError, SentimentError
from app.files.arguments import add_read_arguments, expanded, explained, read_options
from app.files.job import say
from app.files.layout import STANDARD
from app.files.options import OnBadRow
from app.files.partial import is_complete
from app.flags import add_compute_arguments, add_store_argument
from app.fleet.cluster import add_address_argument, joined
from app.labels import REFERENCES
from app.scoring import load_scorer
from app.settings import default_of
from app.store import ModelStore

_BUSY_SECONDS = 30.0
_BUSY_PAUSE = 0.5
"""A process outlives the node that it was on for a moment, and has its file meanwhile: how long that is waited for, and
between two looks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ray-classify``."""
    parser.description = "Label the texts of many files on a Ray cluster whose nodes see the same folders."
    add_place_arguments(parser)
    add_read_arguments(parser.add_argument_group("how INPUT is read"), "INPUT", tuple(OnBadRow))
    cluster = parser.add_argument_group("scored by a Ray cluster")
    cluster.add_argument("--model", default=default_of("model"), help=f"{REFERENCES} (now %(default)s)")
    add_store_argument(cluster)
    add_compute_arguments(cluster)
    add_address_argument(cluster)
    cluster.add_argument("--processes", type=int, metavar="N", help="at once, at most (default: as cores allow)")
    cluster.add_argument("--cpus", type=float, metavar="N", default=1.0, help="cores of each (default: %(default)s)")
    cluster.add_argument("--gpus", type=float, metavar="N", default=0.0, help="GPUs of each (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run ``ray-classify`` as parsed; the exit status.

    Raises:
        SentimentError: an option or the model is not as it should be.
    """
    if args.out is None or STANDARD in (args.out, *args.inputs):
        raise OptionError("out", "must be a folder, and the inputs files in folders, that all nodes see")
    args.report = None
    args.out = f"{Path(args.out).absolute()}/"
    args.threads = args.threads or max(1, int(args.cpus))
    read_options(args)
    files = files_of(args, [str(Path(path).absolute()) for path in expanded(args.inputs)])
    Path(args.out).mkdir(parents=True, exist_ok=True)
    wanted = []
    for number, file in enumerate(files):
        if not args.overwrite and is_complete(Path(file.out)):
            say(f"{file.out}: is there already, and stays as it is")
        else:
            wanted.append(number)
    model = ModelStore(args.store).open(args.model)
    args.store, args.model = Path(args.store).absolute(), model.reference
    with joined(args.address, {}):
        return _share_out(args, files, wanted, model.digest) if wanted else 0


class FileScorer:
    """Scores one file after the other, in a process of its own.

    Args:
        args: as parsed.
        files: all of them.
        digest: of the model.
    """

    def __init__(self, args: argparse.Namespace, files: list[Any], digest: str) -> None:
        self._args = args
        self._files = files
        model = ModelStore(args.store).open(args.model, digest)
        self._scorer = load_scorer(model, args.device, args.runtime, args.precision, args.threads)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score the file of that number; what is wrong with it is said, and stops no other."""
        file = self._files[row["number"]]
        out, overwrite = Path(file.out), self._args.overwrite
        limit = time.monotonic() + _BUSY_SECONDS
        # A node may have died when the file was complete, but before anybody was told.
        while overwrite or not is_complete(out):
            try:
                options = read_options(self._args)
                classify_file(self._args, options, file, survey_of(file, options, None), self._scorer, None)
                break
            except SentimentError as error:
                if not isinstance(error, BusyFileError) or time.monotonic() > limit:
                    if not overwrite and is_complete(out):
                        break  # by whoever had it before
                    return {**row, "error": explained(error)}
                time.sleep(_BUSY_PAUSE)
        return {**row, "error": ""}


def _share_out(args: argparse.Namespace, files: list[Any], wanted: list[int], digest: str) -> int:
    """Have files scored; the exit status."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells how it works, not how far it is
    cores = ray.cluster_resources().get("CPU", 1.0)  # type: ignore[no-untyped-call]
    most = max(1, min(len(wanted), args.processes or int(cores / args.cpus)))
    failed = 0
    numbers = ray.data.from_items([{"number": number} for number in wanted], override_num_blocks=len(wanted))
    done = numbers.map(
        FileScorer,  # type: ignore[arg-type]  # a class is made in each process, then called
        fn_constructor_args=(args, files, digest),
        compute=ActorPoolStrategy(size=most, max_tasks_in_flight_per_actor=1),
        num_cpus=args.cpus,
        num_gpus=args.gpus,
    )
    for count, row in enumerate(done.iter_rows(), 1):
        file = files[row["number"]]
        failed += bool(row["error"])
        say(f"{count} of {len(wanted)}: {row['error'] or f'written to {file.out}'}")
    if failed:
        raise DataError(f"{failed} of {len(wanted)} files have no results; the same command goes on with them")
    return 0
