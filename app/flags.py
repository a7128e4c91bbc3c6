"""Flags that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from app.settings import Settings, default_of, store_to_read


def add_store_argument(parser: argparse._ActionsContainer, *, writes: bool = False) -> None:
    """Add the flag of commands that says where models are; one that writes never writes into the package."""
    store = Path(default_of("model_store"))
    parser.add_argument(
        "--store",
        type=Path,
        metavar="FOLDER",
        default=store if writes else store_to_read(store),
        help="model store (default: $SENTIMENT_MODEL_STORE, now %(default)s)",
    )


def add_compute_arguments(parser: argparse._ActionsContainer, runtime: str = "auto") -> None:
    """Add the flags of commands that compute: where, with what, and on how many cores.

    Args:
        parser: takes them.
        runtime: the default one.
    """
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    for name, default in (("runtime", runtime), ("precision", "auto")):
        choices = get_args(Settings.model_fields[name].annotation)
        said = f"{', '.join(choices[:-1])} or {choices[-1]} (default: %(default)s)"
        parser.add_argument(f"--{name}", choices=choices, metavar=name.upper(), default=default, help=said)
    parser.add_argument("--threads", type=int, metavar="N", default=0, help="of the forward pass; 0: all cores")
