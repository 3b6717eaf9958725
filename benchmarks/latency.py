"""How long from a candle's close to the entry on the wire: `make bench-latency`.

The whole engine runs as it is, on the embedded exchange: real processes, sockets, script worker and
journal. Measured from outside: from the read of the frame with the closed candle (in the stream's
thread) until the last bytes of the entry's request are handed to the socket. Prints milliseconds;
exit code 1 where p50 or p99 is too long, or an entry is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from asyncio import selector_events
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import websocket

import main as milo
from milo.cli.context import App, Arguments
from milo.cli.run_script import run
from milo.config import load_config
from milo.secret import Secret

P50_LIMIT_MS = 5.0
P99_LIMIT_MS = 20.0
ORDERS_PER_MINUTE = 900
"""The exchange allows 1,200; of those the engine leaves a fifth to orders that protect."""
ORDERS_PER_ENTRY = 3
"""The entry, its stop, and the close."""
CANDLES_PER_ENTRY = 2
STRATEGY = """\
timeframe = "1m"
coin = "BTCUSDT"
phase = data[-1].time // 60000 % 4
condition_true = phase % 2 == 0
action_if_true = "long(5%margin@5x,sl=5%)" if phase == 0 else "short(5%margin@5x,sl=5%)"
action_if_false = "close"
"""


class Stopwatch:
    """Notes when closed candles are read and when entries go out; both ends of the engine."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self._closed_s: float | None = None

    def frame_read(self, frame: bytes) -> None:
        """Note a frame of the stream, as soon as the library gives it."""
        now_s = time.perf_counter()
        if b'"x":true' in frame:
            self._closed_s = now_s

    def bytes_written(self, written: bytes) -> None:
        """Note bytes that the socket was given; only an entry's body ends a measurement."""
        is_entry = b"newClientOrderId=milo-" in written and b"-e&" in written
        if is_entry and self._closed_s is not None:
            self.latencies_ms.append((time.perf_counter() - self._closed_s) * 1000)
            self._closed_s = None


def attach(stopwatch: Stopwatch) -> None:
    """Put the stopwatch around the two libraries' own calls; nothing of Milo is changed."""
    read, write = websocket.WebSocket.recv_data, selector_events._SelectorSocketTransport.write

    def recv_data(self: Any, control_frame: bool = False) -> Any:
        opcode, content = read(self, control_frame)
        stopwatch.frame_read(content)
        return opcode, content

    def handed_over(self: Any, data: Any) -> None:
        write(self, data)
        stopwatch.bytes_written(bytes(data))

    websocket.WebSocket.recv_data = recv_data  # type: ignore[method-assign]
    selector_events._SelectorSocketTransport.write = handed_over  # type: ignore[method-assign]


class Quiet:
    """A console that keeps what is said, and shows warnings only."""

    def say(self, text: str) -> None:
        self.last = text

    def warn(self, text: str) -> None:
        print(text, flush=True)

    def ask(self, prompt: str) -> str:
        raise RuntimeError(prompt)

    def ask_secret(self, prompt: str) -> Secret:
        raise RuntimeError(prompt)


def measure(runs: int, folder: Path) -> list[float]:
    """Return the latencies of `runs` entries, in ms."""
    stopwatch = Stopwatch()
    attach(stopwatch)
    script = folder / "alternate.script"
    script.write_text(STRATEGY)
    candles_per_minute = ORDERS_PER_MINUTE / ORDERS_PER_ENTRY * CANDLES_PER_ENTRY
    flags = {
        "data_dir": str(folder / "data"),
        "speed": f"{candles_per_minute:.0f}",
        "candles": str(runs * CANDLES_PER_ENTRY + CANDLES_PER_ENTRY),
        "no_chart": "true",
    }
    app = App(
        config=load_config(flags, environ={}),
        arguments=Arguments(command="script", scripts=(script,), loop="closed"),
        console=Quiet(),
        make=milo._makers([]),
    )
    with asyncio.Runner() as runner:
        runner.run(run(app))
    return stopwatch.latencies_ms[:runs]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def report(latencies_ms: Sequence[float], runs: int) -> int:
    """Print the figures; return the exit code."""
    ordered = sorted(latencies_ms)
    if len(ordered) < runs:
        print(f"only {len(ordered)} of {runs} entries went out")
        return 1
    p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    shown = f"p50 {p50:.2f}  p90 {p90:.2f}  p99 {p99:.2f}  max {ordered[-1]:.2f} ms"
    print(f"candle close to entry on the wire: n {len(ordered):,}  {shown}")
    print(f"limits: p50 below {P50_LIMIT_MS:g} ms, p99 below {P99_LIMIT_MS:g} ms")
    return int(p50 >= P50_LIMIT_MS or p99 >= P99_LIMIT_MS)


def main() -> int:
    parser = argparse.ArgumentParser(description="latency from candle close to the entry's request")
    parser.add_argument("--runs", type=int, default=1000, help="how many entries (1000)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="milo-latency-") as folder:
        return report(measure(runs, Path(folder)), runs)


if __name__ == "__main__":
    raise SystemExit(main())
