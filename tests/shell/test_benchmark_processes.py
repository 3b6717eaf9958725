"""The benchmark's measure of whole processes, on small processes of our own."""

from __future__ import annotations

import sys

import pytest

from benchmarks.processes import ProcessFailed, run


def test_time_memory_and_output_of_a_process_are_measured() -> None:
    program = "import time; held = b'x' * 60_000_000; time.sleep(0.2); print(len(held))"

    done = run([sys.executable, "-c", program])

    assert done.out == "60000000\n"
    assert done.wall_s >= 0.2
    assert 0 < done.cpu_s < done.wall_s
    assert done.memory_mb > 60


def test_what_a_child_of_the_process_takes_is_in_it() -> None:
    child = "held = b'x' * 60_000_000"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"

    assert run([sys.executable, "-c", program]).memory_mb > 60


def test_a_process_that_fails_is_told_by_its_own_words() -> None:
    with pytest.raises(ProcessFailed, match=r"^ValueError: no candles$"):
        run([sys.executable, "-c", "raise ValueError('no candles')"])


def test_settings_of_the_person_who_runs_it_do_not_reach_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MILO_SYMBOL", "ETHUSDT")

    assert run([sys.executable, "-c", "import os; print('MILO_SYMBOL' in os.environ)"]).out == (
        "False\n"
    )
