"""How far a backtest can be believed: a grade, and the reasons in words (layer 1).

The grade says nothing about how good the strategy is. It counts what the run had to assume and
how little it saw. Each row of `CHECKS` measures one thing; above (or below) its first threshold it
costs `DOUBT` points, beyond the second `HARM` points; the sum gives the letter by `GRADES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from milo.backtest.described import RunDescription
from milo.backtest.ledger import FillAt, Intrabar, Ledger, Trade
from milo.backtest.stats import Stats
from milo.money import ZERO

DOUBT = 1
HARM = 3
YES_OR_NO = "yes or no"
GRADES = (("A", 1), ("B", 3), ("C", 6), ("D", 9))
"""The most points of each letter; more are an F."""
BEST_SHARE = 0.05
"""The best trades are the best twentieth of them, one at the least."""


class Finding(StrEnum):
    """What a check found."""

    FINE = "fine"
    DOUBT = "doubt"
    HARM = "harm"
    UNKNOWN = "unknown"
    """There was nothing to measure."""


class Evidence(NamedTuple):
    """What the checks look at."""

    ledger: Ledger
    stats: Stats
    description: RunDescription
    closed: tuple[Trade, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row: a number, and from where on it casts doubt or does harm."""

    key: str
    measure: Callable[[Evidence], float | None]
    """None where there is nothing to measure."""
    doubt: float
    harm: float
    is_low_bad: bool = False
    """Whether a number below the thresholds is what casts doubt, not one above."""
    label: str
    """What is measured, in words."""
    form: str
    """How its number is shown: a format, or `YES_OR_NO`."""
    why: str
    """Why a bad number casts doubt."""

    @property
    def limits(self) -> tuple[str, str]:
        """From where on the number casts doubt and does harm, as text; "--" for never."""
        if self.form == YES_OR_NO:
            return ("--", "yes") if self.harm < self.doubt else ("yes", "--")
        sign = "<" if self.is_low_bad else ">"
        return (f"{sign} {self.shown(self.doubt)}", f"{sign} {self.shown(self.harm)}")

    def shown(self, value: float) -> str:
        if self.form == YES_OR_NO:
            return "yes" if value else "no"
        return format(value, self.form).replace("%", " %")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found; `shown` is its number as text, "--" where there is none."""

    check: Check
    finding: Finding
    value: float | None
    shown: str

    @property
    def reason(self) -> str:
        """One line: what was measured, and why that casts doubt where it does."""
        line = f"{self.check.label}: {self.shown}"
        is_bad = self.finding in (Finding.DOUBT, Finding.HARM)
        return f"{line}, {self.check.why}" if is_bad else line


@dataclass(frozen=True, slots=True, kw_only=True)
class Realism:
    """The grade of a run and all that it was made of, in the order of `CHECKS`."""

    grade: str
    """A to D or F."""
    points: int
    results: tuple[CheckResult, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What cost points, the worst first."""
        order = (Finding.HARM, Finding.DOUBT)
        return tuple(
            result.reason
            for finding in order
            for result in self.results
            if result.finding is finding
        )


def judge(ledger: Ledger, stats: Stats, description: RunDescription) -> Realism:
    """Return the grade of a run; F where no trade was closed, whatever the points."""
    closed = tuple(trade for trade in ledger.trades if not trade.is_open)
    evidence = Evidence(ledger, stats, description, closed)
    results = tuple(_result(check, evidence) for check in CHECKS)
    costs = {Finding.DOUBT: DOUBT, Finding.HARM: HARM}
    points = sum(costs.get(result.finding, 0) for result in results)
    grade = next((letter for letter, most in GRADES if points <= most), "F")
    return Realism(grade=grade if closed else "F", points=points, results=results)


def _result(check: Check, evidence: Evidence) -> CheckResult:
    value = check.measure(evidence)
    if value is None:
        return CheckResult(check=check, finding=Finding.UNKNOWN, value=None, shown="--")
    finding = _finding(check, value)
    return CheckResult(check=check, finding=finding, value=value, shown=check.shown(value))


def _finding(check: Check, value: float) -> Finding:
    sign = -1 if check.is_low_bad else 1
    if sign * value > sign * check.harm:
        return Finding.HARM
    return Finding.DOUBT if sign * value > sign * check.doubt else Finding.FINE


def _share(counts: Callable[[Trade], bool]) -> Callable[[Evidence], float | None]:
    """Return a measure: the share of closed trades that count."""

    def measured(evidence: Evidence) -> float | None:
        closed = evidence.closed
        return sum(map(counts, closed)) / len(closed) if closed else None

    return measured


def _best_trades(evidence: Evidence) -> float | None:
    """Return how much of what the won trades brought the best ones did; None where none was won.

    Of the net profit it would be no measure: any small edge is made of less than its best trades.
    """
    nets = sorted((net for trade in evidence.closed if (net := trade.net) > 0), reverse=True)
    if not nets:
        return None
    best = nets[: ceil(len(evidence.closed) * BEST_SHARE)]
    return float(sum(best, ZERO) / sum(nets, ZERO))


def _ambiguous(evidence: Evidence) -> float | None:
    # The rule decides them where no finer candles do; the ledger counts those that were left.
    closed = len(evidence.closed)
    return evidence.ledger.ambiguous / closed if closed else None


def _unknown_funding(evidence: Evidence) -> float | None:
    ledger = evidence.ledger
    return ledger.unknown_settlements / ledger.settlements if ledger.settlements else None


def _trades_per_input(evidence: Evidence) -> float | None:
    inputs = evidence.description.input_count
    return len(evidence.closed) / inputs if inputs else None


def _failed(evidence: Evidence) -> float | None:
    description = evidence.description
    failed = sum(script.error_count for script in description.scripts)
    return failed / description.decided if description.decided else None


CHECKS: tuple[Check, ...] = (
    Check(
        key="trades",
        label="closed trades",
        form=",.0f",
        measure=lambda evidence: len(evidence.closed),
        doubt=100,
        harm=30,
        is_low_bad=True,
        why="too few to tell skill from luck",
    ),
    Check(
        key="days",
        label="days tested",
        form=",.1f",
        measure=lambda evidence: evidence.stats.days,
        doubt=180,
        harm=30,
        is_low_bad=True,
        why="too short to have seen different markets",
    ),
    Check(
        key="trades_per_input",
        label="closed trades per input",
        form=",.1f",
        measure=_trades_per_input,
        doubt=30,
        harm=10,
        is_low_bad=True,
        why="the inputs may fit noise",
    ),
    Check(
        key="best_trades",
        label="gross profit from the best 5 % of the trades",
        form=",.0%",
        measure=_best_trades,
        doubt=0.4,
        harm=0.6,
        why="a few trades carry the result",
    ),
    Check(
        key="ambiguous",
        label="exits where stop and target lay in one candle",
        form=",.1%",
        measure=_ambiguous,
        doubt=0.02,
        harm=0.1,
        why="a rule decided them; finer candles (--intrabar) would tell",
    ),
    Check(
        key="unknown_funding",
        label="funding settlements at the assumed rate",
        form=",.0%",
        measure=_unknown_funding,
        doubt=0.05,
        harm=0.5,
        why="the real rates are not stored",
    ),
    Check(
        key="extremes",
        label="trades filled at the very high or low of a candle",
        form=",.1%",
        measure=_share(lambda trade: trade.is_extreme),
        doubt=0.05,
        harm=0.2,
        why="the market may have only touched the level",
    ),
    Check(
        key="gaps",
        label="exits filled at an open beyond their level",
        form=",.1%",
        measure=_share(lambda trade: trade.is_gap),
        doubt=0.05,
        harm=0.2,
        why="what happened in between is not known",
    ),
    Check(
        key="liquidations",
        label="liquidations",
        form=",.0f",
        measure=lambda evidence: evidence.ledger.liquidations,
        doubt=0,
        harm=2,
        why="real ones can cost more than the model says",
    ),
    Check(
        key="script_errors",
        label="candles on which the script failed",
        form=",.2%",
        measure=_failed,
        doubt=0,
        harm=0.01,
        why="no order was sent for them",
    ),
    Check(
        key="no_fees",
        label="fees left out",
        form=YES_OR_NO,
        measure=lambda evidence: float(evidence.ledger.assumptions.taker_fee <= 0),
        doubt=1,
        harm=0,
        why="the exchange charges for every fill",
    ),
    Check(
        key="no_slippage",
        label="slippage left out",
        form=YES_OR_NO,
        measure=lambda evidence: float(evidence.ledger.assumptions.slippage <= 0),
        doubt=0,
        harm=1,
        why="market orders and stops fill at worse prices",
    ),
    Check(
        key="fill_at_close",
        label="entries at the close that decided them",
        form=YES_OR_NO,
        measure=lambda evidence: float(evidence.ledger.assumptions.fill_at is FillAt.CLOSE),
        doubt=0,
        harm=1,
        why="that price is gone when the order arrives",
    ),
    Check(
        key="intrabar_guess",
        label="side nearer the open taken to come first",
        form=YES_OR_NO,
        measure=lambda evidence: float(
            evidence.ledger.assumptions.intrabar is Intrabar.NEARER_OPEN
        ),
        doubt=0,
        harm=1,
        why="the candle does not tell the order",
    ),
)
