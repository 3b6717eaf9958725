"""Processes that may hold keys are closed to other processes of the same user, and dump no core."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.breach.staging import NOBODY, python_with_libraries, users
from tests.shell.commands import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = 'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = False\naction_if_true = "close"\n'


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a command of Milo as somebody who is not root, where that can be arranged."""
    is_nobody = users()[0] == "nobody"
    with tempfile.TemporaryDirectory(prefix="milo-closed-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "my.script").write_text(SCRIPT)
        options: dict[str, Any] = {}
        python = Path(sys.executable)
        if is_nobody:
            python = python_with_libraries(folder)
            options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        process = subprocess.Popen(
            [python, PROJECT / "main.py", *arguments, "--data-dir", folder / "data"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=folder, env=environment({"HOME": name}), start_new_session=True, **options,
        )  # fmt: skip
        try:
            yield process, folder
        finally:
            process.terminate()
            process.communicate(timeout=60)


def is_closed(pid: int) -> bool:
    """Whether the kernel gives the process's files in /proc to root alone, and allows no dump."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    core = next(line for line in limits if line.startswith("Max core file size"))
    return os.stat(f"/proc/{pid}/environ").st_uid == 0 and core.split()[4] == "0"


@pytest.mark.skipif(
    users() == ["runs"] and os.getuid() == 0, reason="everything of root's belongs to root"
)
def test_engine_and_guard_are_closed_to_others() -> None:
    with command("--script", "my.script", "--loop", "--no-chart") as (engine, _):
        assert engine.stdout is not None
        guard = next(line for line in engine.stdout if line.startswith("guard: process "))

        closed = (is_closed(engine.pid), is_closed(int(guard.split()[2])))

    assert closed == (True, True)


@pytest.mark.skipif(
    users() == ["runs"] and os.getuid() == 0, reason="everything of root's belongs to root"
)
def test_a_process_that_asks_for_keys_is_closed_before_it_asks() -> None:
    with command("--set-keys", "binance") as (process, _):
        assert process.stdout is not None
        first = process.stdout.read(1)

        is_first_closed = is_closed(process.pid)

    assert first
    assert is_first_closed


def test_closing_says_that_it_is_closed() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from milo.ops.hardening import harden, is_hardened\n"
        "print(is_hardened(), repr(harden()), is_hardened())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False '' True\n"
