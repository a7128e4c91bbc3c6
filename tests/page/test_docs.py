"""``/docs`` in a browser: what matters is open, and can be tried out with a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from app.keys import CLASSIFY, new_key
from tests.page.conftest import is_foreign
from tests.pictures import MODEL, STORE
from tests.service import Service, serving

pytestmark = pytest.mark.extra

KEY, KEPT = new_key("reader", [CLASSIFY])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for keys, and shows its documentation to everybody."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(KEPT.line + "\n")
    with serving(STORE, MODEL, workers="1", timeout="300", api_keys=str(keys), docs="public") as running:
        yield running


def test_what_matters_is_open_and_tried_out_with_a_key(browser: Browser, guarded: Service) -> None:
    """Texts and files come first and alone; the protocols of other servers are folded, and last. A key that is given
    once goes with what is tried, and nothing is asked of anybody else."""
    with browser.new_context(viewport={"width": 1200, "height": 1000}) as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if is_foreign(asked.url, guarded) else None)
        page.goto(f"{guarded.url}/docs")
        paths = page.locator(".opblock-summary-path")
        expect(paths).to_have_text(["/v1/classify", "/v1/files", "/v1/files/columns"])
        tags = page.locator(".opblock-tag").all_inner_texts()
        assert tags[0].startswith("classify")
        assert [tag.partition("\n")[0].strip() for tag in tags[-3:]] == [
            "hugging face",
            "text-embeddings-inference",
            "open inference protocol",
        ]
        page.locator(".auth-wrapper .authorize").click()
        page.get_by_label("auth-bearer-value").fill(KEY)
        page.get_by_role("button", name="Apply credentials").first.click()
        page.get_by_role("button", name="Close").first.click()
        page.locator("#operations-classify-classify .opblock-summary-control").click()
        page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table .response")
        expect(answer.locator(".response-col_status")).to_contain_text("200")
        expect(answer).to_contain_text('"judgement": "ok"')
        assert complaints == []
