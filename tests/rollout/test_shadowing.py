"""The shadow's share: set, changed, ended, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.rollout.canary import Canary
from app.rollout.orders import RefusedError
from app.rollout.shadowing import Shadowing
from app.store import ModelStore
from tests.checkpoints import add_checkpoint
from tests.rollout.test_beside import House


class Shadowed(House):
    """With a shadow, and a canary."""

    def __init__(self, store: ModelStore) -> None:
        super().__init__(store, most=9)
        parts = store, self.beside, self.roster, self.orders, lambda: self.served
        self.shadowing, self.canary = Shadowing(*parts), Canary(*parts)


@pytest.fixture
def house(tmp_path: Path) -> Shadowed:
    for seed in (0, 1, 2):
        add_checkpoint(tmp_path, seed=seed)
    add_checkpoint(tmp_path, "three", labels=("negative", "neutral", "positive"))
    add_checkpoint(tmp_path, "other", labels=("bad", "good"))
    store = ModelStore(tmp_path)
    store.relabel("tiny", lambda labels: labels.moved("candidate", 2, "label"))
    house = Shadowed(store)
    for reference in ("tiny/2", "three", "other"):
        house.beside.load(reference, "op")
    return house


def test_a_share_is_set_changed_and_ended(house: Shadowed, caplog: pytest.LogCaptureFixture) -> None:
    """Each time it is in the audit log, with who, from and to; what is compared is told."""
    with caplog.at_level(logging.WARNING, "app.audit"):
        house.shadowing.cast("tiny@candidate", 100, "op")
        told = {"model": "tiny/2", "percent": 100, "compares": "the labels negative, positive"}
        assert house.shadowing.document() == {"shadow": told}
        house.shadowing.cast("three", 5, "op")
        told = {"model": "three/1", "percent": 5, "compares": "the labels negative, positive, without neutral"}
        assert house.shadowing.document() == {"shadow": told}
        house.shadowing.cast("three/1", 0, "op")
        assert house.shadowing.document() == {"shadow": None}
    lines = [(line.getMessage(), vars(line)["by"], vars(line)["from"], vars(line)["to"]) for line in caplog.records]
    assert lines == [
        ("shadow: set", "op", "none", "tiny/2 100 %"),
        ("shadow: set", "op", "tiny/2 100 %", "three/1 5 %"),
        ("shadow: set", "op", "three/1 5 %", "none"),
    ]


def test_only_its_own_share_is_ended(house: Shadowed) -> None:
    house.shadowing.cast("tiny/2", 10, "op")
    house.shadowing.cast("three/1", 0, "op")
    assert str(house.roster.shadow) == "tiny/2 10 %"


@pytest.mark.parametrize(
    ("reference", "code", "why"),
    [
        ("tiny/3", "model_not_found", "tiny/3 is not loaded beside what is served"),
        ("tiny/1", "model_not_found", "tiny/1 is not loaded beside what is served"),
        ("tiny@champion", "model_not_found", "champion"),
        ("other/1", "model_refused", "tiny/1 has negative, positive; other/1 has bad, good; two labels of the same"),
    ],
)
def test_what_cannot_be_a_shadow_is_refused(house: Shadowed, reference: str, code: str, why: str) -> None:
    """What is not loaded, what is served, and what has nothing to compare; the share stays what it was."""
    house.shadowing.cast("tiny/2", 10, "op")
    with pytest.raises(RefusedError, match=why) as caught:
        house.shadowing.cast(reference, 20, "op")
    assert (caught.value.code, str(house.roster.shadow)) == (code, "tiny/2 10 %")


def test_a_shadow_is_not_unloaded(house: Shadowed) -> None:
    house.shadowing.cast("tiny/2", 10, "op")
    assert house.refused("unload", "tiny/2") == (
        "model_has_share",
        "tiny/2 10 % are its own, as canary or as shadow; set that to 0 first",
    )
    house.shadowing.cast("tiny/2", 0, "op")
    house.beside.unload("tiny/2", "op")


def test_a_shadow_that_is_in_the_store_no_more_can_be_ended(house: Shadowed, tmp_path: Path) -> None:
    house.shadowing.cast("tiny/2", 10, "op")
    tmp_path.rename(f"{tmp_path}-away")
    house.shadowing.cast("tiny/2", 0, "op")
    house.beside.unload("tiny/2", "op")
    assert house.roster.shadow is None


def test_one_that_comes_to_be_served_is_no_shadow(house: Shadowed) -> None:
    """Nor a canary; of other versions the shares stay."""
    house.shadowing.cast("tiny/2", 10, "op")
    house.canary.divide("tiny/2", 20, "op")
    house.beside.forget(house.beside._store.open("tiny/3"))
    assert (str(house.roster.shadow), str(house.roster.canary)) == ("tiny/2 10 %", "tiny/2 20 %")
    house.beside.forget(house.beside._store.open("tiny/2"))
    assert (house.roster.shadow, house.roster.canary) == (None, None)
