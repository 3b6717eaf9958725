"""The programs that the backtest benchmark runs: the peers, each in an environment of its own, and
Milo. Nothing here imports a peer; see README.md for why.
"""

from __future__ import annotations

import json
import sys
import venv
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import PROJECT, Finished, ProcessFailed, plain_environment, run
from benchmarks.trades import BenchTrade
from milo.intervals import open_of

BENCH = PROJECT / ".bench"
PEERS = ("backtesting", "backtrader", "vectorbt", "nautilus", "pynecore")
MILO = "milo"
_PROGRAMS = Path(__file__).resolve().parent / "peers"
_SCRIPT = Path(__file__).resolve().parent / "macd_crossover.script"
_SYMBOL = "BTCUSDT"


Words = list[str | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Candles in `folder`: candles.npy and candles.csv."""

    name: str
    folder: Path
    interval: str
    tick: float

    @property
    def array(self) -> Path:
        return self.folder / "candles.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a program found and told of itself."""

    version: str
    trades: tuple[BenchTrade, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The seconds of a run by the program's own clock."""

    import_s: float
    load_s: float
    run_s: float


class Missing(Exception):
    """A program cannot be run here; the text says why, in one line."""


class Program(ABC):
    """One program under test."""

    name: str

    @abstractmethod
    def install(self) -> None:
        """Make it ready to run on this machine; Missing where it cannot be."""

    @abstractmethod
    def prepare(self, data: DataSet) -> None:
        """Bring the candles into the program's own form, if it has one; ProcessFailed."""

    @abstractmethod
    def timed(self, data: DataSet) -> Finished:
        """Run it as it is measured; ProcessFailed."""

    @abstractmethod
    def answer(self, data: DataSet) -> Answer:
        """Run it for its trades; ProcessFailed."""

    def clocks(self, done: Finished) -> Clocks | None:
        """Return what a timed run told of its own time; None where it tells nothing."""
        return None


class Peer(Program):
    """Another project's backtester, run by the interpreter of its own environment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._python = BENCH / name / "bin" / "python"
        self._program = _PROGRAMS / f"{name}.py"

    def install(self) -> None:
        """Make the environment, if it is not there; Missing with pip's reason."""
        wanted = (_PROGRAMS / f"{self.name}.txt").read_text()
        stamp = BENCH / self.name / "installed.txt"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        print(f"installing {self.name} into {BENCH.name}/{self.name}", flush=True)
        venv.create(BENCH / self.name, with_pip=True)
        pip: Words = [
            self._python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
            "install",
        ]
        try:
            run([*pip, "-r", _PROGRAMS / f"{self.name}.txt"], environment=plain_environment())
        except ProcessFailed as failure:
            raise Missing(str(failure)) from None
        stamp.write_text(wanted)

    def prepare(self, data: DataSet) -> None:
        is_new = _is_newer(data.array, data.array.with_suffix(".ohlcv"))
        if self.name == "pynecore" and is_new:
            run([*self._command(data), "prepare"])

    def timed(self, data: DataSet) -> Finished:
        return run(self._command(data))

    def answer(self, data: DataSet) -> Answer:
        told = json.loads(self.timed(data).out.splitlines()[-1])
        return Answer(
            version=told["version"],
            trades=tuple(_trade(*trade) for trade in told["trades"]),
        )

    def clocks(self, done: Finished) -> Clocks | None:
        told = json.loads(done.out.splitlines()[-1])
        return Clocks(import_s=told["import_s"], load_s=told["load_s"], run_s=told["run_s"])

    def _command(self, data: DataSet) -> Words:
        # -I: a program is named as what it imports, and must not find itself.
        return [self._python, "-I", self._program, data.array, f"{data.tick:g}"]


class Milo(Program):
    """Milo, as a user runs it: candles imported once, then `--backtest` with the report."""

    name = MILO

    def __init__(self, entry: Path) -> None:
        self._entry = entry

    def install(self) -> None:
        """Look whether this version of Milo backtests; Missing where it does not."""
        if "--backtest" not in run([sys.executable, self._entry, "--help"]).out:
            raise Missing("main.py has no --backtest yet")

    def prepare(self, data: DataSet) -> None:
        folder = self._folder(data)
        if _is_newer(data.array, folder / "history.db"):
            command: Words = [
                sys.executable,
                self._entry,
                "--import-klines",
                data.folder / "candles.csv",
            ]
            run([*command, *self._settings(data)])

    def timed(self, data: DataSet) -> Finished:
        return run(self._command(data))

    def answer(self, data: DataSet) -> Answer:
        report = self._folder(data) / "report.json"
        run([*self._command(data), "--json", report])
        told = json.loads(report.read_text())
        proof = told["scripts"][0]["proof"]
        return Answer(
            version=told["milo"],
            trades=tuple(
                _trade(
                    trade["entry_time"],
                    float(trade["entry_price"]),
                    open_of(trade["exit_time"], data.interval),
                    float(trade["exit_price"]),
                )
                for trade in told["trades"]
                if not trade["is_open"]
            ),
            note=proof["text"],
        )

    def _command(self, data: DataSet) -> Words:
        return [
            *(sys.executable, self._entry, "--backtest", "--script", _SCRIPT),
            *("--balance", "1000000", "--fee", "0.05", "--slippage", "0"),
            *("--funding-assumed", "0"),
            *self._settings(data),
        ]

    def _settings(self, data: DataSet) -> Words:
        folder = self._folder(data)
        return ["--symbol", _SYMBOL, "--interval", data.interval, "--data-dir", folder]

    def _folder(self, data: DataSet) -> Path:
        return data.folder / "milo"


def _trade(entry_ms: int, entry_price: float, exit_ms: int, exit_price: float) -> BenchTrade:
    return BenchTrade(
        entry_ms=entry_ms, entry_price=entry_price, exit_ms=exit_ms, exit_price=exit_price
    )


def _is_newer(source: Path, made: Path) -> bool:
    return not made.exists() or made.stat().st_mtime < source.stat().st_mtime
