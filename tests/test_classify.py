"""``python -m app classify``: files and pipes, messages, and runs that are stopped in the middle."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app import cli
from app.files.table import WINDOW_ROWS
from tests.checkpoints import WORDS, add_checkpoint
from tests.service import serving


def write_reviews(path: Path, rows: int) -> Path:
    chance = random.Random(2)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "label"])
        for row in range(rows):
            writer.writerow([f"{row:05}", " ".join(chance.choices(WORDS, k=chance.randint(0, 40))), "mine"])
    return path


def command(store: Path, *arguments: object) -> list[str]:
    return ["classify", *map(str, arguments), "--store", str(store), "--model", "tiny", "--precision", "float32"]


def app(store: Path, *arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-W", "error", "-m", "app", *command(store, *arguments)]
    return subprocess.run(program, input=given, capture_output=True, timeout=120, check=False)


def test_a_file_is_labelled(tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row once, in order, the user's columns untouched, and a summary that adds up."""
    source, out = write_reviews(tmp_path / "reviews.csv", 900), tmp_path / "scored.parquet"
    assert cli.main(command(tiny_store, source, "--text-column", "review", "--out", out)) == 0
    rows = pq.read_table(out).to_pylist()
    with source.open(newline="", encoding="utf-8") as file:
        expected = list(csv.DictReader(file))
    assert [{name: row[name] for name in expected[0]} for row in rows] == expected
    prefix = "sentiment_"  # the file has a column called label
    assert list(rows[0])[3:] == [
        prefix + name for name in ("label", "score", "tokens", "truncated", "unknown", "judgement", "error")
    ]
    said = capsys.readouterr()
    assert said.out == ""
    for label in ("negative", "positive"):
        count = sum(row["sentiment_label"] == label for row in rows)
        assert f"{label}  {count:>12,}  {count / 900:6.1%}" in said.err
    errors = [row["sentiment_error"] for row in rows if row["sentiment_error"]]
    assert set(errors) <= {"empty_cell", "no_words"}
    assert errors
    assert f"{len(errors)}  " in said.err
    scores = [row["sentiment_score"] for row in rows if row["sentiment_score"]]
    assert f"mean confidence {sum(scores) / len(scores):.3f}, truncated" in said.err
    assert "900 rows in " in said.err


def test_ratings_get_a_column(tmp_path: Path) -> None:
    """Where the model has them."""
    add_checkpoint(tmp_path / "store", rating=True)
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    source.write_text('{"text": "good film", "n": [1]}\n')
    assert cli.main(command(tmp_path / "store", source, "--out", out)) == 0
    row = json.loads(gzip.decompress(out.read_bytes()))
    assert 1 <= row["rating"] <= 10
    assert row["n"] == [1]


@pytest.mark.parametrize(("unreadable", "warned"), [(10, False), (11, True)])
def test_texts_that_cannot_be_read_are_said(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], unreadable: int, warned: bool
) -> None:
    """Each in its row, all of them in the summary, and in a warning where they are more than a tenth."""
    source, out = tmp_path / "reviews.csv", tmp_path / "scored.jsonl"
    rows = ["zxqv wrtk plmk"] * unreadable + ["a good film and a lovely plot"] * (100 - unreadable)
    source.write_text("\n".join(["review", *rows]))
    assert cli.main(command(tiny_store, source, "--out", out)) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["judgement"] == "unreadable" for row in found] == [row.startswith("z") for row in rows]
    assert [row["unknown"] for row in found] == [1.0 if row.startswith("z") else 0.0 for row in rows]
    said = capsys.readouterr().err
    assert f"{unreadable} of 100 rows unreadable, " in said
    assert ("warning: 11 of 100 rows are hardly of words that the model knows" in said) == warned
    assert ("are the texts in 'review'" in said) == warned


def test_a_text_in_quotes(tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is answered in one line, and said to be taken for one; the name of a file that is missing is not one."""
    assert cli.main(command(tiny_store, "a good film. Very good!")) == 0
    said = capsys.readouterr()
    assert re.fullmatch(r"(positive|negative) 0\.\d{3} \((ok|unsure)\)\n", said.out)
    assert said.err == "no file of that name: taken as a text\n"
    assert cli.main(command(tiny_store, "… …")) == 1
    assert "error: text must contain at least 1 word or number" in capsys.readouterr().err
    for missing in ("my reviews.csv", "reviews", "my reviews/*.csv.gz"):
        assert cli.main(command(tiny_store, missing)) == 1
        assert "taken as a text" not in capsys.readouterr().err
    for option, value in (("--out", "scored.csv"), ("--out-format", "jsonl"), ("--report", "report.html")):
        assert cli.main(command(tiny_store, "a good film", option, value)) == 2
        assert f"{option}: is of files, and 'a good film' is none" in capsys.readouterr().err
    source = tmp_path / "a good film"
    source.write_text("text\ngood\n")
    assert cli.main(command(tiny_store, source, "--format", "csv")) == 0
    assert capsys.readouterr().out.startswith("text,label")


def test_a_pipe(tiny_store: Path) -> None:
    """Standard input to standard output; everything for people goes to standard error."""
    ended = app(tiny_store, "-", given=b"text,n\ngood film,1\n,2\n")
    assert ended.returncode == 0, ended.stderr
    header, first, second = ended.stdout.decode().splitlines()
    assert header == "text,n,label,score,tokens,truncated,unknown,judgement,error"
    assert first.startswith("good film,1,")
    assert second == ",2,,,,,,,empty_cell"
    ended = app(tiny_store, "-", "--format", "jsonl", given=b'{"text":"good film"}\n')
    assert json.loads(ended.stdout)["error"] is None


def test_a_reader_that_has_enough(tiny_store: Path, tmp_path: Path) -> None:
    """``| head`` ends the run without a traceback."""
    source = write_reviews(tmp_path / "reviews.csv", 5 * WINDOW_ROWS)
    program = [sys.executable, "-m", "app", *command(tiny_store, source, "--text-column", "review")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(60) == 1


STOPPED = """
import os, sys
from app import cli
from app.files.partial import PartialFile

append = PartialFile.append

def append_and_be_stopped(self, data):
    append(self, data)
    if self.rows:
        os.kill(os.getpid(), int(sys.argv[1]))

PartialFile.append = append_and_be_stopped
sys.exit(cli.main(sys.argv[2:]))
"""
"""The command, which gets a signal as soon as rows are done."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_is_gone_on_with(number: signal.Signals, tiny_store: Path, tmp_path: Path) -> None:
    """Killed in the middle, or with Ctrl-C: the same command goes on, and the file is the same to the last byte."""
    source = write_reviews(tmp_path / "reviews.csv", 3 * WINDOW_ROWS)
    whole, out = tmp_path / "whole.csv", tmp_path / "scored.csv"
    options = ("--text-column", "review", "--threads", "1")
    assert app(tiny_store, source, *options, "--out", whole).returncode == 0
    program = [sys.executable, "-c", STOPPED, str(int(number)), *command(tiny_store, source, *options, "--out", out)]
    stopped = subprocess.run(program, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert stopped.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), stopped.stderr
    assert not out.exists()
    if number == signal.SIGINT:
        assert f"{WINDOW_ROWS:,} rows are done; the same command goes on from there" in stopped.stderr
    ended = app(tiny_store, source, *options, "--out", out)
    assert ended.returncode == 0, ended.stderr
    assert f"{WINDOW_ROWS:,} rows were done before" in ended.stderr.decode()
    assert out.read_bytes() == whole.read_bytes()


def test_a_changed_file_is_not_gone_on_with(tiny_store: Path, tmp_path: Path) -> None:
    """Rows of two versions of a file would be in one."""
    source, out = write_reviews(tmp_path / "reviews.csv", 10), tmp_path / "scored.csv"
    assert app(tiny_store, source, "--text-column", "review", "--out", out).returncode == 0
    out.rename(tmp_path / "scored.csv.partial")
    status = source.stat()
    journal = {
        "inputs": {"version": 3, "input": [status.st_size + 1, status.st_mtime_ns]},
        "summary": {"labels": {"positive": 1}, "errors": {}, "score_sum": 0, "truncated": 0, "judgements": {}},
        "size": 3,
    }
    (tmp_path / "scored.csv.journal").write_text(json.dumps(journal))
    ended = app(tiny_store, source, "--text-column", "review", "--out", out)
    assert ended.returncode == 1
    assert b"begun with another input" in ended.stderr


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "reviews.csv: there is no such file"),
        ("", (), "reviews.csv: the file is empty"),
        ("id,body\n1,a\n", ("--text-column", "text"), "reviews.csv: no column 'text'; there are 'id', 'body'"),
        ("text\na\nb,c\n", (), "reviews.csv, line 3: 2 values in a row, but there are 1 columns"),
        ("text\na\n", ("--out", "scored.doc"), "scored.doc: the name does not tell the format"),
        ("text\na\n", ("--out", "scored.json"), "scored.json: results are written as csv, tsv, jsonl, parquet, xlsx"),
        ("text\na\n", ("--out-format", "xlsx"), "xlsx is not written from front to back"),
        ("text\na\n", ("--out-format", "parquet"), "parquet is not written from front to back"),
        ("text\na\n", ("--url", "http://127.0.0.1:9", "--header", "nonsense"), "--header: 'nonsense'"),
        ("text\na\n", ("--delimiter", ";;"), "--delimiter: must be one character"),
        ("text\na\n", ("--out", "reviews.csv", "--overwrite"), "--out: would replace an input"),
        ("<html><body>", (), "reviews.csv: this is a web page or XML, not a table (see --format)"),
        ("Great!\nAwful!\n", (), "(see --no-header, --text-column, --format)"),
        ("id,body2\n1,a\n", (), "which column has the texts? There are 'id', 'body2' (see --text-column, --no-header)"),
    ],
)
def test_mistakes_are_one_line(
    content: str | None,
    arguments: tuple[str, ...],
    message: str,
    tiny_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File, column and line, or the flag; status 1, or 2 for a flag; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("reviews.csv").write_text(content)
    if "--out" not in arguments and "--out-format" not in arguments:
        arguments = (*arguments, "--out", "scored.csv")
    status = cli.main(command(tiny_store, "reviews.csv", *arguments))
    said = capsys.readouterr().err
    assert status == (2 if said.startswith("error: --") else 1)
    assert said.startswith("error: ")
    assert message in said
    assert os.listdir() == ([] if content is None else ["reviews.csv"])  # noqa: PTH208


def test_what_was_found_is_said(tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Format, delimiter and column, and the rows that were left out with the first of them."""
    source = tmp_path / "reviews.csv"
    source.write_text("sep=;\nid;Review\n1;good film\n2;a;b\n3;NA\n")
    assert cli.main(command(tiny_store, source, "--on-bad-row", "skip")) == 0
    said = capsys.readouterr()
    assert "CSV, values between ';', 2 columns named in the first row; the texts are in 'Review'\n" in said.err
    assert "left out: 1; the first is" in said.err
    assert "line 4: 3 values in a row, but there are 2 columns" in said.err
    assert "(empty_cell 1)" in said.err
    assert said.out.splitlines()[0] == "id;Review;label;score;tokens;truncated;unknown;judgement;error"
    assert cli.main(command(tiny_store, source, "--on-bad-row", "mark", "--keep-na", "--escape-formulas")) == 0
    said = capsys.readouterr()
    assert "are marked: 1; the first is" in said.err
    assert "(bad_row 1)" in said.err


def test_several_files(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their names or by a pattern, each to a file of its own; those that are done stay when the command comes again,
    and nothing is computed where one of them is not as it should be."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(f"text\ngood film {name}\n")
    for name in ("c.json", "v1.2.json", "v1.3.json"):
        Path(name).write_text('[{"text": "good film"}]')
    assert cli.main(command(tiny_store, "*.csv", "*.json", "--out", "scored/")) == 0
    found = sorted(os.listdir("scored"))  # noqa: PTH208
    assert found == ["a.csv", "b.csv", "c.jsonl", "v1.2.jsonl", "v1.3.jsonl"]
    Path("scored/b.csv").unlink()
    assert cli.main(command(tiny_store, "a.csv", "b.csv", "--out", "scored")) == 0
    assert "scored/a.csv: is there already" in capsys.readouterr().err
    assert Path("scored/b.csv").exists()
    for out, message in (("-", "must be a folder"), ("a.csv", "must be a folder"), (".", "would replace an input")):
        assert cli.main(command(tiny_store, "a.csv", "b.csv", "--out", out)) == 2
        assert message in capsys.readouterr().err
    Path("other").mkdir()
    Path("other/a.csv").write_text("text\na\n")
    assert cli.main(command(tiny_store, "a.csv", "other/*.csv", "--out", "new/")) == 2
    assert "--out: two files would have the same name there, a.csv" in capsys.readouterr().err
    assert cli.main(command(tiny_store, "other", "--out", "new/")) == 1
    assert "other: a folder; its files are named, such as 'other/*.csv'" in capsys.readouterr().err
    Path("b.csv").write_text("<html>")
    assert cli.main(command(tiny_store, "a.csv", "b.csv", "--out", "new/")) == 1
    assert not Path("new").exists()
    assert cli.main(command(tiny_store, "x*.csv", "--out", "new/")) == 1
    assert "x*.csv: there is no such file" in capsys.readouterr().err


def test_nobody_at_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is said at once, and soon given up."""
    monkeypatch.setattr("app.files.exchange._CONTACT", 1.0)
    source = write_reviews(tmp_path / "reviews.csv", 3)
    for model, path in (([], "models"), (["--model", "tiny"], "classify")):
        assert cli.main(["classify", str(source), "--url", "http://127.0.0.1:9", *model]) == 1
        said = capsys.readouterr().err
        assert f"http://127.0.0.1:9/{path} cannot be reached (ConnectError); trying again" in said
        assert f"error: http://127.0.0.1:9/{path} cannot be reached" in said


def test_objects_from_a_pipe_become_objects(
    tiny_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their columns are known only at the end."""
    out = tmp_path / "a.csv"
    assert cli.main(command(tiny_store, "-", "--format", "jsonl", "--out", out)) == 2
    assert "become JSON lines only" in capsys.readouterr().err


def test_a_running_service_says_the_same(tiny_store: Path, tmp_path: Path) -> None:
    """By --url, the same columns; nothing is computed here."""
    source = write_reviews(tmp_path / "reviews.csv", 500)
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    options = ("--text-column", "review", "--out")
    assert app(tiny_store, source, *options, here).returncode == 0
    with serving(tiny_store, workers="1", precision="float32") as service:
        ended = app(tiny_store, source, *options, there, "--url", service.url)
    assert ended.returncode == 0, ended.stderr
    with here.open(newline="") as one, there.open(newline="") as other:
        for left, right in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            if left["sentiment_score"]:
                assert float(right.pop("sentiment_score")) == pytest.approx(
                    float(left.pop("sentiment_score")), abs=1e-6
                )
            assert left == right
