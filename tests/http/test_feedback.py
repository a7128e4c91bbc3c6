"""``POST /feedback``: what is kept, what is refused, and who may."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.feedback.folder import FeedbackEntry, FeedbackFolder
from app.http import feedback
from app.keys import CLASSIFY, FEEDBACK, new_key
from tests.checkpoints import add_checkpoint
from tests.fakes import MODEL, FakeClassifier, application, client_of, versions_of
from tests.http.shapes import assert_problem, sample

TEXT = {"text": "a good film", "label": "positive"}
ANSWER = {"answered": "negative", "model": "tiny", "version": 1}


def kept(folder: Path) -> list[FeedbackEntry]:
    return list(FeedbackFolder(folder, 0).entries())


async def send(folder: Path | None, body: Any, key: str = "", **settings: Any) -> httpx.Response:
    headers = {"content-type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    content = body if isinstance(body, bytes) else json.dumps(body)
    async with client_of(application(feedback_folder=folder, **settings)) as client:
        return await client.post("/feedback", content=content, headers=headers)


async def test_a_text_is_kept_with_its_label(tmp_path: Path) -> None:
    """And all that was said; without a version the one that is served is assumed."""
    answer = await send(tmp_path, {**TEXT, **ANSWER, "request_id": "a-1", "comment": "Irony?\n"})
    assert answer.status_code == 201
    assert answer.json() == {"model": "tiny", "version": 1, "label": "positive", "right": False}
    answer = await send(tmp_path, {"text": "é", "label": "negative"})
    assert answer.json() == {"model": "tiny", "version": 1, "label": "negative", "right": None}
    first, second = kept(tmp_path)
    said = {**TEXT, **ANSWER, "request_id": "a-1", "comment": "Irony?\n"}
    assert {name: value for name, value in first.model_dump().items() if name not in ("time", "by")} == said
    assert (second.text, second.answered, second.model, second.version, second.by) == ("é", None, "tiny", 1, None)


async def test_right_and_wrong_answers_are_counted_by_version(tmp_path: Path) -> None:
    """Of a version that was served before, too; what is refused is not."""
    add_checkpoint(tmp_path / "store", "before")
    name = "sentiment_feedback_total"
    labels = [{"model": "before", "version": "1", "answer": answer} for answer in ("right", "wrong", "unknown")]
    before = [sample(name, **of) for of in labels]
    for answered in ("positive", "negative", None):
        said = {} if answered is None else {"answered": answered}
        answer = await send(tmp_path, {**TEXT, **said, "model": "before", "version": 1}, model_store=tmp_path / "store")
        assert answer.status_code == 201
    assert (await send(tmp_path, {**TEXT, "label": "meh"})).status_code == 422
    assert [sample(name, **of) - had for of, had in zip(labels, before, strict=True)] == [1, 1, 1]


async def test_a_version_that_is_loaded_needs_no_store(tmp_path: Path) -> None:
    """Where that is away, or the version's folder was removed, it answers, so that its answers can be judged."""
    further = versions_of(FakeClassifier(model=replace(MODEL, version=2)))
    settings = {"feedback_folder": tmp_path, "model_store": tmp_path / "away"}
    async with client_of(application(None, None, further, **settings)) as client:
        answer = await client.post("/feedback", json={**TEXT, **ANSWER, "version": 2})
    assert (answer.status_code, [entry.version for entry in kept(tmp_path)]) == (201, [2])


INVALID = {
    "empty": ({}, "text: Field required"),
    "no label": ({"text": "a"}, "label: Field required"),
    "other label": ({**TEXT, "label": "meh"}, "label: must be one of negative, positive, the labels of tiny/1"),
    "other answer": ({**TEXT, "answered": "meh"}, "answered: must be one of negative, positive"),
    "unknown version": ({**TEXT, **ANSWER, "version": 9}, "version: there is no tiny/9 in the model store"),
    "unknown model": ({**TEXT, "model": "none", "version": 1}, "version: there is no none/1"),
    "a path as model": ({**TEXT, "model": "../tiny", "version": 1}, "model: String should match pattern"),
    "model alone": ({**TEXT, "model": "tiny"}, "model and version must be given together"),
    "null": ({**TEXT, "comment": None}, "comment must not be null; leave it out"),
    "long comment": ({**TEXT, "comment": "a" * 1_001}, "comment: String should have at most 1000 characters"),
    "bad request id": ({**TEXT, "request_id": "a b"}, "request_id: String should match pattern"),
    "unknown field": ({**TEXT, "stars": 1}, "stars: unknown field"),
    "label twice": (b'{"text":"a","label":"positive","label":"negative"}', "label: must not be given twice"),
}


@pytest.mark.parametrize(("body", "detail"), INVALID.values(), ids=INVALID.keys())
async def test_what_is_not_as_it_should_be_names_the_field(tmp_path: Path, body: Any, detail: str) -> None:
    """And nothing is kept, nor told of the store's place."""
    document = assert_problem(await send(tmp_path, body, model_store=tmp_path / "store"), 422, "invalid_request")
    assert detail in document["detail"]
    assert str(tmp_path) not in json.dumps(document)
    assert kept(tmp_path) == []


async def test_bounds_of_texts_and_bodies_hold_here_too(tmp_path: Path) -> None:
    for body, status, code in (
        ({**TEXT, "text": " \n"}, 422, "blank_text"),
        ({**TEXT, "text": "a" * 101}, 422, "text_too_long"),
        (b"{", 422, "invalid_json"),
        (b" " * 3_000, 413, "body_too_large"),
    ):
        assert_problem(await send(tmp_path, body, max_characters=100, max_body=2_000), status, code)
    assert kept(tmp_path) == []


async def test_nothing_is_kept_unless_a_folder_is_named() -> None:
    """The answer says who can change that."""
    document = assert_problem(await send(None, {**TEXT}), 501, "feedback_off")
    assert "operator" in document["detail"]


async def test_as_much_is_kept_as_may_be(tmp_path: Path) -> None:
    """Then it is refused, in words that say so, and counted."""
    before = sample("sentiment_rejected_total", reason="feedback_full")
    statuses = [(await send(tmp_path, TEXT, feedback_bytes=1_024)).status_code for _ in range(12)]
    assert statuses[0] == 201
    refused = statuses.index(507)
    assert set(statuses[refused:]) == {507}
    assert len(kept(tmp_path)) == refused
    assert 0 < FeedbackFolder(tmp_path, 0).size() <= 1_024
    document = assert_problem(await send(tmp_path, TEXT, feedback_bytes=1_024), 507, "feedback_full")
    assert "delete some" in document["detail"]
    assert sample("sentiment_rejected_total", reason="feedback_full") == before + 13 - refused


async def test_a_folder_that_fails_is_a_503(tmp_path: Path) -> None:
    """To come back later; why, the log says."""
    gone = tmp_path / "gone"
    gone.mkdir()
    async with client_of(application(feedback_folder=gone)) as client:
        gone.rmdir()
        document = assert_problem(await client.post("/feedback", json=TEXT), 503, "feedback_unavailable")
    assert str(tmp_path) not in document["detail"]


async def test_why_it_is_refused_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a line for each request; again where the reason has changed, and where it was refused long ago."""
    full, gone = "1024 bytes of feedback are kept at most", "cannot be written (No such file or directory)"
    folder = tmp_path / "kept"
    folder.mkdir()
    with caplog.at_level("WARNING"):
        async with client_of(application(feedback_folder=folder, feedback_bytes=1_024)) as client:

            async def refused(times: int = 3) -> list[str]:
                caplog.clear()
                for _ in range(times):
                    assert (await client.post("/feedback", json={**TEXT, "comment": "x" * 1_000})).status_code >= 500
                return [text.rpartition(": ")[2] for text in caplog.messages if not text.endswith(" 503")]

            assert await refused() == [full]
            assert await refused() == []
            folder.rename(tmp_path / "elsewhere")
            assert await refused() == [gone]
            (tmp_path / "elsewhere").rename(folder)
            assert await refused() == [full]
            monkeypatch.setattr(feedback, "_SILENCE", -1.0)
            assert await refused(1) == [full]


async def test_waiting_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "_MOST_WAITING", 0)
    assert_problem(await send(tmp_path, TEXT), 503, "feedback_unavailable")


async def test_it_has_a_scope_of_its_own(tmp_path: Path) -> None:
    """Who may ask may not say what is right, and the other way round; the key's name is kept."""
    made = {name: new_key(name, [name]) for name in (CLASSIFY, FEEDBACK)}
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{line.line}\n" for _, line in made.values()))
    assert_problem(await send(tmp_path, TEXT, made[CLASSIFY][0], api_keys=keys), 403, "forbidden")
    assert_problem(await send(tmp_path, TEXT, api_keys=keys), 401, "unauthorized")
    assert (await send(tmp_path, TEXT, made[FEEDBACK][0], api_keys=keys)).status_code == 201
    assert [entry.by for entry in kept(tmp_path)] == [FEEDBACK]
    async with client_of(application(api_keys=keys)) as client:
        asked = await client.post(
            "/classify", json={"text": "a"}, headers={"Authorization": f"Bearer {made[FEEDBACK][0]}"}
        )
    assert_problem(asked, 403, "forbidden")


async def test_whoever_asks_is_told_whether_they_may_send_some(tmp_path: Path) -> None:
    """By ``GET /models``, so that nobody has to try: a folder must be named, and a key must have both scopes."""
    made = {name: new_key(name, scopes) for name, scopes in (("reader", [CLASSIFY]), ("expert", [CLASSIFY, FEEDBACK]))}
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{line.line}\n" for _, line in made.values()))

    async def told(folder: Path | None, name: str = "", **settings: Any) -> Any:
        headers = {"Authorization": f"Bearer {made[name][0]}"} if name else {}
        async with client_of(application(feedback_folder=folder, model_store=tmp_path, **settings)) as client:
            return (await client.get("/models", headers=headers)).json()["feedback"]

    assert [await told(None), await told(tmp_path)] == [False, True]
    assert [await told(tmp_path, name, api_keys=keys) for name in made] == [False, True]
    assert await told(None, "expert", api_keys=keys) is False
