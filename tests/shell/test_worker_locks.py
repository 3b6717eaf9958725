"""What a script may do works inside the locks, and the engine knows which of them hold."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

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
from milo.script.worker.process import Budget, WorkerFailure, WorkerProcess
from milo.ta import INDICATORS
from milo.ta.spec import IndicatorSpec
from tests.core.test_script_language import BENIGN, printed_by_cpython
from tests.script_runs import run, walk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks are Linux's")

PROJECT = Path(__file__).resolve().parents[2]
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
