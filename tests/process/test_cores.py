"""How many cores there are to compute on, and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.process.cores import free_memory, usable_cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a machine of eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def version_1(machine: Path, group: str, root: str = "/", quotas: dict[str, int] | None = None) -> Path:
    """What the kernel says where the CPU controller is of version 1, by the side of an empty version 2."""
    point = machine / "cpu,cpuacct"
    point.mkdir()
    proc = machine / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(f"3:memory:/elsewhere\n2:cpu,cpuacct:{group}\n1:name=systemd:/\n0::{group}\n")
    (machine / "unified").mkdir()
    (proc / "mountinfo").write_text(
        f"24 22 0:5 / /dev rw - devtmpfs devtmpfs rw\n"
        f"31 23 0:29 {root} {point} rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        f"32 23 0:30 {root} {machine / 'memory'} rw,relatime shared:9 - cgroup cgroup rw,memory\n"
        f"33 23 0:31 {root} {machine / 'unified'} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
    )
    for name, quota in (quotas or {}).items():
        folder = point / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")
    return proc


def version_2(machine: Path, group: str, root: str = "/", quotas: dict[str, str] | None = None) -> Path:
    """What the kernel says where there is version 2 alone."""
    point = machine / "cgroup"
    proc = machine / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(f"0::{group}\n")
    (proc / "mountinfo").write_text(f"30 23 0:26 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
    for name, quota in (quotas or {}).items():
        folder = point / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{quota}\n")
    return proc


def test_usable_cores_honour_affinity() -> None:
    """A process bound to one core counts one."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("quota", "cores"), [(50_000, 1), (100_000, 1), (150_000, 1), (190_000, 1), (250_000, 2), (-1, 8), (1_600_000, 8)]
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_quota_counts_in_whole_cores(machine: Path, version: int, quota: int, cores: int) -> None:
    """Half a core is one, one and a half are one; -1 or max is no quota, and none adds cores."""
    if version == 1:
        proc = version_1(machine, "/docker/abc", "/docker/abc", {".": quota})
    else:
        proc = version_2(machine, "/", quotas={".": f"{'max' if quota < 0 else quota} 100000"})
    assert usable_cores(proc) == cores


def test_the_tightest_group_around_counts(machine: Path) -> None:
    """systemd's CPUQuota= stands at a service or at the slice around it, not where the hierarchy is mounted."""
    quotas = {"system.slice": "300000 100000", "system.slice/sentiment.service": "max 100000"}
    assert usable_cores(version_2(machine, "/system.slice/sentiment.service", quotas=quotas)) == 3


def test_the_tightest_group_around_counts_in_version_1(machine: Path) -> None:
    """Likewise, in the hierarchy of the CPU controller, whatever group other controllers have this process in."""
    quotas = {".": -1, "kubepods": 400_000, "kubepods/pod/inner": 200_000, "elsewhere": 100_000}
    assert usable_cores(version_1(machine, "/kubepods/pod/inner", quotas=quotas)) == 2


def test_a_group_outside_of_what_is_mounted_is_bounded_by_what_is(machine: Path) -> None:
    """A container without a namespace of its own is told its group's name on the machine, and sees a part of it."""
    assert usable_cores(version_2(machine, "/machine/unit", "/container", {".": "200000 100000"})) == 2


@pytest.mark.parametrize("text", ["", "rubbish", "0::", "1:cpu\n"])
def test_what_cannot_be_read_bounds_nothing(machine: Path, text: str) -> None:
    """A kernel without control groups, or one that says something new."""
    (machine / "cgroup").write_text(text)
    (machine / "mountinfo").write_text(text)
    assert usable_cores(machine) == 8
    assert usable_cores(machine / "absent") == 8


def meminfo(machine: Path, available: int) -> Path:
    path = machine / "meminfo"
    path.write_text(f"MemTotal:       9000 kB\nMemAvailable:   {available} kB\nHugePages_Total:       0\n")
    return path


def test_free_memory_is_the_least_of_machine_and_groups(machine: Path) -> None:
    """What a group holds of files counts as free; a group without a limit does not count."""
    proc = version_2(machine, "/a/b")
    group = machine / "cgroup" / "a"
    (group / "b").mkdir(parents=True)
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("900000\n")
    (group / "memory.stat").write_text("anon 800000\ninactive_file 50000\n")
    (group / "b" / "memory.max").write_text("max\n")
    (group / "b" / "memory.current").write_text("900000\n")
    assert free_memory(proc, meminfo(machine, 8000)) == 150_000
    assert free_memory(proc, meminfo(machine, 100)) == 102_400


def test_free_memory_honours_version_1(machine: Path) -> None:
    proc = version_1(machine, "/elsewhere")
    group = machine / "memory" / "elsewhere"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("1000000\n")
    (group / "memory.usage_in_bytes").write_text("400000\n")
    (group / "memory.stat").write_text("total_inactive_file 1000\n")
    assert free_memory(proc, meminfo(machine, 8000)) == 601_000


def test_without_anything_known_memory_is_no_obstacle(tmp_path: Path) -> None:
    assert free_memory(tmp_path, tmp_path / "meminfo") == float("inf")


@pytest.mark.parametrize(("given", "bound"), [({min(os.sched_getaffinity(0))}, True), (None, False), ({10_000}, False)])
def test_a_process_binds_itself(given: set[int] | None, *, bound: bool) -> None:
    """To the cores that it is given; none given, or cores that there are not, leave it as it is."""
    program = (
        f"import os; from app.process.cores import bind_to; bind_to({given}); print(sorted(os.sched_getaffinity(0)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert told == str(sorted(given if bound and given else os.sched_getaffinity(0)))
