"""What pyproject.toml cannot say of the package: C is compiled into the wheel, the default model goes with it, and
``app`` is called ``sentiment_service._app`` there, since many a project has an ``app`` of its own.

Without a C compiler the wheel holds the sources alone; ``python -m app.native.compiler`` compiles them where it is
installed.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.dist import Distribution

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from app.native.compiler import KERNEL, WORDS, BuildError, build, find_compiler  # noqa: E402 - found by the line before

COMPILED = "sentiment_compiled"
"""Attribute of a distribution: whether libraries for this kind of machine are in it."""

HOME = "sentiment_service._app"
"""What ``app`` is called where it is installed."""
_RENAMED = (
    (re.compile(r"^(\s*)from app(?=[. ])", re.MULTILINE), rf"\1from {HOME}"),
    (re.compile(r"python -m app\."), f"python -m {HOME}."),
    (re.compile(r"python -m app\b"), "python -m sentiment_service"),
    (re.compile(r'"-m", "app"'), '"-m", "sentiment_service"'),
)
"""What changes with the name: imports, which are all of this form, and what people are told to type."""


def default_model() -> Path:
    """Folder of the model that is served unless a setting says otherwise, its highest version."""
    [name] = [
        ast.literal_eval(keyword.value)
        for node in ast.walk(ast.parse((ROOT / "app" / "settings.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "model" and isinstance(node.value, ast.Call)
        for keyword in node.value.keywords
        if keyword.arg == "default"
    ]
    versions = [folder for folder in (ROOT / "model_store" / name).iterdir() if folder.name.isdigit()]
    return max(versions, key=lambda folder: int(folder.name))


class BuildWithLibraries(build_py):
    """Adds to the Python modules what they load."""

    def run(self) -> None:
        place = ROOT if self.editable_mode else Path(self.build_lib)
        if not self.editable_mode:
            for name in ("app", "sentiment_service"):  # what an earlier build left there would go along
                shutil.rmtree(place / name, ignore_errors=True)
        super().run()
        try:
            command = find_compiler()
            for library in (KERNEL, WORDS):
                build(library, command, place / library.path.relative_to(ROOT))
            setattr(self.distribution, COMPILED, True)
        except BuildError as error:
            self.warn(f"the C code is not compiled: {error}")
        if not self.editable_mode:
            model = default_model()
            target = place / "app" / model.relative_to(ROOT)
            shutil.copytree(model, target, dirs_exist_ok=True)
            self.move_home(place)

    def move_home(self, place: Path) -> None:
        """Give ``app`` the name that nobody else has."""
        (place / "app").rename(place / HOME.replace(".", "/"))
        for path in (place / "sentiment_service").rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for before, after in _RENAMED:
                text = before.sub(after, text)
            path.write_text(text, encoding="utf-8")


class WheelOfThisMachine(bdist_wheel):
    """Named after the system and the processor that the libraries are for; any Python 3 loads them."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        super().egg2dist(egginfo_path, distinfo_path)
        (Path(distinfo_path) / "top_level.txt").write_text(f"{HOME.partition('.')[0]}\n", encoding="utf-8")

    def get_tag(self) -> tuple[str, str, str]:
        platform = super().get_tag()[2]
        return "py3", "none", platform if getattr(self.distribution, COMPILED, False) else "any"


class SourcesWithModel(sdist):
    """What a wheel can be built from: of the model store the default model alone."""

    def make_distribution(self) -> None:
        self.filelist.extend(str(path.relative_to(ROOT)) for path in default_model().iterdir())
        super().make_distribution()


class WithLibraries(Distribution):
    """Goes where packages with machine code go."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    distclass=WithLibraries,
    cmdclass={"build_py": BuildWithLibraries, "bdist_wheel": WheelOfThisMachine, "sdist": SourcesWithModel},
)
