"""The canary's share: set, changed, ended, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.rollout.canary import Canary
from app.rollout.orders import RefusedError
from app.store import ModelStore
from tests.checkpoints import add_checkpoint
from tests.rollout.test_beside import House


class Divided(House):
    """With a canary."""

    def __init__(self, store: ModelStore) -> None:
        super().__init__(store, most=9)
        self.canary = Canary(store, self.beside, self.roster, self.orders, lambda: self.served)

    @property
    def share(self) -> str:
        return str(self.roster.canary)


@pytest.fixture
def house(tmp_path: Path) -> Divided:
    for seed in (0, 1, 2):
        add_checkpoint(tmp_path, seed=seed)
    add_checkpoint(tmp_path, "other", labels=("bad", "good"))
    store = ModelStore(tmp_path)
    store.relabel("tiny", lambda labels: labels.moved("candidate", 2, "label"))
    house = Divided(store)
    for reference in ("tiny/2", "other"):
        house.beside.load(reference, "op")
    return house


def test_a_share_is_set_changed_and_ended(house: Divided, caplog: pytest.LogCaptureFixture) -> None:
    """Each time it is in the audit log, with who, from and to."""
    with caplog.at_level(logging.WARNING, "app.audit"):
        house.canary.divide("tiny@candidate", 10, "op")
        assert house.canary.document() == {"canary": {"model": "tiny/2", "percent": 10}}
        house.canary.divide("tiny/2", 50, "op")
        house.canary.divide("tiny/2", 0, "op")
        assert house.canary.document() == {"canary": None}
    told = [(line.getMessage(), vars(line)["by"], vars(line)["from"], vars(line)["to"]) for line in caplog.records]
    assert told == [
        ("canary: set", "op", "none", "tiny/2 10 %"),
        ("canary: set", "op", "tiny/2 10 %", "tiny/2 50 %"),
        ("canary: set", "op", "tiny/2 50 %", "none"),
    ]


def test_only_its_own_share_is_ended(house: Divided) -> None:
    house.beside.load("tiny/3", "op")
    house.canary.divide("tiny/2", 10, "op")
    house.canary.divide("tiny/3", 0, "op")
    assert house.share == "tiny/2 10 %"


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("tiny/3", "model_not_found"),
        ("tiny/1", "model_not_found"),
        ("tiny/9", "model_not_found"),
        ("tiny@champion", "model_not_found"),
        ("other/1", "model_refused"),
    ],
)
def test_what_cannot_be_a_canary_is_refused(house: Divided, reference: str, code: str) -> None:
    """What is not loaded, what is served, and what answers by other labels; the share stays what it was."""
    house.canary.divide("tiny/2", 10, "op")
    with pytest.raises(RefusedError) as caught:
        house.canary.divide(reference, 20, "op")
    assert (caught.value.code, house.share) == (code, "tiny/2 10 %")


def test_a_canary_is_not_unloaded(house: Divided) -> None:
    house.canary.divide("tiny/2", 10, "op")
    assert house.refused("unload", "tiny/2") == (
        "model_has_share",
        "tiny/2 10 % are its own, as canary or as shadow; set that to 0 first",
    )
    house.canary.divide("tiny/2", 0, "op")
    house.beside.unload("tiny/2", "op")


def test_a_canary_that_is_in_the_store_no_more_can_be_ended(house: Divided, tmp_path: Path) -> None:
    """Whether its folder was removed or the whole store is away: by its number it is ended, and then unloaded."""
    house.canary.divide("tiny/2", 10, "op")
    tmp_path.rename(f"{tmp_path}-away")
    house.canary.divide("tiny/2", 0, "op")
    house.beside.unload("tiny/2", "op")
    assert (house.share, house.loaded) == ("None", ["other/1"])


def test_a_canary_that_comes_to_be_served_has_no_share(house: Divided) -> None:
    """One that does not keeps it."""
    house.canary.divide("tiny/2", 10, "op")
    house.beside.load("tiny/3", "op")
    house.beside.forget(house.beside._store.open("tiny/3"))
    assert house.share == "tiny/2 10 %"
    house.beside.forget(house.beside._store.open("tiny/2"))
    assert house.roster.canary is None
