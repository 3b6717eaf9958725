"""Ctrl-C, SIGTERM and sudden death of a run: what stays, and how the next one begins."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .commands import command_line, environment, milo

ALWAYS_LONG = (
    'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = True\n'
    'action_if_true = "long(1%risk@2x,sl=20%,rr=3)"\n'
)
GENEROUS_S = 20


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs; killed at the end if it still does."""
    process = subprocess.Popen(
        command_line(folder, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(),
        # A suite that runs in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            address = next((folder / "data").glob("*/exchange.json"), None)
            if address is not None:
                os.kill(json.loads(address.read_text())["pid"], signal.SIGTERM)


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Return what the command printed up to the line that holds `text`."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came: {seen}")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "always.script"
    path.write_text(ALWAYS_LONG)
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_leaves_position_stop_and_target_in_place(
    tmp_path: Path, script: Path, number: signal.Signals, code: int
) -> None:
    with running(tmp_path, "--script", str(script), "--loop", "live", "--no-chart") as process:
        wait_for(process, "target")
        process.send_signal(number)
        assert process.wait(GENEROUS_S) == code

    listed = milo(tmp_path, "--listopenpositions")

    assert "BTCUSDT long" in listed.out
    assert "BTCUSDT long  protected" in listed.out
    assert "target none" not in re.sub(" +", " ", listed.out)


def test_a_run_after_sudden_death_adopts_the_position(tmp_path: Path, script: Path) -> None:
    arguments = ("--script", str(script), "--loop", "live", "--no-chart")
    with running(tmp_path, *arguments) as process:
        wait_for(process, "target")
        process.kill()
        process.wait(GENEROUS_S)
        again = milo(tmp_path, *arguments, "--seconds", "2")

    assert again.code == 0, again.err
    assert "open: BTCUSDT long" in again.out


def test_a_replay_after_sudden_death_starts_afresh(tmp_path: Path, script: Path) -> None:
    market = tmp_path / "market.csv"
    rows = [f"{1_700_006_400_000 + i * 3_600_000},100,103,98,101,5" for i in range(200)]
    market.write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    replay = ("--market", str(market), "--script", str(script), "--loop", "--no-chart")

    with running(tmp_path, *replay, "--speed", "600") as process:
        wait_for(process, "history from")
        process.kill()
        process.wait(GENEROUS_S)
        again = milo(tmp_path, *replay, "--speed", "max", "--candles", "3")

    assert again.code == 0, again.err
    assert "balance 10,000.00 ->" in again.out


def test_a_second_run_on_the_same_venue_is_refused(tmp_path: Path, script: Path) -> None:
    arguments = ("--script", str(script), "--loop", "--no-chart")
    with running(tmp_path, *arguments) as process:
        wait_for(process, "history from")
        second = milo(tmp_path, *arguments)

    assert second.code == 2
    assert "another Milo trades" in second.err
