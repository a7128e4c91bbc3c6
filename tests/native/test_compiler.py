"""How C is compiled, and when a compiled one is used."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from app.native import binding, compiler
from app.native.compiler import KERNEL, WORDS, BuildError, Library, build, find_compiler, is_without_warning
from tests import compiled


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    compiled.require(KERNEL)


@pytest.mark.parametrize("library", [KERNEL, WORDS], ids=["kernel", "words"])
def test_it_compiles_without_a_warning(library: Library, tmp_path: Path) -> None:
    compiled.require(library)
    if not is_without_warning(library, find_compiler()):
        compiler._build(library, find_compiler(), tmp_path / "library.so", compiler._STRICT)  # says what of
        pytest.fail("another compiler has built it")


def test_it_is_compiled_once(tmp_path: Path) -> None:
    target = tmp_path / "library.so"
    assert build(WORDS, find_compiler(), target)
    assert WORDS.is_current(target)
    assert not build(WORDS, find_compiler(), target)
    assert [file.name for file in tmp_path.iterdir()] == ["library.so"]


def test_a_warning_is_no_obstacle(tmp_path: Path) -> None:
    """A newer compiler than ours may warn of something; that is known of the library."""
    (tmp_path / "odd.c").write_text('const char *built_from = "SOURCES=" SOURCES;\nstatic int unused;\n')
    library = Library(tmp_path / "odd.so", ("odd.c",))
    assert build(library, find_compiler())
    assert not build(library, find_compiler())
    assert library.is_current()
    assert not is_without_warning(library, find_compiler())


def test_a_library_of_other_sources_is_not_used(tmp_path: Path) -> None:
    target = tmp_path / "kernel.so"
    assert binding.variants(target) == []
    content = KERNEL.path.read_bytes()
    at = content.index(b"SOURCES=") + len(b"SOURCES=")
    target.write_bytes(content[:at] + b"0" * 32 + content[at + 32 :])
    assert not KERNEL.is_current(target)
    assert binding.variants(target) == []
    assert binding.precisions(target) == []


def test_a_library_of_another_system_is_not_used(tmp_path: Path) -> None:
    target = tmp_path / "kernel.so"
    content = KERNEL.path.read_bytes()
    target.write_bytes(b"\0" * 64 + content[64:])
    assert KERNEL.is_current(target)
    assert binding.variants(target) == []


def test_a_failing_compiler_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot be run"):
        build(KERNEL, ["/no/such/compiler"], tmp_path / "kernel.so")
    with pytest.raises(BuildError, match=r"failed:\nout of order"):
        build(KERNEL, [sys.executable, "-c", "import sys; sys.exit('out of order')"], tmp_path / "kernel.so")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="absent: cannot be written"):
        build(KERNEL, find_compiler(), tmp_path / "absent" / "kernel.so")


def test_the_compiler_is_the_one_named_else_the_system_s_else_zig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_compiler({"CC": "clang -m64"}) == ["clang", "-m64"]
    named = tmp_path / "gcc"
    named.touch(mode=0o755)
    assert find_compiler({"PATH": str(tmp_path)}) == [str(named)]
    shutil.rmtree(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert find_compiler({"PATH": str(tmp_path)})[:4] == [sys.executable, "-m", "ziglang", "cc"]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BuildError, match="no C compiler"):
        find_compiler({"PATH": str(tmp_path)})
