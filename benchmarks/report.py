"""Raw results to a markdown report: medians and spread, ratios, and what machine and versions they hold for.

python -m benchmarks.report build/bench/RUN.json [--write]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import load
from benchmarks.machine import machine, versions
from benchmarks.servers import SHARED_PACKAGES, Server

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
_MB = 1e6

Document = dict[str, Any]
Record = dict[str, Any]


def describe(
    options: argparse.Namespace,
    checkpoint: dict[str, Any],
    servers: Sequence[Server],
    started: datetime,
    arguments: Sequence[str],
) -> Document:
    """What a run was: machine, versions, checkpoint, command. Paths stay out of it."""
    shown = ["PATH" if "/" in argument else argument for argument in arguments]
    return {
        "date": f"{started:%Y-%m-%d %H:%M} UTC",
        "command": " ".join(["python -m benchmarks.bench", *shown]),
        "machine": machine(),
        "versions": f"{versions((*SHARED_PACKAGES, 'fastapi', 'uvicorn'))}, {load.version()}",
        "checkpoint": {name: checkpoint[name] for name in ("reference", "config", "source", "texts", "mean_tokens")},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "servers": [
            {
                "key": server.key,
                "title": server.title,
                "inside": server.inside,
                "role": "ours" if server.is_ours else "ceiling" if server.answers_constant else "peer",
            }
            for server in servers
        ],
    }


def render(document: Document) -> str:
    """The report."""
    results = _Results(document)
    parts = [_heading(document)]
    for inside, title in (
        ("torch", "Peers with plain PyTorch inside"),
        ("own", "Peers with this project's own predictor inside"),
    ):
        if table := results.comparison(inside):
            parts += [f"### {title}", table, results.ratios(inside)]
    for title, part in (
        ("This service, by its own metrics", results.engine()),
        ("Repeated texts and big requests", results.others()),
    ):
        parts += [f"### {title}", part] if part else []
    retried = [record for record in document["records"] if record.get("attempt", 1) > 1]
    parts += [f"- {each['server']}, round {each['round']}: ready at start number {each['attempt']}" for each in retried]
    if document["failures"]:
        titles = {server["key"]: f"{server['title']} ({server['key']})" for server in document["servers"]}
        parts += ["### Left out", "\n".join(f"- {titles[key]}: {why}" for key, why in document["failures"].items())]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(text: str) -> None:
    """Replace the results section of benchmarks/README.md.

    Raises:
        ValueError: the section's marks are missing.
    """
    readme = README.read_text(encoding="utf-8")
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README.name}: no section between {BEGIN} and {END}")
    README.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


class _Results:
    """The records of a run, by server and scenario."""

    def __init__(self, document: Document) -> None:
        self.records: list[Record] = document["records"]
        self.connections: list[int] = document["connections"]
        failed = document["failures"]
        self.servers = [server for server in document["servers"] if server["key"] not in failed]

    def values(self, key: str, scenario: str, value: Callable[[Record], float | None], count: int = 0) -> list[float]:
        """One figure of every round; ``count`` restricts it to a number of connections."""
        chosen = [
            value(record)
            for record in self.records
            if record["server"] == key
            and record["scenario"] == scenario
            and (not count or record["connections"] == count)
        ]
        return [figure for figure in chosen if figure is not None]

    def middle(self, key: str, name: str, count: int, scenario: str = "unique") -> float | None:
        figures = self.values(key, scenario, lambda record: record[name], count)
        return median(figures) if figures else None

    def comparison(self, inside: str) -> str:
        """One table: this service, the peers with that model inside, the ceilings."""
        chosen = [
            server for server in self.servers if server["inside"] in ("", inside) and server["key"] != "ours-cache"
        ]
        if not any(server["inside"] == inside for server in chosen):
            return ""
        busy = _busiest(self.connections)
        heads = [f"C={count}: req/s, {'p50' if count == 1 else 'p99'} ms" for count in self.connections]
        heads += [f"CPU s per 1,000 (C={busy})", "memory MB", "start s"]
        rows = []
        for server in chosen:
            key = server["key"]
            cells = [self._load_cell(key, count) for count in self.connections]
            cells.append(_spread(self.values(key, "unique", _cpu_per_thousand, busy), "{:.2f}"))
            memory = self._largest_memory(key)
            cells.append(_spread(memory, "{:.0f}"))
            cells.append(_spread(self.values(key, "start", lambda record: record["seconds"]), "{:.1f}"))
            rows.append([f"**{server['title']}**" if server["role"] == "ours" else server["title"], *cells])
        return _table(["server", *heads], rows)

    def _load_cell(self, key: str, count: int) -> str:
        tail = "p50" if count == 1 else "p99"
        rates = self.values(key, "unique", lambda record: record["rate"], count)
        times = self.values(key, "unique", lambda record: 1000 * record[tail], count)
        errors = sum(self.values(key, "unique", lambda record: record["errors"], count))
        note = f"; {errors:.0f} errors" if errors else ""
        return f"{_spread(rates, '{:.0f}')}, {_spread(times, '{:.1f}')}{note}"

    def _largest_memory(self, key: str) -> list[float]:
        """Megabytes after the heaviest load of each round."""
        rounds: dict[int, float] = {}
        for record in self.records:
            if record["server"] == key and "memory" in record:
                rounds[record["round"]] = max(rounds.get(record["round"], 0.0), record["memory"] / _MB)
        return list(rounds.values())

    def ratios(self, inside: str) -> str:
        """This service against the best peer of the table, line by line."""
        peers = [server for server in self.servers if server["role"] == "peer" and server["inside"] == inside]
        lines = []
        for count in self.connections:
            ours = self.middle("ours", "rate", count)
            rates = {server["key"]: self.middle(server["key"], "rate", count) for server in peers}
            known = {key: rate for key, rate in rates.items() if rate}
            if not ours or not known:
                continue
            best = max(known, key=lambda key: known[key])
            tail = "p50" if count == 1 else "p99"
            shorter = (self.middle("ours", tail, count) or 0) / (self.middle(best, tail, count) or 1)
            lines.append(
                f"- C={count}: {ours / known[best]:.2f} times the requests/s of the best peer ({best}), "
                f"{shorter:.2f} of its {tail}"
            )
        lines += self._cpu_ratio(peers)
        single, naive = self.middle("ours", "p50", 1), self.middle(f"fastapi-{inside}", "p50", 1)
        if single and naive:
            lines.append(
                f"- C=1: p50 {single * 1000:.2f} ms, {naive / single:.1f} times better than one text per forward pass"
            )
        return "\n".join(lines)

    def _cpu_ratio(self, peers: list[dict[str, str]]) -> list[str]:
        busy = _busiest(self.connections)
        ours = self.values("ours", "unique", _cpu_per_thousand, busy)
        theirs = {server["key"]: self.values(server["key"], "unique", _cpu_per_thousand, busy) for server in peers}
        spent = {key: median(figures) for key, figures in theirs.items() if figures}
        if not ours or not spent:
            return []
        best = min(spent, key=lambda key: spent[key])
        return [f"- CPU per text, C={busy}: {median(ours) / spent[best]:.2f} of the thriftiest peer's ({best})"]

    def engine(self) -> str:
        """Mean batch size and padding, and the proof that every text was computed."""
        rows = []
        for record in self.records:
            if record["server"] == "ours" and record["scenario"] == "unique":
                # In flight at the start or the end of the interval: at most one per connection each.
                slack = abs(record["computed"] - record["requests"]) <= 2 * record["connections"]
                proven = slack and not record["hits"] and not record["coalesced"]
                rows.append(
                    [
                        str(record["round"]),
                        str(record["connections"]),
                        _number(record["batch_size"], "{:.1f}"),
                        _number(record["padding"], "{:.3f}"),
                        str(record["requests"]),
                        f"{record['computed']:.0f}",
                        f"{record['hits'] + record['coalesced']:.0f}",
                        "yes" if proven else "**no**",
                    ]
                )
        heads = "round|C|mean batch|padding ratio|requests answered|texts computed|hits, coalesced|all computed"
        return _table(heads.split("|"), rows) if rows else ""

    def others(self) -> str:
        """Repeated texts against the ceiling; a big request against the same work in one process."""
        lines = []
        ours = self.values("ours-cache", "repeated", lambda record: record["rate"])
        if ours:
            line = f"- Repeated texts (Zipf over 200 reviews, C=32, cache on): {_spread(ours, '{:.0f}')} req/s"
            for key, name in (("fastapi-constant", "FastAPI"), ("asgi-constant", "bare ASGI")):
                if ceiling := self.values(key, "repeated", lambda record: record["rate"]):
                    share = median(ours) / median(ceiling)
                    line += f", {share:.2f} of {name} answering a constant ({_spread(ceiling, '{:.0f}')})"
            hits = sum(self.values("ours-cache", "repeated", lambda record: record["hits"]))
            computed = sum(self.values("ours-cache", "repeated", lambda record: record["computed"]))
            lines.append(f"{line}; by its metrics {hits:.0f} hits and {computed:.0f} texts computed")
        big = self.values("ours", "big", lambda record: record["texts"] / record["seconds"])
        limit = self.values("in-process", "big", lambda record: record["texts"] / record["seconds"])
        if big and limit:
            lines.append(
                f"- One request with 500 texts: {_spread(big, '{:.0f}')} texts/s, {median(big) / median(limit):.2f} of "
                f"tokenizing and forward passes in one process ({_spread(limit, '{:.0f}')})"
            )
        return "\n".join(lines)


def _heading(document: Document) -> str:
    checkpoint = document["checkpoint"]
    config = checkpoint["config"]
    size = f"{config['architecture']}, embedding {config['embedding_size']}, hidden {config['hidden_size']}"
    size += f" x {config['layers']}{', bidirectional' if config['bidirectional'] else ''}"
    size += f", {config['vocabulary_size']:,} words, at most {config['max_tokens']} tokens"
    rounds = f"{document['rounds']} interleaved rounds" if document["rounds"] > 1 else "One round"
    texts = f"{checkpoint['texts']:,} different, {checkpoint['source']}, {checkpoint['mean_tokens']:.0f} tokens"
    lines = [
        f"{document['date']}: `{document['command']}`",
        f"Machine: {document['machine']}",
        f"Versions: {document['versions']}",
        f"Checkpoint: {checkpoint['reference']} ({size})",
        f"Texts: {texts} each on average as the network reads them",
        f"{rounds}, {document['seconds']:g} s for each number of connections C; medians (least to most)",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _cpu_per_thousand(record: Record) -> float | None:
    answered = record["requests"] - record["errors"]
    return None if record["cpu"] is None or not answered else 1000 * record["cpu"] / answered


def _busiest(connections: list[int]) -> int:
    return 32 if 32 in connections else connections[-1]


def _spread(figures: list[float], form: str) -> str:
    if not figures:
        return "-"
    middle = form.format(median(figures))
    return middle if len(figures) == 1 else f"{middle} ({form.format(min(figures))} to {form.format(max(figures))})"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", action="store_true", help="put them into benchmarks/README.md")
    options = parser.parse_args()
    text = render(json.loads(options.results.read_text(encoding="utf-8")))
    print(text)
    if options.write:
        write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
