"""The kill switch of a running engine, by signal, file and command; and the record's replay."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.shell.commands import milo
from tests.shell.test_interruption import GENEROUS_S, running, script, wait_for

__all__ = ["script"]

RUN = ("--loop", "live", "--no-chart")


def read_on(process: subprocess.Popen[str], text: str) -> str:
    """Return what the command says on stderr up to the line that holds `text`."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} never came: {seen}")


def test_a_signal_closes_everything_and_the_run_goes_on_without_opening(
    tmp_path: Path, script: Path
) -> None:
    with running(tmp_path, "--script", str(script), *RUN) as process:
        wait_for(process, "target")
        process.send_signal(signal.SIGUSR1)
        said = read_on(process, "no position of Milo's is open")
        wait_for(process, "trading is halted: SIGUSR1")
        listed = milo(tmp_path, "--listopenpositions")

    assert "kill switch (SIGUSR1)" in said
    assert "no open position" in listed.out


def test_a_file_does_the_same_and_keeps_the_next_run_from_opening(
    tmp_path: Path, script: Path
) -> None:
    with running(tmp_path, "--script", str(script), *RUN) as process:
        wait_for(process, "target")
        (tmp_path / "data" / "KILL").touch()
        read_on(process, "no position of Milo's is open")
    again = milo(tmp_path, "--script", str(script), *RUN, "--seconds", "3")
    (tmp_path / "data" / "KILL").unlink()

    assert "delete it to trade again" in again.err
    assert "stop" not in again.out.replace("stopped", "")
    assert milo(tmp_path, "--listopenpositions").out.startswith("no open position")


def test_close_all_positions_tells_the_engine_first(tmp_path: Path, script: Path) -> None:
    with running(tmp_path, "--script", str(script), *RUN) as process:
        wait_for(process, "target")
        closed = milo(tmp_path, "--closeallpositions", "--yes")
        wait_for(process, "trading is halted")

    assert closed.code == 0, closed.err
    assert f"the engine (process {process.pid})" in closed.out
    assert "every position is closed" in closed.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_is_replayed_to_the_same_commands_however_it_ended(
    tmp_path: Path, script: Path, number: signal.Signals
) -> None:
    with running(tmp_path, "--script", str(script), *RUN) as process:
        wait_for(process, "target")
        os.kill(process.pid, number)
        process.wait(GENEROUS_S)

        replayed = milo(tmp_path, "--replay", "last")
        unknown = milo(tmp_path, "--replay", "nosuchid")

    assert replayed.code == 0, replayed.out
    assert "the same commands, byte for byte" in replayed.out
    assert unknown.code == 2
    assert "has no run 'nosuchid'; newest: " in unknown.err
