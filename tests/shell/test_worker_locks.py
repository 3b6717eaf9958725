"""What a script may do works inside the locks, and the engine knows which of them hold."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from milo.candles import Candles
from milo.script.names import INDICATOR_NAMES
from milo.script.protocol import (
    Fault,
    Held,
    Loaded,
    LoadOptions,
    Ready,
    Result,
    candle_frames,
    evaluate_frame,
    history_frame,
    load_frame,
)
from milo.script.worker import spawn
from milo.script.worker.backend import LinuxBackend, PlainBackend, backend_of
from milo.script.worker.confine import Lock
from milo.script.worker.process import Budget, WorkerFailure, WorkerProcess
from milo.ta import INDICATORS
from milo.ta.spec import IndicatorSpec
from tests.breach.staging import NOBODY, python_with_libraries, users
from tests.core.test_script_language import BENIGN, printed_by_cpython
from tests.script_runs import run, walk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks are Linux's")

PROJECT = Path(__file__).resolve().parents[2]
WRAPPER = Path(__file__).parent / "without_seccomp.py"
CANDLES = walk(200)
OPTIONS = LoadOptions(name="my.script", max_awaits=200_000, recursion=400)
BUDGET = Budget(cpu_ms=None, wall_s=20)
SOFT_MS = 5_000
TALK = {
    "classify_swing_points": (
        "points = await calculate_zigzag(data)\nx = await {name}(points, data)"
    ),
    "find_extremum_in_window": "x = await {name}([c.close for c in data], 100, 5, 5, True)",
    "detect_divergences": (
        "rsi = await calculate_rsi(data)\npoints = await calculate_zigzag(data)\n"
        "x = await {name}(rsi, points, data)"
    ),
}


class Locked:
    """One real worker, into which any number of texts are loaded, one after the other."""

    def __init__(self) -> None:
        self.process = WorkerProcess(memory_mb=256)
        self._number = 0

    async def start(self) -> Held:
        reply, _ = await self.process.ask(0, b"", BUDGET)
        assert isinstance(reply, Ready)
        assert reply.held is not None
        return reply.held

    async def printed(self, text: str, candles: Candles) -> str:
        """Return what a text prints on the candles; its fault's message where it has one."""
        loaded = await self._ask(lambda n: load_frame(n, SOFT_MS, OPTIONS, text.encode()))
        if not isinstance(loaded, Loaded):
            return repr(loaded)
        sent = history_frame() + candle_frames(candles, 0)
        answer = await self._ask(
            lambda n: sent + evaluate_frame(n, len(candles), SOFT_MS, b"", 1000.0, ())
        )
        return answer.printed if isinstance(answer, Result) else repr(answer)

    async def close(self) -> str:
        self.process.kill("closed")
        return await self.process.reap()

    async def _ask(self, frames: object) -> Loaded | Result | Fault | Ready:
        self._number += 1
        reply, _ = await self.process.ask(self._number, frames(self._number), BUDGET)  # type: ignore[operator]
        return reply


def all_printed(texts: dict[str, str], candles: Candles) -> dict[str, str]:
    """Run every text in one locked worker; where it dies, the rest is missing."""

    async def ask_all() -> dict[str, str]:
        locked = Locked()
        found = {}
        try:
            await locked.start()
            for name, text in texts.items():
                try:
                    found[name] = await locked.printed(text, candles)
                except WorkerFailure as failure:
                    found[name] = f"{failure.text}: {await locked.process.reap()}"
                    break
        finally:
            await locked.close()
        return found

    return asyncio.run(ask_all())


def call_of(spec: IndicatorSpec) -> str:
    """Return a script that calls an indicator and prints what it gives, to the last bit."""
    call = TALK.get(spec.name)
    if call is None:
        source = (
            "data"
            if spec.takes_candles
            else ", ".join(
                f"[c.{'close' if name == 'values' else name} for c in data]" for name in spec.takes
            )
        )
        arguments = ", ".join(map(repr, spec.typical_arguments()))
        call = f"x = await {{name}}({source}{', ' if arguments else ''}{arguments})"
    show = "print(*(x if isinstance(x, tuple) else [x]))"
    return call.format(name=spec.name) + f"\n{show}\nif isinstance(x, list): print(x[-3:])"


# --- everything allowed works -------------------------------------------------------------------


def test_every_allowed_feature_prints_inside_the_locks_what_cpython_prints() -> None:
    expected = {name: printed_by_cpython(text) for name, text in BENIGN.items()}

    assert all_printed(BENIGN, walk(60)) == expected


def test_every_indicator_works_inside_the_locks() -> None:
    assert {spec.name for spec in INDICATORS} == INDICATOR_NAMES
    texts = {spec.name: call_of(spec) for spec in INDICATORS}

    expected = {name: run(text, CANDLES).printed for name, text in texts.items()}

    assert all_printed(texts, CANDLES) == expected


def test_every_sample_works_inside_the_locks() -> None:
    texts = {path.name: path.read_text() for path in (PROJECT / "samples").glob("*.script")}

    expected = {name: run(text, CANDLES).printed for name, text in texts.items()}

    assert len(texts) >= 8
    assert all_printed(texts, CANDLES) == expected


# --- what the engine knows of the locks ---------------------------------------------------------

ALL_LOCKS = tuple(Lock)


async def test_a_real_worker_is_isolated_by_its_own_words_and_the_kernels() -> None:
    locked = Locked()
    try:
        held = await locked.start()
        isolation = LinuxBackend().judge(locked.process.pid, held)
    finally:
        await locked.close()

    assert set(held.locks) >= set(ALL_LOCKS) - {Lock.LANDLOCK}
    assert (Lock.LANDLOCK in held.locks) == (held.landlock > 0)
    assert isolation.is_isolated
    assert isolation.line.startswith("isolated: seccomp, ")


def test_a_worker_that_says_it_is_locked_and_is_not_is_found_out() -> None:
    isolation = LinuxBackend().judge(os.getpid(), Held(locks=ALL_LOCKS, landlock=7))

    assert not isolation.is_isolated
    assert "the kernel says Seccomp 0, NoNewPrivs 0" in isolation.text


@pytest.mark.skipif("nobody" not in users(), reason="needs root, and a Python for others")
def test_a_filter_that_came_from_a_container_does_not_pass_for_the_workers() -> None:
    program = (
        "import os, sys; sys.path[:0] = [sys.argv[1]]\n"
        "from milo.script.protocol import Held\n"
        "from milo.script.worker.backend import LinuxBackend\n"
        "from milo.script.worker.confine import Lock\n"
        "held = Held(locks=tuple(Lock), landlock=7)\n"
        "print(LinuxBackend().judge(os.getpid(), held).line)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        python = python_with_libraries(Path(folder))

        # It has a filter, no new privileges, no capabilities and one thread: all but the lock.
        done = subprocess.run(
            [python, WRAPPER, "1", python, "-I", "-c", program, str(PROJECT)],
            user=NOBODY, group=NOBODY, extra_groups=[], env={"OPENBLAS_NUM_THREADS": "1"}, cwd="/",
            capture_output=True, text=True, check=True,
        )  # fmt: skip

    assert done.stdout == (
        "UNISOLATED: the worker says that it is locked, the kernel says Seccomp_filters 1, as many"
        " as the engine's own\n"
    )


async def test_without_landlock_a_worker_is_isolated_and_that_is_said() -> None:
    locked = Locked()
    try:
        await locked.start()
        held = Held(locks=tuple(set(ALL_LOCKS) - {Lock.LANDLOCK}), landlock=0)
        isolation = LinuxBackend().judge(locked.process.pid, held)
    finally:
        await locked.close()

    assert isolation.is_isolated
    assert "no Landlock in this kernel" in isolation.text


def test_where_proc_hides_the_worker_its_own_words_count_and_that_is_said() -> None:
    nobody_has_it = 2**22 + 1

    isolation = LinuxBackend().judge(nobody_has_it, Held(locks=ALL_LOCKS, landlock=7))

    assert isolation.is_isolated
    assert "as the worker says" in isolation.text


def test_without_seccomp_nothing_is_isolated_whatever_else_holds() -> None:
    held = Held(
        locks=tuple(set(ALL_LOCKS) - {Lock.SECCOMP}), landlock=7, missing="Invalid argument"
    )

    isolation = LinuxBackend().judge(os.getpid(), held)

    assert isolation.line == (
        "UNISOLATED: the kernel gives no filter of system calls (seccomp: Invalid argument);"
        " Landlock 7, limits"
    )


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_a_platform_without_locks_is_never_called_isolated(platform: str) -> None:
    backend = backend_of(platform)

    assert isinstance(backend, PlainBackend)
    assert not backend.judge(os.getpid(), Held(locks=ALL_LOCKS, landlock=7)).is_isolated


# --- the start ----------------------------------------------------------------------------------


async def test_a_worker_with_a_file_too_many_says_so_and_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text("secret")
    popen = subprocess.Popen

    def leaky(*arguments: Any, **options: Any) -> Any:
        with (tmp_path / "keys.json").open() as file:
            options["pass_fds"] = (*options["pass_fds"], file.fileno())
            return popen(*arguments, **options)

    monkeypatch.setattr(spawn.subprocess, "Popen", leaky)
    worker = WorkerProcess(memory_mb=256)

    reply, _ = await worker.ask(0, b"", BUDGET)
    worker.kill("seen")
    await worker.reap()

    assert isinstance(reply, Fault)
    assert reply.message.startswith("the script worker cannot be locked: its open files are [0, 1,")


def test_a_worker_whose_engine_is_gone_already_does_not_stay() -> None:
    """The death signal comes too late for an engine that died while the worker started."""
    requests, to_worker = os.pipe()
    from_worker, replies = os.pipe()
    somebody_else = 1 if os.getpid() != 1 else 2

    with subprocess.Popen(
        [
            sys.executable, "-I", str(spawn.BOOT), str(PROJECT),
            str(requests), str(replies), "256", str(somebody_else), "worker",
        ],
        pass_fds=(requests, replies), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={}, cwd="/",
    ) as worker:  # fmt: skip
        os.close(replies)
        said = os.read(from_worker, 1000)
        code = worker.wait(20)
    for fd in (requests, to_worker, from_worker):
        os.close(fd)

    assert (said, code) == (b"", 0)


@pytest.mark.skipif("nobody" not in users(), reason="needs root, and a Python for others")
def test_an_unprivileged_engine_runs_scripts_locked_in(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib, resource, sys\n"
        "sys.path[:0] = [sys.argv[1]]\n"
        "from script_executor import *\n"
        "from milo.candles import Candles\n"
        "async def main():\n"
        "    executor = ScriptExecutor(pathlib.Path(sys.argv[2]))\n"
        "    print((await executor.start()).isolation.line)\n"
        "    candles = Candles.from_rows([(0, 1, 1, 1, 1, 1)])\n"
        "    account = AccountView(available_balance=1.0)\n"
        "    asked = EvaluationRequest(candles=candles, account=account)\n"
        "    print((await executor.evaluate(asked)).prints)\n"
        "    pid = executor._keeper.worker.process.pid\n"
        "    print(resource.prlimit(pid, resource.RLIMIT_CPU)[0] > 0)\n"
        "    await executor.close()\n"
        "asyncio.run(main())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        script = Path(folder) / "my.script"
        script.write_text("condition_true = True\nprint('it ran')\n")
        python = python_with_libraries(Path(folder))

        done = subprocess.run(
            [python, "-I", "-c", program, str(PROJECT), script],
            user=NOBODY, group=NOBODY, extra_groups=[], env={}, cwd="/",
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert done.stdout.splitlines()[0].startswith("isolated: seccomp, "), done.stderr
    assert done.stdout.splitlines()[1:] == ["('it ran',)", "True"]


def test_limits_alone_are_what_a_platform_without_locks_gets() -> None:
    program = (
        "import resource, sys; sys.path[:0] = [sys.argv[1]]\n"
        "from milo.script.worker.backend import backend_of\n"
        "print(*backend_of('darwin').lock(256).locks)\n"
        "print(*(resource.getrlimit(r)[0] for r in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE,\n"
        "    resource.RLIMIT_NPROC, resource.RLIMIT_MEMLOCK, resource.RLIMIT_NOFILE)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT)], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["limits", "0 0 0 0 8"]
