"""``classify --report`` and ``report``, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import openpyxl
import pytest

from app import cli
from tests.report.scored import Row, write_scored
from tests.report.test_page_of_report import Reader

REVIEWS = "review,store,date\n" + "".join(
    f'"{text}",{("Leeds", "Porto")[number % 2]},2024-0{1 + number % 9}-11\n'
    for number, text in enumerate(["a good film, and a lovely plot", "very bad", "", "dull cast ?", "<b>great</b>"] * 6)
)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text(REVIEWS)


def classify(store: Path, *arguments: object) -> int:
    model = ["--store", str(store), "--model", "tiny", "--precision", "float32"]
    return cli.main(["classify", *map(str, arguments), *model])


def tables(report: str | Path) -> dict[str, list[dict[str, object]]]:
    """The tables of a report."""
    found: dict[str, list[dict[str, object]]] = json.loads(Reader(Path(report).read_text()).downloads["report.json"])
    return found


def test_a_report_alone(tiny_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --out the rows themselves go nowhere; the report names the file, the model and what was taken."""
    options = ("--report", "report.html", "--group-by", "store", "--time-column", "date")
    assert classify(tiny_store, "reviews.csv", *options) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "written to" in said.err
    assert said.err.count("written to") == 1
    assert "times are in 'date', read as ISO 8601" in said.err
    assert sorted(os.listdir()) == ["report.html", "reviews.csv"]  # noqa: PTH208
    text = Reader(Path("report.html").read_text()).text
    assert "Sentiment of reviews.csv" in text
    assert "By tiny/1, " in text
    assert str(Path.cwd()) not in Path("report.html").read_text()
    assert sum(row["rows"] for row in tables("report.html")["by-store"]) == 30  # type: ignore[misc]


@pytest.mark.parametrize("out", ["scored.csv", "scored.tsv.gz", "scored.jsonl", "scored.parquet", "scored.xlsx"])
def test_every_format_says_the_same(tiny_store: Path, out: str) -> None:
    """With the rows, and again from the file alone."""
    asked = ("--group-by", "store")
    assert classify(tiny_store, "reviews.csv", "--out", out, "--report", "one.html", *asked) == 0
    assert cli.main(["report", out, "--output", "two.html", "--model", "tiny/1", *asked]) == 0
    found = tables("one.html")
    assert found == tables("two.html")
    assert {(row["label"], row["rows"]) for row in found["shares"]} >= {("(error) empty_cell", 6)}
    assert len(found["over-time"]) > 1


def test_the_tables_become_a_workbook(tiny_store: Path) -> None:
    """A sheet for each, with the same in it."""
    assert classify(tiny_store, "reviews.csv", "--out", "scored.csv", "--report", "one.html") == 0
    assert cli.main(["report", "scored.csv", "--output", "two.xlsx"]) == 0
    book = openpyxl.load_workbook("two.xlsx")
    assert book.sheetnames == list(tables("one.html"))
    header, *rows = book["shares"].iter_rows(values_only=True)
    shares = [dict(zip(header, row, strict=True)) for row in rows]
    assert shares == tables("one.html")["shares"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nested.jsonl", ("--text-column", "review.text", "--out", "scored.jsonl")),
        ("nested.jsonl", ("--text-column", "review.text", "--out", "scored.csv")),
        ("lines.txt", ()),
        ("semicolons.csv", ("--text-column", "what;was", "--delimiter", ";")),
        ("bare.csv", ("--no-header", "--text-column", "column_2", "--group-by", "column_1")),
    ],
)
def test_files_of_every_shape(tiny_store: Path, name: str, options: tuple[str, ...]) -> None:
    """What classify reads, its report reads again without being told how."""
    Path("nested.jsonl").write_text('{"review": {"text": "a good film"}, "n": [1]}\n' * 3)
    Path("lines.txt").write_text("a good film\n\nvery bad\n")
    Path("semicolons.csv").write_text('id;"what;was"\n1;a good, lovely film\n2;very bad, a dull plot\n')
    Path("bare.csv").write_text("1,a good film\n2,very bad\n")
    assert classify(tiny_store, name, *options, "--report", "report.html") == 0
    rows = {"nested.jsonl": 3, "lines.txt": 3}.get(name, 2)
    assert sum(row["rows"] for row in tables("report.html")["shares"]) == rows  # type: ignore[misc]


def test_rows_that_were_done_before_are_in_it(tiny_store: Path) -> None:
    """Of several files, those that stay as they are count as well; rows left out are said."""
    Path("more.csv").write_text("review,store\ngood film,Leeds\nbad film\n")
    options = ("--text-column", "review", "--on-bad-row", "skip", "--out", "scored/")
    assert classify(tiny_store, "reviews.csv", *options) == 0
    assert classify(tiny_store, "reviews.csv", "more.csv", *options, "--report", "r.html", "--group-by", "store") == 0
    text = Reader(Path("r.html").read_text()).text
    assert "Sentiment of reviews.csv and 1 more" in text
    assert "31; 1 more were left out" in text


def test_a_pipe_has_a_report(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a report may go into one."""

    class Given:
        buffer = io.BytesIO(REVIEWS.encode())

    monkeypatch.setattr("sys.stdin", Given)
    assert classify(tiny_store, "-", "--report", "report.html") == 0
    assert "Sentiment of standard input" in Reader(Path("report.html").read_text()).text


def test_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The page and nothing else."""
    write_scored(Path("scored.csv"), [Row("a lamp"), Row("dull", "negative")])
    assert cli.main(["report", "scored.csv", "--output", "-"]) == 0
    out = capfdbinary.readouterr().out.decode()
    assert out.startswith("<!doctype html>")
    assert out.rstrip().endswith("</html>")


@pytest.mark.parametrize("name", ["r.html", "r.xlsx"])
def test_nothing_is_left_of_a_report_that_cannot_be_written(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is of it may fill the disk that had no room for it."""
    write_scored(Path("scored.csv"), [Row("a lamp"), Row("dull", "negative")])
    Path(name).mkdir()
    before = sorted(Path().iterdir())
    assert cli.main(["report", "scored.csv", "--output", name]) == 1
    assert f"{name}: cannot be written (Is a directory)" in capsys.readouterr().err
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ("--report", "r.html", "--group-by", "shop"),
            1,
            "reviews.csv: no column 'shop'; there are 'review', 'store', 'date'",
        ),
        (("--report", "r.html", "--time-column", "when"), 1, "no column 'when'; there are"),
        (
            ("--report", "r.html", "--time-column", "store"),
            1,
            "none of the first 30 values can be read as times; the first",
        ),
        (("--report", "r.html", "--time-format", "blue"), 2, "--time-format: must say how dates are written"),
        (("--report", "r.html", "--out", "-"), 2, "--report: is made of a file of results"),
        (("--report", "report.csv"), 2, "--report: must end in .html or .xlsx (got 'report.csv')"),
        (("--report", "reviews.csv"), 2, "--report: would replace an input or its results, reviews.csv"),
        (("--report", "absent/r.html"), 1, "absent/r.html: cannot be written (No such file or directory)"),
        (("--group-by", "store"), 2, "--report: must say where the report goes"),
        (
            ("--report", "r.html", *(f"--group-by={number}" for number in range(11))),
            2,
            "--group-by: at most 10 columns",
        ),
    ],
)
def test_mistakes_of_classify(
    tiny_store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, message: str
) -> None:
    """One line, and where a column is missing nothing is computed."""
    assert classify(tiny_store, "reviews.csv", *arguments) == status
    said = capsys.readouterr().err
    assert message in said
    if status == 2 or "column" in message:
        assert said.startswith("error: ")
        assert os.listdir() == ["reviews.csv"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("reviews.csv",), 1, "reviews.csv: this file was not scored"),
        (("absent.csv",), 1, "absent.csv: there is no such file"),
        (("scored.csv", "--output", "scored.csv"), 2, "--output: would replace an input, scored.csv"),
        (("scored.csv", "--text-column", "body"), 1, "no column 'body'; there are 'text'"),
        (("scored.doc",), 1, "scored.doc: the name does not tell the format"),
        (("scored.csv", "--output", "report.pdf"), 2, "--output: must end in .html or .xlsx (got 'report.pdf')"),
        (("-",), 1, "standard input cannot be reported on: name a file"),
        (("*.tsv",), 1, "*.tsv: there is no such file"),
    ],
)
def test_mistakes_of_report(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, message: str
) -> None:
    """One line that says what to do."""
    for name in ("scored.csv", "scored.doc"):
        write_scored(Path(name), [Row("a lamp")])
    assert cli.main(["report", *arguments]) == status
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert not Path("report.html").exists()


def test_the_same_file_is_the_same_report() -> None:
    """To the last byte, whenever it is made; a workbook of the rows says the same."""
    import openpyxl

    rows = [
        Row(f"lamp {number}", ("negative", "positive")[number % 2], 0.5 + number / 99, more=("2024-01-01",))
        for number in range(40)
    ]
    write_scored(Path("scored.csv"), rows, ("date",))
    for name in ("one.html", "two.html"):
        assert cli.main(["report", "scored.csv", "--output", name]) == 0
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()
    book = openpyxl.Workbook()
    with Path("scored.csv").open(newline="") as file:
        for row in csv.reader(file):
            book.worksheets[0].append(row)
    book.save("scored.xlsx")
    assert cli.main(["report", "scored.xlsx", "--output", "three.html"]) == 0
    assert tables("three.html") == tables("one.html")
