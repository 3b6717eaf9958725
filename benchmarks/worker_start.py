"""How long a locked worker takes to start, what the lock costs, and how much memory each has.

`python -m benchmarks.worker_start [--runs 20]`; ends with exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from milo.script.limits import ScriptLimits
from milo.script.protocol import Ready
from milo.script.worker.backend import backend_of
from milo.script.worker.process import Budget, WorkerProcess

START_GOAL_MS = 400.0
MEMORY_GOAL_MB = 40.0
PROJECT = Path(__file__).resolve().parents[1]
LIMITS = ScriptLimits()
LOCK = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from milo.script.worker import boot
boot.arrange(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
from milo.script.worker import confine, service
service.prepare(4)
before = time.perf_counter_ns()
confine.confine(256)
os.write(4, str(time.perf_counter_ns() - before).encode())
os._exit(0)
"""


async def start() -> tuple[float, float, float, float]:
    """Start a worker; return ms until it is ready and locked, ms of processor time until then,
    and its memory in MB, in all and what it shares with nobody."""
    before_s = time.perf_counter()
    worker = WorkerProcess(memory_mb=LIMITS.memory_mb)
    try:
        ready, _ = await worker.ask(0, b"", Budget(cpu_ms=None, wall_s=LIMITS.start_wall_s))
        took_ms = (time.perf_counter() - before_s) * 1000
        cpu_ms = worker.cpu_ms() or 0.0
        assert isinstance(ready, Ready)
        isolation = backend_of().judge(worker.pid, ready.held)
        assert isolation.is_isolated, isolation.line
        return took_ms, cpu_ms, *memory_mb(worker.pid)
    finally:
        worker.kill("measured")
        await worker.reap()


def memory_mb(pid: int) -> tuple[float, float]:
    """Return a process's memory in all, and what it shares with nobody."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    rows = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    kilobytes = {key: int(value.split()[0]) for key, value in rows}
    return kilobytes["VmRSS"] / 1024, kilobytes["RssAnon"] / 1024


def lock_ms() -> float:
    """Return what closing every lock takes, in a process as the worker's."""
    requests, to_worker = os.pipe()
    from_worker, replies = os.pipe()
    with subprocess.Popen(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-I", "-c", LOCK, str(PROJECT), str(requests), str(replies)],
        pass_fds=(requests, replies),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
    ):
        os.close(replies)
        told = os.read(from_worker, 100)
    for fd in (requests, to_worker, from_worker):
        os.close(fd)
    return int(told) / 1e6


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    await start()
    measured = [await start() for _ in range(runs)]
    starts, busy, memory, private = ([row[index] for row in measured] for index in range(4))
    locks = [lock_ms() for _ in range(runs)]
    print(f"{runs} workers, one after the other")
    print(f"ready and locked: median {statistics.median(starts):.0f} ms, max {max(starts):.0f} ms")
    print(f"processor time of that: median {statistics.median(busy):.0f} ms")
    print(f"memory: median {statistics.median(memory):.1f} MB, its own "
          f"{statistics.median(private):.1f} MB")  # fmt: skip
    print(f"the locks: median {statistics.median(locks):.2f} ms, max {max(locks):.2f} ms")
    is_good = statistics.median(starts) < START_GOAL_MS and max(memory) < MEMORY_GOAL_MB
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
