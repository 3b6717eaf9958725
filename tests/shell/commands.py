"""Running Milo's commands as a user does: real processes in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from milo.candles import Candles

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return an environment without any MILO_* of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILO_")}
    return kept | {"PYTHONWARNINGS": "default"} | (extra or {})


def command_line(folder: Path, *arguments: str) -> list[str]:
    """Return the command with its data directory inside `folder`."""
    return [
        sys.executable,
        str(PROJECT / "main.py"),
        *arguments,
        "--data-dir",
        str(folder / "data"),
    ]


def milo(
    folder: Path,
    *arguments: str,
    text: str = "",
    env: dict[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Finished:
    """Run a command to its end, `text` as its standard input."""
    done = subprocess.run(
        command_line(folder, *arguments),
        input=text,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(env),
        timeout=timeout_s,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def stored(
    folder: Path,
    candles: Candles,
    symbol: str = "BTCUSDT",
    interval: str = "1h",
    *,
    wider: float = 0.01,
) -> None:
    """Import candles into the folder's history, highs and lows `wider` apart from the bodies."""
    file = folder / "candles.csv"
    rows = [
        f"{row.open_ms},{row.open:.2f},{row.high + wider:.2f},{row.low - wider:.2f},"
        f"{row.close:.2f},{row.volume:.3f}"
        for row in candles
    ]
    file.write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    done = milo(folder, "--import-klines", str(file), "--symbol", symbol, "--interval", interval)
    assert done.code == 0, done.err
