"""API keys: made by a command, kept as digests, read from a file that may change."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from app import cli, keys
from app.errors import DataError
from app.keys import ADMIN, CLASSIFY, SCOPES, KeyFile, digest_of, new_key, read_keys
from tests.http.shapes import sample


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_makes_a_key_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key is shown once; the file has its digest alone, and is private."""
    path = tmp_path / "keys"
    for name, scopes in (
        ("alice", []),
        ("prometheus", ["--scope", "admin"]),
        ("both", ["--scope=classify", "--scope=admin"]),
    ):
        assert cli.main(["keys", "new", "--name", name, *scopes, "--file", str(path)]) == 0
    shown = [line.removeprefix("key: ") for line in capsys.readouterr().out.splitlines()]
    file = KeyFile(path)
    found = [key for key in map(file.find, shown) if key]
    assert [(key.name, set(key.scopes)) for key in found] == [
        ("alice", {CLASSIFY}),
        ("prometheus", {ADMIN}),
        ("both", {CLASSIFY, ADMIN}),
    ]
    assert not any(key in path.read_text() for key in shown)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_the_line_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To be put wherever secrets are kept."""
    assert cli.main(["keys", "new", "--name", "alice"]) == 0
    key, line = (shown.partition(":")[2].strip() for shown in capsys.readouterr().out.splitlines())
    found = KeyFile(write(tmp_path / "keys", "# who may call", "", line)).find(key)
    assert found is not None
    assert found.name == "alice"


def test_keys_are_all_different() -> None:
    """And long enough not to be guessed: 256 random bits."""
    made = {new_key("a", [CLASSIFY])[0] for _ in range(100)}
    assert len(made) == 100
    assert {len(key) for key in made} == {len("sk-sentiment-") + 43}


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "_a", "a\nb"])
def test_a_name_that_will_not_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of error and no key."""
    assert cli.main(["keys", "new", "--name", name]) == 1
    assert "key: " not in capsys.readouterr().out


@pytest.mark.parametrize("presented", ["", "sk-sentiment-", "\udcff", "x" * 100_000, "é"])
def test_other_strings_are_nobodys(tmp_path: Path, presented: str) -> None:
    """Whatever is presented, there is an answer; the digest itself is no key."""
    _, kept = new_key("alice", [CLASSIFY])
    file = KeyFile(write(tmp_path / "keys", kept.line))
    assert file.find(presented) is None
    assert file.find(kept.digest.hex()) is None


GOOD = f"alice classify {digest_of('a').hex()}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["alice"], "line 1"),
        ([GOOD, "", GOOD + " x"], "line 3"),
        ([GOOD.replace("classify", "all")], "line 1: scopes"),
        ([GOOD.replace("classify", "classify,")], "line 1: scopes"),
        ([GOOD[:-1]], "line 1"),
        ([GOOD.upper()], "line 1"),
        (["alice classify my-secret-password"], "line 1"),
        ([GOOD, GOOD.replace("alice", "bob")], "twice"),
        (["# nobody"], "no key"),
        ([f"a{n} classify {digest_of(str(n)).hex()}" for n in range(1001)], "1001 keys; the limit is 1000"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    """File and line are named, and nothing of the line is repeated: it may be a key put there by mistake."""
    path = write(tmp_path / "keys", *lines)
    with pytest.raises(DataError, match=message) as caught:
        read_keys(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    """Nobody starts without the keys that were asked for."""
    with pytest.raises(DataError, match="cannot be read"):
        KeyFile(tmp_path / "nothing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not a list of keys"):
        KeyFile(tmp_path / "binary")


def test_what_editors_add_is_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte order mark, and comments that are indented, which also stay where a key is revoked."""
    (_, first), (_, second) = new_key("first", (CLASSIFY,)), new_key("second", (CLASSIFY,))
    path = write(tmp_path / "keys", f"\ufeff{first.line}", "  # indented", second.line)
    assert read_keys(path) == [first, second]
    assert cli.main(["keys", "revoke", "--name", "first", "--file", str(path)]) == 0
    assert path.read_text() == f"  # indented\n{second.line}\n"
    capsys.readouterr()


def test_changes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Keys come and go without a restart; a file that breaks, or is gone, changes nothing until it is mended, which the
    log says once and a metric for as long."""
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0.0)
    (first, kept_first), (second, kept_second) = (new_key(name, [CLASSIFY]) for name in ("first", "second"))
    file = KeyFile(write(tmp_path / "keys", kept_first.line))
    assert file.find(first)
    write(tmp_path / "keys", kept_second.line, "# changed")
    assert (file.find(first), file.find(second)) == (None, kept_second)
    write(tmp_path / "keys", "nonsense")
    for _ in range(2):
        assert (file.find(first), file.find(second)) == (None, kept_second)
        assert sample("sentiment_api_keys_stale") == 1
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        (
            f"the file of API keys cannot be used, those read before stay good: {tmp_path / 'keys'}, line 1: "
            "must be NAME SCOPES SHA-256, in letters, digits, '.', '_' and '-'"
        )
    ]
    write(tmp_path / "keys", kept_first.line, kept_second.line)
    assert (file.find(first), file.find(second)) == (kept_first, kept_second)
    assert sample("sentiment_api_keys_stale") == 0
    (tmp_path / "keys").unlink()
    assert file.find(first)
    assert sample("sentiment_api_keys_stale") == 1


def test_a_file_is_checked_before_it_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command says who is in it, or which line is wrong, in the words of the service."""
    path = write(
        tmp_path / "keys", *(new_key(name, scopes)[1].line for name, scopes in (("a", [CLASSIFY]), ("b", SCOPES)))
    )
    for named in ([str(path)], ["--file", str(path)]):
        assert cli.main(["keys", "check", *named]) == 0
        assert capsys.readouterr().out == f"a: classify\nb: admin, classify, feedback\n{path}: ok, 2 keys\n"
    monkeypatch.setenv("SENTIMENT_API_KEYS", str(write(path, "nonsense")))
    assert cli.main(["keys", "check"]) == 1
    assert f"{path}, line 1: must be NAME SCOPES" in capsys.readouterr().err
    monkeypatch.delenv("SENTIMENT_API_KEYS")
    assert cli.main(["keys", "check"]) == 1
    assert "SENTIMENT_API_KEYS" in capsys.readouterr().err


def test_keys_are_listed_and_revoked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All keys of a name go, comments and the rights of the file stay; somebody is always left."""
    path = tmp_path / "keys.txt"
    for name in ("ann", "bob", "ann"):
        assert cli.main(["keys", "new", "--name", name, "--file", str(path)]) == 0
    path.write_text("# ours\n" + path.read_text())
    capsys.readouterr()
    assert cli.main(["keys", "list", "--file", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["ann: classify", "bob: classify", "ann: classify"]
    assert cli.main(["keys", "revoke", "--name", "ann", "--file", str(path)]) == 0
    assert "2 keys of ann revoked, 1 left" in capsys.readouterr().out
    assert (path.read_text().startswith("# ours\nbob "), path.stat().st_mode & 0o777) == (True, 0o600)
    assert cli.main(["keys", "list", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "bob", "scopes": ["classify"]}]
    for name, message in (("ann", "no key of 'ann'"), ("bob", "no other key is in it")):
        assert cli.main(["keys", "revoke", "--name", name, "--file", str(path)]) == 1
        assert message in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.txt"]


def test_every_key_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In constant time, and all of them wherever the right one stands: time says nothing about keys."""
    made = [new_key(f"n{number}", [CLASSIFY]) for number in range(5)]
    file = KeyFile(write(tmp_path / "keys", *(kept.line for _, kept in made)))
    compared: list[bytes] = []

    def compare(stored: bytes, presented: bytes) -> bool:
        compared.append(stored)
        return stored == presented

    monkeypatch.setattr("hmac.compare_digest", compare)
    for presented in (made[0][0], made[4][0], "unknown"):
        compared.clear()
        file.find(presented)
        assert compared == [kept.digest for _, kept in made]
