"""Whole runs with their guard: what is left when a run is killed or stands still, and after it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from milo.clock import monotonic_s
from milo.guard.lines import read_plan
from milo.model import OrderReport
from milo.ops.exchange_process import attach
from milo.ops.folder_lock import GUARD_LOCK, holder_of
from milo.ops.guard_process import running_guard
from milo.store.connections import close_reader, open_reader
from milo.store.guard_plans import FILE
from milo.store.migrations import GUARD
from tests.guard_engine import client_of

from .commands import command_line, environment, milo

PROMISE_S = 3.0
GENEROUS_S = 20.0
ALWAYS_LONG = (
    'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = True\n'
    'action_if_true = "long(1%risk@2x,sl=20%,rr=3)"\n'
)
RUN = ("--loop", "live", "--no-chart", "--speed", "60")


class Run:
    """A run as a process, and the folder in which it trades."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.data_dir = folder / "data"
        self.folder = self.data_dir / "sim"
        self.process = process

    def plans(self) -> list[str]:
        """The plans that the guard has kept, as JSON."""
        conn = open_reader(self.folder / FILE, GUARD)
        try:
            return [str(row[0]) for row in conn.execute("SELECT body FROM plans")]
        finally:
            close_reader(conn)

    async def until_planned(self) -> None:
        """Wait until the guard was told of an entry: it is about to be sent, or under way."""
        async with asyncio.timeout(GENEROUS_S):
            while not any(read_plan(text) for text in self.plans()):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def until_said(self, text: str) -> str:
        """Return the line that holds the text, once the run has printed it."""
        assert self.process.stdout is not None
        async with asyncio.timeout(GENEROUS_S):
            while line := await asyncio.to_thread(self.process.stdout.readline):
                if text in line:
                    return line
        raise AssertionError(f"{text!r} never came")

    async def look(self) -> tuple[bool, list[OrderReport]]:
        """Return whether a position is open, and the orders that stand."""
        async with client_of(self.data_dir) as client:
            positions = [p for p in await client.positions() if p.qty]
            return bool(positions), list(await client.open_orders("BTCUSDT"))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "always.script"
    path.write_text(ALWAYS_LONG)
    return path


@pytest.fixture
async def run(tmp_path: Path, script: Path) -> AsyncIterator[Run]:
    with _started(tmp_path, script) as process:
        yield Run(tmp_path, process)
    await _clean_up(tmp_path / "data" / "sim")


@contextlib.contextmanager
def _started(folder: Path, script: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command_line(folder, "--script", str(script), *RUN),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def _clean_up(folder: Path) -> None:
    guard = holder_of(folder, GUARD_LOCK)
    if guard is not None:
        os.kill(guard, signal.SIGKILL)
    exchange = await attach(folder)
    if exchange is not None:
        await exchange.shut_down(folder)


async def test_a_run_killed_in_the_middle_of_its_entry_leaves_nothing_open_without_a_stop(
    run: Run,
) -> None:
    await run.until_said("guard: process")
    await run.until_planned()
    run.process.kill()
    began_s = monotonic_s()
    await asyncio.sleep(PROMISE_S)

    is_open, orders = await run.look()

    assert monotonic_s() - began_s < PROMISE_S + 2
    assert not is_open or any(order.is_close_position for order in orders)


async def test_a_run_that_stood_still_goes_on_with_one_stop_and_says_what_happened(
    run: Run,
) -> None:
    await run.until_said("long")
    run.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.5)
    run.process.send_signal(signal.SIGCONT)
    said = await run.until_said("the guard had taken over")
    await asyncio.sleep(1.0)

    is_open, orders = await run.look()

    assert "reading the account" in said
    assert run.process.poll() is None
    assert is_open
    assert len([order for order in orders if order.type == "STOP_MARKET"]) == 1


async def test_the_guard_of_a_run_that_ended_in_order_ends_with_it(run: Run) -> None:
    await run.until_said("guard: process")
    await run.until_said("long")
    run.process.send_signal(signal.SIGINT)
    code = await asyncio.to_thread(run.process.wait, GENEROUS_S)
    async with asyncio.timeout(GENEROUS_S):
        while holder_of(run.folder, GUARD_LOCK) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    assert code == 130
    assert not (run.folder / "guard.json").exists()


async def test_a_run_whose_guard_was_killed_starts_another_and_goes_on(run: Run) -> None:
    await run.until_said("long")
    guard = running_guard(run.folder)
    assert guard is not None
    os.kill(guard.pid, signal.SIGKILL)
    await run.until_said("the guard is lost")
    async with asyncio.timeout(GENEROUS_S):
        while (running_guard(run.folder) or guard).pid == guard.pid:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await asyncio.sleep(1.5)

    is_open, orders = await run.look()

    assert run.process.poll() is None
    assert is_open
    assert len([order for order in orders if order.type == "STOP_MARKET"]) == 1


async def test_the_next_run_takes_over_from_the_guard_of_the_one_that_was_killed(
    run: Run, tmp_path: Path, script: Path
) -> None:
    await run.until_said("long")
    first = running_guard(run.folder)
    run.process.kill()
    await asyncio.to_thread(run.process.wait)
    await asyncio.sleep(0.5)
    again = await asyncio.to_thread(milo, tmp_path, "--script", str(script), *RUN, "--seconds", "2")

    assert again.code == 0, again.err
    assert first is not None
    assert f"guard: process {first.pid}" in again.out
    assert "adopted long" in again.out


def test_a_run_without_guard_warns(tmp_path: Path, script: Path) -> None:
    done = milo(tmp_path, "--script", str(script), *RUN, "--no-guard", "--seconds", "1")

    assert done.code == 0, done.err
    assert "guard: process" not in done.out
    assert "no guard (--no-guard)" in done.err


@pytest.mark.parametrize("arguments", [("--loop", "--speed", "max", "--candles", "2"), ()])
def test_stepped_runs_and_single_evaluations_need_no_guard(
    tmp_path: Path, script: Path, arguments: tuple[str, ...]
) -> None:
    done = milo(tmp_path, "--script", str(script), *arguments)

    assert done.code == 0, done.err
    assert "guard" not in done.out + done.err
