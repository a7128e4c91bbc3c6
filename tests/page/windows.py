"""What must hold in every window."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

HEIGHTS = {320: 568, 768: 1024, 1280: 800}
"""Of a small phone, a tablet and a laptop, by their widths."""


def everybody_can_use(page: Page) -> None:
    """axe-core finds nothing serious, and nothing sticks out of the window."""
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"]) for rule in found if rule["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
