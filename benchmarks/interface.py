"""The Python interface beside ``classify``: texts per second of both on the same file, and the time of the import.

    python -m benchmarks.interface [CORPUS] [--rows 50000] [--rounds 5] [--model reviews-gru]

CORPUS is the review corpus, an archive or a folder (default: SENTIMENT_CORPUS); without it texts of made-up words are
scored. Prints Markdown. Both are whole processes, from their start to the last result: ``classify`` reads a CSV file
and writes another, the program reads the same texts and keeps the results. They take turns, round by round; shown are
medians, with the least and the most.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.settings import CORPUS_VARIABLE
from app.store import ModelStore
from benchmarks.files import write_table
from benchmarks.machine import machine, versions

_STORE = Path("model_store")
_IMPORTS = 9
_MEDIAN_WORDS = 170
"""Of a review of the corpus."""
_PROGRAM = """
import csv, sys
from sentiment_service import Sentiment
csv.field_size_limit(sys.maxsize)
path, model, store, rows = sys.argv[1:]
with open(path, newline="", encoding="utf-8") as file, Sentiment(model=model, model_store=store) as it:
    results = it.classify([row["review"] for row in csv.DictReader(file)])
assert len(results) == int(rows) and all(result.error is None for result in results)
"""
_IMPORT = "import time; began = time.perf_counter(); import sentiment_service; print(time.perf_counter() - began)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", default=os.environ.get(CORPUS_VARIABLE))
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="reviews-gru")
    options = parser.parse_args()
    print(f"- {machine()}\n- {versions(['numpy'])}\n- model {options.model}, {options.rows:,} texts\n")
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "reviews.csv", Path(folder) / "scored.csv"
        if options.corpus is None:
            _made_up(file, options.rows, options.model)
        else:
            write_table(file, options.corpus, options.rows)
        model = [options.model, str(_STORE)]
        command = [sys.executable, "-m", "app", "classify", str(file), "--text-column", "review", "--out", str(out)]
        command += ["--overwrite", "--model", model[0], "--store", model[1]]
        program = [sys.executable, "-c", _PROGRAM, str(file), *model, str(options.rows)]
        report(command, program, options.rows, options.rounds)
    imports = [float(_run([sys.executable, "-c", _IMPORT])) for _ in range(_IMPORTS)]
    print(f"\nImport of sentiment_service: {_spread(imports, 3)} s ({_IMPORTS} processes)")


def report(command: Sequence[str], program: Sequence[str], rows: int, rounds: int) -> None:
    """Print what both do in each round, and the medians."""
    print("| round | classify: texts/s | Python: texts/s | ratio |\n|---|---|---|---|")
    rates: list[tuple[float, float]] = []
    for number in range(1, rounds + 1):
        # By turns the one and the other first, so that neither always finds the machine as the other left it.
        first, second = (command, program) if number % 2 else (program, command)
        seconds = {id(it): _seconds(it) for it in (first, second)}
        rates.append((rows / seconds[id(command)], rows / seconds[id(program)]))
        print(
            f"| {number} | {rates[-1][0]:,.0f} | {rates[-1][1]:,.0f} | {rates[-1][1] / rates[-1][0]:.3f} |", flush=True
        )
    files, texts = ([rate[place] for rate in rates] for place in (0, 1))
    ratios = [text / file for file, text in rates]
    print(f"| median (least to most) | {_spread(files)} | {_spread(texts)} | {_spread(ratios, 3)} |")


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    _run(command)
    return time.perf_counter() - began


def _run(command: Sequence[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    return ended.stdout


def _spread(values: Sequence[float], digits: int = 0) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _made_up(path: Path, rows: int, model: str) -> None:
    """A file of texts of the model's own words, as long as reviews are."""
    from app.text.tokenizer import load_tokenizer

    words = [word for word in load_tokenizer(ModelStore(_STORE).open(model)).vocabulary if word.isalpha()][:20_000]
    chance = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review"])
        for row in range(rows):
            length = max(5, round(chance.lognormvariate(0, 0.6) * _MEDIAN_WORDS))
            writer.writerow([row, " ".join(chance.choices(words, k=length))])


if __name__ == "__main__":
    main()
