"""Milo's backtester beside others: `make bench`. What is measured and why: README.md.

Prints how long whole processes take and what memory they need on the same candles with the same
strategy, and which of their trades are not the right ones.
"""

from __future__ import annotations

import argparse
import math
import platform
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.processes import PROJECT, Finished, ProcessFailed, run
from benchmarks.programs import (
    BENCH,
    MILO,
    PEERS,
    Answer,
    Clocks,
    DataSet,
    Milo,
    Missing,
    Peer,
    Program,
)
from benchmarks.trades import WARM_UP, BenchTrade, compare, right_trades

STORMY, STORMY_SIGMA = 4_000, 0.06
"""Candles of the second comparison, so wild that trades end in their entry's candle, and that some
candles hold stop and target both."""
REAL = PROJECT.parent / "shared" / "data" / "klines" / "BTCUSDT_15m_perp_2025-08_2025-12.csv.gz"
_SHOWN_DIFFERENCES = 5


@dataclass(kw_only=True)
class Measured:
    """One program on one data set."""

    answer: Answer
    runs: list[Finished] = field(default_factory=list)
    clocks: list[Clocks] = field(default_factory=list)

    def add(self, program: Program, done: Finished) -> None:
        """Keep a timed run."""
        self.runs.append(done)
        told = program.clocks(done)
        if told is not None:
            self.clocks.append(told)

    @property
    def own_s(self) -> tuple[float, ...]:
        """The medians of import, load and run; nothing where the program tells nothing."""
        if not self.clocks:
            return ()
        told = [(clock.import_s, clock.load_s, clock.run_s) for clock in self.clocks]
        return tuple(statistics.median(values) for values in zip(*told, strict=True))

    @property
    def wall_s(self) -> float:
        return statistics.median(done.wall_s for done in self.runs)

    @property
    def cpu_s(self) -> float:
        return statistics.median(done.cpu_s for done in self.runs)

    @property
    def memory_mb(self) -> float:
        return max(done.memory_mb for done in self.runs)


Results = dict[str, Measured]
"""By the program's name."""


def made_up(name: str, count: int, *, sigma: float | None = None) -> DataSet:
    """Return made-up 1-minute candles, written where they are not yet there."""
    words = ["--count", str(count), *(["--sigma", str(sigma)] if sigma else [])]
    return _written(name, words, interval="1m")


def real() -> DataSet | None:
    """Return candles of an exchange, if they lie beside the project."""
    return _written("real", ["--file", str(REAL)], interval="15m") if REAL.exists() else None


def _written(name: str, words: Sequence[str], *, interval: str) -> DataSet:
    # In a process of its own, so that this one stays small: see Finished.memory_mb.
    folder = BENCH / "data" / name
    source = Path(__file__).with_name("candles.py").read_text()
    stamp, wanted = folder / "made.txt", f"{words}\n{source}"
    if not stamp.exists() or stamp.read_text() != wanted:
        # What programs have made of the former candles goes with them.
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "benchmarks.candles", folder, *words])
        stamp.write_text(wanted)
    return DataSet(name=name, folder=folder, interval=interval, tick=0.1)


def installed(names: Sequence[str], milo: Path) -> list[Program]:
    """Return the programs that can be run here; say in one line each why another cannot."""
    programs: list[Program] = []
    for program in (Milo(milo), *(Peer(name) for name in names)):
        try:
            program.install()
        except (Missing, ProcessFailed) as reason:
            print(f"left out: {program.name}: {reason}")
        else:
            programs.append(program)
    return programs


def measured(programs: Sequence[Program], data: DataSet, runs: int) -> Results:
    """Run each program once for its trades, then all of them in turn, `runs` times.

    Ctrl-C ends that; what was measured until then is returned.
    """
    results: Results = {}
    try:
        for turn in range(runs + 1):
            for program in programs:
                _take_turn(program, data, turn, results)
    except KeyboardInterrupt:
        print(f"\nstopped on {data.name}: what follows is what was measured until now")
    return results


def _take_turn(program: Program, data: DataSet, turn: int, results: Results) -> None:
    name = program.name
    try:
        if not turn:
            program.prepare(data)
            results[name] = Measured(answer=program.answer(data))
        elif name in results:
            results[name].add(program, program.timed(data))
    except ProcessFailed as failure:
        print(f"left out on {data.name}: {name}: {failure}")
        results.pop(name, None)


def print_times(data: DataSet, results: Results, smaller: Results | None, factor: float) -> None:
    """Print the table of times; `smaller` has the results on 1 / `factor` of the candles."""
    results = {name: one for name, one in results.items() if one.runs}
    milo = results.get(MILO)
    print(f"\n{data.name}: whole processes, start to printed result, medians")
    print(
        f"{'':<13}{'version':<12}{'wall s':>8}{'(least - most)':>18}{'x Milo':>8}{'cpu s':>8}"
        f"{'x Milo':>8}{'memory MB':>11}{'growth':>8}   by its own clock: import, load, run s"
    )
    for name, one in results.items():
        walls = [done.wall_s for done in one.runs]
        ratio = f"{one.wall_s / milo.wall_s:.1f}" if milo else "--"
        cpu_ratio = f"{one.cpu_s / milo.cpu_s:.1f}" if milo else "--"
        growth = "--"
        if smaller and name in smaller and smaller[name].runs:
            growth = f"{math.log(one.wall_s / smaller[name].wall_s, factor):.2f}"
        own = ", ".join(f"{seconds:.2f}" for seconds in one.own_s) or "--"
        spread = f"({min(walls):.2f} - {max(walls):.2f})"
        print(
            f"{name:<13}{one.answer.version:<12}{one.wall_s:>8.2f}{spread:>18}{ratio:>8}"
            f"{one.cpu_s:>8.2f}{cpu_ratio:>8}{one.memory_mb:>11.0f}{growth:>8}   {own}"
        )
    if milo and milo.answer.note:
        print(f"milo: {milo.answer.note}")


def print_trades(data: DataSet, results: Results) -> None:
    """Print how each program's trades compare with the right ones."""
    # As late as can be, for this process grows: see Finished.memory_mb.
    import numpy as np

    rows = np.load(data.array).tolist()
    right = right_trades(rows, data.tick)
    warm_until_ms = int(rows[min(WARM_UP, len(rows) - 1)][0])
    ambiguous = sum(trade.is_ambiguous for trade in right)
    within = sum(trade.is_within_one_candle for trade in right)
    print(
        f"\n{data.name}: {len(rows):,} candles, {len(right)} right trades, {ambiguous} of them "
        f"ambiguous, {within} within their entry's candle"
    )
    for name, one in results.items():
        found = compare(right, one.answer.trades, tick=data.tick, warm_until_ms=warm_until_ms)
        print(
            f"{name:<13}{found.found:>5} trades: {found.equal} equal, {found.same_candles} in the "
            f"same candles{'; ' if found.differences else ''}"
            + ", ".join(f"{count} {reason}" for reason, count in found.reasons.most_common())
        )
        for difference in found.differences[:_SHOWN_DIFFERENCES]:
            print(
                f"{'':<15}{difference.reason}: right {_shown(difference.right)}, "
                f"found {_shown(difference.found)}"
            )


def _shown(trade: BenchTrade | None) -> str:
    if trade is None:
        return "none"
    entry, exit_ = (
        f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} at {price:.2f}"
        for time_ms, price in (
            (trade.entry_ms, trade.entry_price),
            (trade.exit_ms, trade.exit_price),
        )
    )
    return f"{entry} to {exit_}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Milo's backtester beside others")
    parser.add_argument("--candles", type=int, default=1_000_000, help="and a tenth of them")
    parser.add_argument("--runs", type=int, default=3, help="of each program, in turn (3)")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--milo", type=Path, default=PROJECT / "main.py", help="its main.py")
    given = parser.parse_args()
    names = [name for name in given.peers.split(",") if name]
    if unknown := set(names) - set(PEERS):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    if given.runs < 1 or given.candles < 1_000:
        parser.error("at least 1 run and 1,000 candles")
    BENCH.mkdir(exist_ok=True)
    programs = installed(names, given.milo.resolve())
    few, many = (made_up(str(n), n) for n in (given.candles // 10, given.candles))
    stormy = made_up("stormy", STORMY, sigma=STORMY_SIGMA)
    print(f"Python {platform.python_version()}, {given.runs} runs of each program in turn")
    on_few = measured(programs, few, given.runs)
    print_times(few, on_few, None, 1)
    on_many = measured(programs, many, given.runs)
    print_times(many, on_many, on_few, given.candles / (given.candles // 10))
    compared = [(many, on_many), (stormy, measured(programs, stormy, 0))]
    market = real()
    if market is None:
        print("\nno candles of an exchange beside the project: that comparison is left out")
    else:
        compared.append((market, measured(programs, market, 0)))
    for data, results in compared:
        print_trades(data, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
