"""What a chaos run shows: its table, its counts, and the page that records it."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.judge import (
    BOOKS,
    DURING_PAUSE,
    EXPOSED,
    INVARIANTS,
    LEFT_OVER,
    STOPS_CANCELLED,
    TWICE,
    exposure_sums,
)
from tests.chaos.run import INSTANT, Outcome
from tests.chaos.schedule import FAULT_NAMES, STEPS

TEXTS = {
    EXPOSED: "wall time without a confirmed stop or a closing order, beyond 3 s, ms",
    TWICE: "orders executed twice for one intent",
    LEFT_OVER: "orders of ours left over once a position is flat (after 5 s)",
    BOOKS: "differences between book, journal and ledger after recovery",
    STOPS_CANCELLED: "stops cancelled because a snapshot failed",
    DURING_PAUSE: "requests during a 429/418 pause, except those that protect",
}
FEWEST_WITH_END = 0.5
"""So many of the runs must see a stop, a target or a liquidation."""

STALL_MS = 100.0
FEW_RUNS = 10
FULL_RUNS = 200
FEWEST_FAULTS = 1_000
FEWEST_KILLS = 200


@dataclass(slots=True, kw_only=True)
class Totals:
    """The sums over all runs."""

    runs: int = 0
    values: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    with_end: int = 0
    trades: int = 0
    exits: int = 0
    crashes: list[str] = field(default_factory=list)
    left_processes: int = 0
    newcomers: int = 0
    unheard: int = 0
    all_ms: float = 0.0
    subtracted_ms: float = 0.0
    longest_ms: float = 0.0
    longest_rest_ms: float = 0.0
    intervals: int = 0
    longest_run_s: float = 0.0
    longest_stall_ms: float = 0.0

    def add(self, outcome: Outcome) -> None:
        verdict = outcome.verdict
        self.runs += 1
        for name in INVARIANTS:
            self.values[name] += round(verdict.value(name))
        self.faults.update(verdict.faults)
        self.hits.update(verdict.hits)
        self.kills.update(who for who, _ in outcome.kills)
        self.steps.update(step for _, step in outcome.kills)
        for name in ("stop", "target", "liquidation"):
            self.ends[name] += getattr(verdict, f"has_{name}")
        self.with_end += verdict.has_end
        self.trades += verdict.trades
        self.exits += len(outcome.exits)
        self.crashes += [f"run {outcome.plan.number}: {text}" for text in outcome.crashes]
        self.left_processes += outcome.left_processes
        self.newcomers += verdict.requests_of_newcomers
        self.unheard += verdict.unheard_pauses
        sums = exposure_sums(verdict.exposures)
        self.intervals += len(verdict.exposures)
        self.all_ms += sums["all_ms"]
        self.subtracted_ms += sums["subtracted_ms"]
        self.longest_ms = max(self.longest_ms, sums["longest_ms"])
        self.longest_rest_ms = max(self.longest_rest_ms, sums["longest_rest_ms"])
        self.longest_run_s = max(self.longest_run_s, outcome.seconds)
        self.longest_stall_ms = max(self.longest_stall_ms, outcome.stall_ms)

    @property
    def kill_count(self) -> int:
        return sum(self.kills.values())

    @property
    def fault_count(self) -> int:
        return sum(self.faults.values())

    @property
    def is_good(self) -> bool:
        return not any(self.values.values())


def progress_line(outcome: Outcome) -> str:
    """Return the line of one run."""
    verdict = outcome.verdict
    sums = exposure_sums(verdict.exposures)
    kills = " ".join(f"{who}@{step}" for who, step in outcome.kills) or "no kill"
    ends = [name for name in ("stop", "target", "liquidation") if getattr(verdict, f"has_{name}")]
    state = "ok" if outcome.is_good else "BREACH"
    return (
        f"run {outcome.plan.number:4d} {state:6s} {outcome.seconds:4.1f} s"
        f"  faults {sum(verdict.faults.values()):2d}  trades {verdict.trades:3d}"
        f"  longest exposure {sums['longest_rest_ms']:4.0f} ms  {kills}  {'+'.join(ends) or '-'}"
        + (f"  [{len(outcome.exits)} own ends]" if outcome.exits else "")
        + (f"  [{len(outcome.crashes)} CRASHES]" if outcome.crashes else "")
    )


def breach_lines(outcome: Outcome, command: str) -> list[str]:
    """Return what to say of a broken promise: what, the evidence's place, how to repeat."""
    lines = [f"  {finding.invariant}: {finding.text}" for finding in outcome.verdict.findings[:12]]
    more = len(outcome.verdict.findings) - 12
    if more > 0:
        lines.append(f"  ... and {more} more")
    lines.append(f"  evidence: {outcome.folder / 'findings.json'}")
    if outcome.stall_ms > STALL_MS:
        lines.append(f"  the machine was overloaded: a pause of {outcome.stall_ms:.0f} ms")
    return [*lines, f"  repeat:   {command}"]


def table(totals: Totals) -> list[str]:
    """Return the issue's table with the measured values, in Markdown."""
    lines = ["| invariant | allowed | measured |", "|---|---|---|"]
    lines += [f"| {TEXTS[name]} | 0 | {totals.values[name]} |" for name in INVARIANTS]
    lines.append(
        f"| runs | 200 with 1,000+ faults and 200+ kills | {totals.runs} with"
        f" {totals.fault_count:,} faults and {totals.kill_count} kills |"
    )
    return lines


def details(totals: Totals) -> list[str]:
    """Return the counts behind the table, as a Markdown list."""
    share = totals.with_end / totals.runs if totals.runs else 0.0
    return [
        f"- time without stop or closing order: {totals.intervals:,} intervals,"
        f" {totals.all_ms / 1000:.1f} s in all, of which {totals.subtracted_ms / 1000:.1f} s while"
        " the schedule made the exchange unreachable or made it refuse protection;"
        f" the longest {totals.longest_ms:.0f} ms, without that time"
        f" {totals.longest_rest_ms:.0f} ms",
        f"- runs with a stop, a target or a liquidation: {totals.with_end} of {totals.runs}"
        f" ({share:.0%}): {_listed(totals.ends)}; {totals.trades:,} executions",
        f"- faults: {_listed(totals.faults)}",
        f"- requests that a fault hit: {_listed(totals.hits)}",
        f"- kill -9: {_listed(totals.kills)}; by step: {_listed(totals.steps)}",
        f"- ends of the engine by itself, explained (its start refused by a fault): {totals.exits};"
        f" crashes: {len(totals.crashes)}",
        f"- requests in a pause by a process started in it and not told yet: {totals.newcomers};"
        f" pauses that nobody was told of, because who had asked was killed: {totals.unheard}",
        f"- processes left behind: {totals.left_processes}; longest run"
        f" {totals.longest_run_s:.1f} s; longest time without a turn of the processor"
        f" {totals.longest_stall_ms:.0f} ms",
    ]


def _listed(counts: Counter[str]) -> str:
    named = [(name, count) for name, count in counts.most_common() if count]
    return ", ".join(f"{name} {count}" for name, count in named) or "none"


def shortfalls(totals: Totals) -> list[str]:
    """Return what else is wrong: crashes, and what makes the runs too weak to prove anything."""
    found = []
    if totals.runs >= FEW_RUNS and totals.with_end < FEWEST_WITH_END * totals.runs:
        found.append("fewer than half of the runs saw a stop, a target or a liquidation")
    if totals.runs >= FULL_RUNS:
        found += [f"no engine was killed at {step}" for step in STEPS if not totals.steps[step]]
        found += [f"the fault {name} never came" for name in FAULT_NAMES if not totals.faults[name]]
        if totals.fault_count < FEWEST_FAULTS:
            found.append(f"only {totals.fault_count} faults")
        if totals.kill_count < FEWEST_KILLS:
            found.append(f"only {totals.kill_count} kills")
    found += [f"an engine crashed in {text}" for text in totals.crashes]
    if totals.left_processes:
        found.append(f"{totals.left_processes} processes were left behind")
    return found


def page(totals: Totals, *, seed: int, jobs: int, notes: Sequence[str]) -> str:
    """Return docs/chaos.md."""
    lines = [
        "# The chaos run",
        "",
        "Engine, guard and embedded exchange as processes, on recorded candles at speed 60, with"
        " random faults of the exchange and kill -9 of engine and guard, at random instants and at"
        " every named step of an entry. The exchange's own ledger is the judge"
        " (`tests/chaos/judge.py`, which imports nothing of the product).",
        "",
        f"Seed {seed}, {totals.runs} runs, {jobs} at a time, on {_machine()}. Repeat with"
        f" `make chaos RUNS={totals.runs} SEED={seed} JOBS={jobs}`; one run alone with"
        f" `python -m tests.chaos --seed {seed} --only N`. `OUT=DIR` keeps every ledger (JSONL),"
        " journal and diary of the processes.",
        "",
        *table(totals),
        "",
        *details(totals),
        "",
        *_about(),
        *notes,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _about() -> Iterable[str]:
    return (
        "The plan of a run (faults, kills, candles, script) follows from seed and number alone;"
        " how its processes interleave is the machine's own, so that a repeated run meets the same"
        f" faults at other moments of the engine's life. `{INSTANT}` is a kill at a moment of the"
        " clock instead of a step.",
    )


def _machine() -> str:
    model = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = f"{found[0].split(':', 1)[1].strip()} x {len(found)}, " if found else ""
    return f"{model}{platform.system()} {platform.release()}, Python {platform.python_version()}"
