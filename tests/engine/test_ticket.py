"""Tickets: what a future promises, told at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.engine.ticket import Ticket
from app.sentiment import Scores

SCORES = [Scores((0.25, 0.75))]


def test_callbacks_come_at_once_and_once() -> None:
    """Everybody is told when the result is there, those who ask later too, and a second result changes nothing."""
    ticket, told = Ticket(), list[Ticket]()
    ticket.add_done_callback(told.append)
    ticket.add_done_callback(told.append)
    ticket.set_result(SCORES)
    ticket.set_exception(ValueError())
    assert not ticket.cancel()
    ticket.add_done_callback(told.append)
    assert told == [ticket] * 3
    assert ticket.result() is SCORES
    assert ticket.exception() is None


def test_a_callback_can_be_taken_back() -> None:
    """Who leaves is not told."""
    ticket, told = Ticket(), list[Ticket]()
    ticket.remove_done_callback(told.append)
    ticket.add_done_callback(told.append)
    ticket.remove_done_callback(told.append)
    assert ticket.cancel()
    assert ticket.cancelled()
    assert not told


async def test_it_can_be_awaited() -> None:
    """Awaiting gives the scores or raises the error; a waiter that is cancelled gives the text up."""
    scored, failed, left = Ticket(), Ticket(), Ticket()
    waiters = [asyncio.ensure_future(ticket) for ticket in (scored, failed, left)]
    await asyncio.sleep(0)
    scored.set_result(SCORES)
    failed.set_exception(ValueError("broken"))
    waiters[2].cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert results[0] is SCORES
    assert isinstance(results[1], ValueError)
    assert left.cancelled()
    with pytest.raises(asyncio.CancelledError):
        left.result()


async def test_a_broken_callback_harms_nobody() -> None:
    """The others are told all the same, and the event loop hears of the defect."""
    ticket, told, heard = Ticket(), list[Ticket](), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    ticket.add_done_callback(lambda _: 1 // 0)
    ticket.add_done_callback(told.append)
    ticket.set_result(SCORES)
    assert told == [ticket]
    assert isinstance(heard[0]["exception"], ZeroDivisionError)
