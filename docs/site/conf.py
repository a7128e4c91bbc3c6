"""The documentation site, made by Sphinx out of the pages as they are: ``make docs``.

The README is the home. Pages are found where they lie, so links between them need no other form; links to other files
become downloads.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

from app.version import VERSION

project = "Sentiment service"
copyright = "its contributors, Apache-2.0"  # noqa: A001 - the name that Sphinx looks for
release = version = VERSION

root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/decisions/*.md", "benchmarks/README.md", "examples/README.md"]
include_patterns += ["deploy/helm/*/README.md", "model_store/*/*/README.md"]
exclude_patterns = [".*", "**/.*", "build", "runs", "data"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "none"

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False

_PAGES = {
    "Use it": ["first-minutes", "python", "files", "commands", "clients", "explanations", "feedback"],
    "Run it": ["operations", "security", "reliability", "scale", "runbook"],
    "Change it": ["training"],
}
_REST = ["examples/README", "benchmarks/README", "deploy/helm/sentiment-service/README"]
_REST += ["CONTRIBUTING", "CHANGELOG", "SECURITY"]


def setup(app: Sphinx) -> None:
    """Give the home its contents, and the name that servers look for."""
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _name_home)


def _add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    if page != root_doc:
        return
    for caption, pages in _PAGES.items():
        source[0] += _toctree(caption, [f"docs/{name}" for name in pages] + (_REST if caption == "Change it" else []))
    for caption, pattern in (("Decisions", "docs/decisions/*"), ("Models", "model_store/*/*/README")):
        source[0] += _toctree(caption, [pattern], ":glob:\n:maxdepth: 1\n")


def _toctree(caption: str, pages: list[str], options: str = "") -> str:
    return f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n{options}\n" + "\n".join(pages) + "\n```\n"


def _name_home(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")
