"""Workers that are started before a backtest is loaded: taken over, large enough, never left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from milo.cli import parse_command_line
from milo.cli.first_workers import first_workers
from milo.config import load_config
from milo.script.limits import ScriptLimits
from milo.script.worker.spares import Spares
from milo.script.worker.spawn import spawn
from milo.store.places import HISTORY, column_folder, most_candles
from script_executor import ScriptExecutor

GOOD = "condition_true = lastclose > 0\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "good.script"
    path.write_text(GOOD, encoding="utf-8")
    return path


def workers_of(*arguments: str, folder: Path) -> list[int]:
    """Return the memory of the workers that a command line starts early; they are ended again."""
    parsed = parse_command_line([*arguments, "--data-dir", str(folder)])
    workers = first_workers(parsed, load_config(parsed.flags, environ={}))
    for worker in workers:
        worker.discard()
        assert worker.process.returncode is not None
    return [worker.memory_mb for worker in workers]


def lay_down(db_path: Path, size: int) -> None:
    column_folder(db_path).mkdir(parents=True)
    with (column_folder(db_path) / "X-1m-0.columns").open("wb") as file:
        file.truncate(size)


def test_only_a_backtest_starts_workers_early_and_one_a_script(tmp_path: Path) -> None:
    scripts = []
    for number in range(9):
        path = tmp_path / f"{number}.script"
        path.write_text(GOOD, encoding="utf-8")
        scripts += ["--script", str(path)]

    assert workers_of("--show-config", folder=tmp_path) == []
    assert workers_of(*scripts[:2], folder=tmp_path) == []
    assert len(workers_of("--backtest", *scripts[:2], folder=tmp_path)) == 1
    assert len(workers_of("--backtest", *scripts, folder=tmp_path)) == min(9, os.cpu_count() or 1)


def test_its_memory_is_for_the_longest_series_that_is_stored(tmp_path: Path, script: Path) -> None:
    limits = ScriptLimits()
    lay_down(tmp_path / HISTORY, 48 * 500_000)
    lay_down(tmp_path / "binance" / "market.db", 48 * 2_000_000)
    (tmp_path / "binance" / "market.db").touch()
    arguments = ("--backtest", "--script", str(script))

    imported = workers_of(*arguments, folder=tmp_path)
    of_a_venue = workers_of(*arguments, "--exchange", "binance", folder=tmp_path)

    assert imported == [limits.memory_for(500_000)]
    assert of_a_venue == [limits.memory_for(2_000_000)]
    assert most_candles(tmp_path / "empty" / HISTORY) == 0


async def test_a_worker_that_is_starting_is_taken_over(script: Path) -> None:
    early = [spawn(300)]
    started = early[0].process.pid
    executor = ScriptExecutor(script, spares=Spares(early=early))

    await executor.start()
    pid = executor.pid
    await executor.close()

    assert pid == started
    assert early == []


async def test_one_that_is_too_small_is_left_to_be_discarded(script: Path) -> None:
    early = [spawn(64)]
    executor = ScriptExecutor(script, spares=Spares(early=early))

    await executor.start()
    pid = executor.pid
    await executor.close()

    assert [worker.process.pid for worker in early] != [pid]
    await asyncio.to_thread(early[0].discard)
    assert early[0].process.returncode is not None


async def test_one_that_died_while_it_started_is_told_and_reaped(script: Path) -> None:
    early = [spawn(300)]
    process = early[0].process
    process.kill()
    executor = ScriptExecutor(script, spares=Spares(early=early))

    with pytest.raises(Exception, match="the worker ended") as caught:
        await executor.start()
    await executor.close()

    assert type(caught.value).__name__ == "ScriptError"
    assert process.returncode is not None
