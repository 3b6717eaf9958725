"""Whole processes, measured from outside: from the start to the end, and what they took."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


class ProcessFailed(Exception):
    """A program ended with another exit code than 0; the text is its last line of complaint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A process that ended well."""

    out: str
    wall_s: float
    cpu_s: float
    """Of the process and of those that it started and waited for."""
    memory_mb: float
    """The most that it, or one of those that it started, had in RAM at once (ru_maxrss).

    A forked process begins with the peak of the one that started it: keep that one small.
    """


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command in the project's folder; ProcessFailed where it does not end well."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as complaints:
        began_s = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the benchmark's own commands
            [str(word) for word in command],
            cwd=PROJECT,
            env=plain_environment() if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=complaints,
        )
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall_s = time.perf_counter() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (out, complaints):
            file.seek(0)
        if process.returncode:
            raise ProcessFailed(_complaint(complaints.read() + out.read()))
        return Finished(
            out=out.read(),
            wall_s=wall_s,
            cpu_s=used.ru_utime + used.ru_stime,
            memory_mb=used.ru_maxrss / 1024,
        )


def plain_environment() -> dict[str, str]:
    """Return the environment without settings of Milo that belong to the person who runs this."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}


def _complaint(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1][:200]
