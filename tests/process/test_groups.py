"""How a machine is divided into engines with their HTTP workers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.process import groups as groups_module
from app.process.groups import Group, default_workers, group_of_each, groups, visible_gpus

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes what the kernel says of a machine, which this process may use as far as is said."""

    def make(
        *nodes: str, bound: int | set[int], usable: int | None = None, siblings: dict[int, str] | None = None
    ) -> Path:
        monkeypatch.setattr(groups_module, "free_memory", lambda: float("inf"))
        cores = set(range(bound)) if isinstance(bound, int) else bound
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
        monkeypatch.setattr(groups_module, "usable_cores", lambda: len(cores) if usable is None else usable)
        for number, cpulist in enumerate(nodes):
            folder = tmp_path / f"node/node{number}"
            folder.mkdir(parents=True)
            (folder / "cpulist").write_text(f"{cpulist}\n")
        for core, together in (siblings or {}).items():
            folder = tmp_path / f"cpu/cpu{core}/topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(f"{together}\n")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("nodes", "cores", "threads", "workers"),
    [
        (("0",), 1, [1], 1),
        (("0-1",), 2, [2], 1),
        (("0-7",), 8, [8], 7),
        (("0-8",), 9, [4, 5], 7),
        (("0-15",), 16, [5, 5, 6], 13),
        (("0-31", "32-63"), 64, [6, 6, 7, 6, 7, 6, 6, 7, 6, 7], 54),
        (("0-1", "2-3"), 4, [4], 3),
        (("0-5", "6-11"), 12, [6, 6], 10),
        (("0-9", "10-19"), 20, [5, 5, 5, 5], 16),
        ((), 12, [6, 6], 10),
    ],
)
def test_a_cpu_has_an_engine_for_every_six_cores(
    nodes: tuple[str, ...], cores: int, threads: list[int], workers: int, machine: Machine
) -> None:
    """So on few cores there is one, which is bound to none. Each has workers for its cores but one, at least one."""
    found = groups(system=machine(*nodes, bound=cores))
    assert [group.threads for group in found] == threads
    assert default_workers(found) == workers
    if len(found) == 1:
        assert found == [Group(cores)]
    else:
        assert [len(group.cores or ()) for group in found] == threads
        assert frozenset().union(*(group.cores or () for group in found)) == frozenset(range(cores))


def test_engines_do_not_straddle_memory_nodes_or_cores(machine: Machine) -> None:
    """Nodes whose numbers alternate, and threads that share a core: each group has whole ones, of one node."""
    siblings = {core: f"{core % 12},{core % 12 + 12}" for core in range(24)}
    system = machine("0-5,12-17", "6-11,18-23", bound=24, siblings=siblings)
    first, second, *others = groups(system=system)
    assert (first.cores, second.cores) == (frozenset({0, 12, 1, 13, 2, 14}), frozenset({3, 15, 4, 16, 5, 17}))
    assert [min(group.cores or ()) for group in others] == [6, 9]
    assert [group.node for group in (first, second, *others)] == [0, 0, 1, 1]


def test_only_what_may_be_used_is_divided(machine: Machine) -> None:
    """A process that is bound to some cores divides those; where a quota allows fewer than there are, none is bound."""
    found = groups(2, system=machine("0-7", bound={1, 3, 5, 7}))
    assert [group.cores for group in found] == [frozenset({1, 3}), frozenset({5, 7})]


def test_a_quota_does_not_say_which_cores(machine: Machine) -> None:
    """Others have the rest of their time, so nobody is bound; threads are as the quota allows."""
    found = groups(2, system=machine("0-63", bound=64, usable=5))
    assert found == [Group(2), Group(3)]
    assert str(found[0]) == "2 cores"


def test_more_engines_than_cores_are_bound_to_none(machine: Machine) -> None:
    """Each has a thread all the same."""
    assert groups(3, system=machine("0-1", bound=2)) == [Group(1)] * 3


def test_each_gpu_has_an_engine(machine: Machine) -> None:
    """Which sees that one alone; with one there is nothing to hide. A GPU that is named is one."""
    system = machine("0-15", bound=16)
    found = groups(device="auto", gpus=["0", "1"], system=system)
    assert [(group.gpu, group.threads) for group in found] == [("0", 8), ("1", 8)]
    assert str(found[1]) == "GPU 1, cores 8,9,10,11,12,13,14,15"
    assert [group.gpu for group in groups(4, device="cuda", gpus=["0", "1"], system=system)] == ["0", "1", "0", "1"]
    assert groups(device="cuda", gpus=["0"], system=system) == [Group(16)]
    assert groups(device="cuda:1", gpus=["0", "1"], system=system) == [Group(16)]


def test_gpus_are_found_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their files, or what CUDA is told to see; none where everything is computed on the CPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert visible_gpus("auto", tmp_path) == []
    (tmp_path / "dxg").touch()
    assert visible_gpus("auto", tmp_path) == ["0"]
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus("auto", tmp_path) == visible_gpus("cuda", tmp_path) == ["0", "1"]
    assert visible_gpus("cpu", tmp_path) == []
    for named, seen in (("2, GPU-4", ["2", "GPU-4"]), ("1,-1,0", ["1"]), ("", []), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert visible_gpus("auto", tmp_path) == seen
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert (visible_gpus("auto", tmp_path), visible_gpus("cuda", tmp_path)) == ([], ["0"])


@pytest.mark.parametrize(("free", "workers"), [(float("inf"), 60), (2e9, 10), (1e8, 2)])
def test_workers_fit_into_memory(free: float, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is free is for them, but each engine has one."""
    monkeypatch.setattr(groups_module, "free_memory", lambda: free)
    assert default_workers([Group(31), Group(31)]) == workers


def test_workers_are_divided_as_cores_are() -> None:
    """Also where somebody says how many there are."""
    divided = [Group(5), Group(5), Group(6)]
    counts = [[group_of_each(workers, divided).count(place) for place in range(3)] for workers in (13, 3, 2, 1)]
    assert counts == [[4, 4, 5], [1, 1, 1], [1, 0, 1], [0, 0, 1]]
