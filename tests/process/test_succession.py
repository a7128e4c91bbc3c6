"""Generations: when one takes over, what becomes of the one before, and of one that never comes to serve."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.process.child import RETIRE_SIGNAL, START_SECONDS, Child
from app.process.succession import HAND_OVER_SECONDS, Generation, Succession, SuccessionError


class Process(Child):
    """A child without a process: what it is sent is kept, and ends it where the test says so."""

    def __init__(self, role: str, *, drains: bool = False, on_demand: bool = False, spare: bool = False) -> None:
        wake = cast("Any", SimpleNamespace()) if on_demand else None
        super().__init__(role, [], heartbeat=None if on_demand else 10.0, wake=wake, drains=drains, spare=spare)
        self.sent: list[int] = []

    def begin(self) -> None:
        self.process = cast("Any", SimpleNamespace(pid=0, returncode=None))

    def die(self, status: int) -> None:
        assert self.process is not None
        self.process.returncode = status

    def send(self, number: int) -> None:
        if self.alive:
            self.sent.append(number)


class House:
    """A succession whose first generation serves, and what happened to its generations."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.succession = Succession(lambda child: cast("Process", child).begin(), patience=5.0, longest_request=100.0)
        self.first = self.generation("one")
        self.succession.begin_with(self.first)
        for child in self.processes(self.first):
            if child.wake is None:
                child.begin()
        self.now = 0.0

    def generation(self, name: str, fault: str | None = None) -> Generation:
        children = [Process("engine-0"), Process("explainer-0", on_demand=True)]
        children += [Process(f"worker-{number}", drains=True) for number in range(2)]

        def note(what: str) -> Any:
            return lambda: self.happened.append(f"{name} {what}")

        calls = {what: note(what) for what in ("serves", "retires", "ends")}
        return Generation(name, cast("list[Child]", children), fault=lambda: fault, **calls)

    @staticmethod
    def processes(generation: Generation) -> list[Process]:
        return cast("list[Process]", generation.children)

    def pass_time(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self.succession.step(self.now)

    def taking_over(self, name: str = "two", fault: str | None = None) -> Generation:
        generation = self.generation(name, fault)
        self.succession.take_over(generation)
        self.pass_time()
        return generation

    def served_by(self, name: str) -> Generation:
        """One that has taken over."""
        generation = self.taking_over(name)
        for child in generation.children:
            child.beaten = child.alive
            self.pass_time()
        return generation


@pytest.fixture
def house() -> House:
    return House()


def test_it_serves_when_all_of_its_processes_live(house: House) -> None:
    """Then the workers before retire, and only when they take no new connections it is said to be live."""
    second = house.taking_over()
    engine, explainer, *workers = house.processes(second)
    for child in (engine, workers[0]):
        child.beaten = True
        house.pass_time()
    assert explainer.process is None
    assert house.succession.serving is house.first
    workers[1].beaten = True
    house.pass_time()
    assert house.succession.serving is second
    assert house.happened == ["one serves", "two serves", "one retires"]
    old = house.processes(house.first)
    assert [child.sent for child in old] == [[], [], [RETIRE_SIGNAL], [RETIRE_SIGNAL]]
    assert not second.live.done()
    old[2].retired = True
    house.pass_time()
    assert not second.live.done()
    old[3].die(0)
    house.pass_time()
    assert second.live.result(0) is None


def test_its_processes_start_one_after_the_other(house: House) -> None:
    """Each when the one before has given a sign of life, so that those that serve do not want for cores."""
    second = house.taking_over()
    engine, explainer, *workers = house.processes(second)
    always = [engine, *workers]
    for number, child in enumerate(always):
        house.pass_time()
        assert [it.process is not None for it in always] == [place <= number for place in range(len(always))]
        child.beaten = True
    house.pass_time()
    assert house.succession.serving is second
    assert explainer.process is None


def test_the_engine_before_ends_when_its_workers_have(house: House) -> None:
    """It still computes what they have taken; then everything of its generation is gone."""
    house.served_by("two")
    engine, _, *workers = house.processes(house.first)
    workers[0].die(0)
    house.pass_time(50.0)
    assert engine.sent == []
    workers[1].die(0)
    house.pass_time()
    house.pass_time()
    assert engine.sent == [signal.SIGTERM]
    assert house.happened[-1] == "one retires"
    engine.die(0)
    house.pass_time()
    assert house.happened[-1] == "one ends"
    assert house.succession.others == []


def test_workers_that_never_say_so_hold_nobody_up(house: House) -> None:
    second = house.served_by("two")
    house.pass_time(HAND_OVER_SECONDS + 1)
    assert second.live.done()


def test_requests_that_take_too_long_are_cut_off(house: House) -> None:
    """First as at a shutdown, then at once."""
    house.served_by("two")
    workers = house.processes(house.first)[2:]
    house.pass_time(101.0)
    assert workers[0].sent == [RETIRE_SIGNAL, signal.SIGTERM]
    house.pass_time(5.1)
    assert workers[0].sent[-1] == signal.SIGKILL


def test_a_third_generation_does_not_wait_for_the_first(house: House) -> None:
    """What is left of the first is given the time of a shutdown, so that there are never more than three."""
    house.served_by("two")
    house.taking_over("three")
    house.pass_time()
    assert house.processes(house.first)[2].sent == [RETIRE_SIGNAL, signal.SIGTERM]


@pytest.mark.parametrize(
    ("fault", "told"), [("weights are damaged", "weights are damaged"), (None, "engine-0 ended with status 78")]
)
def test_one_that_dies_before_it_serves_changes_nothing(house: House, fault: str | None, told: str) -> None:
    """It says why, is not started again, and nothing of it is left; the one that serves is not touched."""
    second = house.taking_over(fault=fault)
    engine, _, worker, unstarted = house.processes(second)
    engine.beaten = True
    house.pass_time()
    engine.die(78)
    assert not house.succession.keeps(engine)
    house.pass_time()
    with pytest.raises(SuccessionError, match=told):
        second.live.result(0)
    assert worker.sent == [signal.SIGKILL]
    assert unstarted.process is None
    worker.die(-9)
    house.pass_time()
    assert house.happened == ["one serves", "two ends"]
    assert house.succession.serving is house.first
    assert all(child.sent == [] for child in house.processes(house.first))


def test_one_that_is_never_ready_is_given_up(house: House) -> None:
    second = house.taking_over()
    house.pass_time(START_SECONDS + 1)
    with pytest.raises(SuccessionError, match="not ready after 120 s"):
        second.live.result(0)


def test_the_end_of_the_service_ends_what_has_not_served(house: House) -> None:
    """Also what has not been begun yet, and what comes later: an order must not wait for it until it is cut off."""
    second, third, *late = house.taking_over(), *(house.generation(name) for name in ("three", "four", "five"))
    house.succession.take_over(third)
    house.succession.abandon()
    house.succession.take_over(late[0])
    house.succession.stand_beside(late[1])
    for generation in (second, third, *late):
        with pytest.raises(SuccessionError, match="the service is ending"):
            generation.live.result(0)
    assert house.processes(second)[0].sent == [signal.SIGKILL]


def test_the_end_of_the_service_is_not_held_up_by_a_change(house: House) -> None:
    """Those before may never say that they have made way."""
    second = house.served_by("two")
    assert not second.live.done()
    house.succession.abandon()
    assert second.live.result(0) is None


def test_only_who_serves_can_end_the_service(house: House) -> None:
    """An engine that cannot be kept running is no reason once its generation has retired."""
    house.served_by("two")
    house.processes(house.first)[0].die(78)
    assert house.succession.given_up() == []
    house.processes(house.succession.serving)[0].die(78)
    assert [child.role for child in house.succession.given_up()] == ["engine-0"]


def test_a_spare_process_starts_when_those_it_stands_by_for_live(house: House) -> None:
    """Its generation serves by then, and would without it; it ends with the others."""
    second, spare = house.generation("two"), Process("engine-1", spare=True)
    second.children.insert(1, spare)
    house.succession.take_over(second)
    house.pass_time()
    engine, _, _, *workers = house.processes(second)
    for child in (engine, *workers):
        assert spare.process is None
        child.beaten = True
        house.pass_time()
    assert house.succession.serving is second
    assert spare.alive
    assert house.succession.keeps(spare)
    spare.die(78)
    house.pass_time()
    assert house.succession.given_up() == []
    spare.begin()
    house.served_by("three")
    for worker in workers:
        worker.die(0)
    house.pass_time()
    house.pass_time()
    assert engine.sent == spare.sent == [signal.SIGTERM]


def standing_beside(house: House, *, ready: bool = True, fault: str | None = None) -> Generation:
    """An engine for another model, which has been started."""
    generation = house.generation("beside", fault)
    generation.children = generation.children[:2]
    generation.ready = lambda: ready
    house.succession.stand_beside(generation)
    house.pass_time()
    return generation


def test_an_engine_beside_is_ready_when_it_says_so(house: House) -> None:
    """From then on it is kept running like others; who serves is not touched, and its failures end nothing."""
    beside = standing_beside(house, ready=False)
    engine, explainer = house.processes(beside)
    assert explainer.process is None
    assert not house.succession.keeps(engine)
    beside.ready = lambda: True
    house.pass_time()
    assert beside.live.result(0) is None
    assert house.happened == ["one serves", "beside serves"]
    assert house.succession.serving is house.first
    engine.die(78)
    house.pass_time()
    assert house.succession.keeps(engine)
    assert house.succession.given_up() == []


def test_an_engine_beside_stays_when_another_model_takes_over(house: House) -> None:
    beside = standing_beside(house)
    house.served_by("two")
    house.pass_time(1000.0)
    assert house.processes(beside)[0].sent == []
    assert beside in house.succession.others


def test_an_engine_beside_that_is_let_go_ends(house: House) -> None:
    beside = standing_beside(house)
    house.succession.leave(beside)
    house.pass_time()
    [engine, _] = house.processes(beside)
    assert engine.sent == [signal.SIGTERM]
    engine.die(0)
    house.pass_time()
    assert (house.happened[-1], house.succession.others) == ("beside ends", [])


def test_an_engine_beside_that_never_was_ready_says_why(house: House) -> None:
    """And is not started again."""
    beside = standing_beside(house, ready=False, fault="weights are damaged")
    house.processes(beside)[0].die(78)
    house.pass_time()
    with pytest.raises(SuccessionError, match="weights are damaged"):
        beside.live.result(0)
    late = standing_beside(house, ready=False)
    house.pass_time(START_SECONDS + 1)
    with pytest.raises(SuccessionError, match="not ready after 120 s"):
        late.live.result(0)
    ending = standing_beside(house, ready=False)
    house.succession.abandon()
    with pytest.raises(SuccessionError, match="the service is ending"):
        ending.live.result(0)


def test_what_starts_while_others_do_its_work_is_to_spare_them(house: House) -> None:
    """Not the only engine, nor anybody before the others have given a sign of life; but one of several that lives on,
    and the next model's processes."""
    engine, _, worker, other = house.processes(house.first)
    second = house.generation("two")
    gently = house.succession.starts_gently
    assert not any(map(gently, (*house.first.children, *second.children)))
    for child in (engine, worker, other):
        child.beaten = True
    assert [gently(child) for child in (engine, worker, other)] == [False, True, True]
    assert all(map(gently, second.children))
    other.die(1)
    engine.ending = True
    assert not gently(worker)
    assert not gently(second.children[0])
