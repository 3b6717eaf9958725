"""The realism grade: each check at its thresholds, and what the points add up to."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from milo.backtest.ledger import FillAt, Intrabar, Trade
from milo.backtest.realism import CHECKS, DOUBT, HARM, Finding, Realism
from milo.backtest.report import make_report
from tests.backtest_ledgers import assumptions, description, ledger, trade, walk

A_YEAR_OF_HOURS = (10_000.0,) * (365 * 24)


def many(count: int, **flagged: int) -> tuple[Trade, ...]:
    """Return trades of alternating results; of each flag, the first so many have it."""
    return tuple(
        trade(
            "11" if place % 2 else "-10",
            **{name: place < number for name, number in flagged.items()},
        )
        for place in range(count)
    )


def judged(
    trades: tuple[Trade, ...] = many(400),
    equity: tuple[float, ...] = A_YEAR_OF_HOURS,
    **changes: Any,
) -> Realism:
    return make_report(ledger(trades, equity, **changes), description(walk(10))).realism


def finding(realism: Realism, key: str) -> Finding:
    return next(item.finding for item in realism.results if item.check.key == key)


def test_a_run_without_fault_is_an_a_and_has_no_reasons() -> None:
    realism = judged()

    assert (realism.grade, realism.points, realism.reasons) == ("A", 0, ())
    assert len(realism.results) == len(CHECKS)


@pytest.mark.parametrize(
    ("key", "fine", "doubt", "harm"),
    [
        ("trades", many(100), many(99), many(29)),
        ("extremes", many(400, is_extreme=20), many(400, is_extreme=21), many(400, is_extreme=81)),
        ("gaps", many(400, is_gap=20), many(400, is_gap=21), many(400, is_gap=81)),
        ("trades_per_input", many(60), many(59), many(19)),
        (
            "best_trades",
            many(400),
            (*[trade("1")] * 95, *[trade("13")] * 5),  # 65 of 160
            (*[trade("1")] * 95, *[trade("29")] * 5),  # 145 of 240
        ),
    ],
)
def test_trades_at_the_thresholds(
    key: str, fine: tuple[Trade, ...], doubt: tuple[Trade, ...], harm: tuple[Trade, ...]
) -> None:
    found = [finding(judged(trades), key) for trades in (fine, doubt, harm)]

    assert found == [Finding.FINE, Finding.DOUBT, Finding.HARM]


@pytest.mark.parametrize(
    ("key", "fine", "doubt", "harm"),
    [
        ("ambiguous", {"ambiguous": 8}, {"ambiguous": 9}, {"ambiguous": 41}),
        ("liquidations", {"liquidations": 0}, {"liquidations": 1}, {"liquidations": 3}),
        (
            "unknown_funding",
            {"settlements": 100, "unknown_settlements": 5},
            {"settlements": 100, "unknown_settlements": 6},
            {"settlements": 100, "unknown_settlements": 51},
        ),
        (
            "days",
            {"equity": (1e4,) * 180 * 24},
            {"equity": (1e4,) * 179 * 24},
            {"equity": (1e4,) * 29 * 24},
        ),
    ],
)
def test_the_run_at_the_thresholds(
    key: str, fine: dict[str, Any], doubt: dict[str, Any], harm: dict[str, Any]
) -> None:
    found = [finding(judged(**changes), key) for changes in (fine, doubt, harm)]

    assert found == [Finding.FINE, Finding.DOUBT, Finding.HARM]


@pytest.mark.parametrize(
    ("key", "changes", "expected"),
    [
        ("no_fees", {"taker_fee": Decimal(0)}, Finding.HARM),
        ("no_slippage", {"slippage": Decimal(0)}, Finding.DOUBT),
        ("fill_at_close", {"fill_at": FillAt.CLOSE}, Finding.DOUBT),
        ("intrabar_guess", {"intrabar": Intrabar.NEARER_OPEN}, Finding.DOUBT),
        ("intrabar_guess", {"intrabar": Intrabar.FINER, "finer_interval": "1m"}, Finding.FINE),
    ],
)
def test_assumptions_that_flatter(key: str, changes: dict[str, Any], expected: Finding) -> None:
    realism = judged(assumptions=assumptions(**changes))

    assert finding(realism, key) is expected
    assert len(realism.reasons) == (expected is not Finding.FINE)


def test_what_cannot_be_measured_costs_nothing() -> None:
    lost = tuple(trade("-10") for _ in range(400))

    realism = judged(lost)

    assert finding(realism, "best_trades") is Finding.UNKNOWN
    assert finding(realism, "unknown_funding") is Finding.UNKNOWN
    assert realism.points == 0


def test_points_make_the_grade() -> None:
    doubted = judged(many(400, is_gap=21, is_extreme=21))
    harmed = judged(many(20, is_gap=20, is_extreme=20), liquidations=5)

    assert (doubted.points, doubted.grade) == (2 * DOUBT, "B")
    assert harmed.points >= 4 * HARM
    assert harmed.grade == "F"


def test_a_run_without_closed_trades_is_an_f() -> None:
    assert judged((trade(is_open=True),)).grade == "F"


def test_script_errors_are_a_reason() -> None:
    told = description(walk(10))
    failing = dataclasses.replace(told.scripts[0], error_count=1)

    realism = make_report(
        ledger(many(400), A_YEAR_OF_HOURS), dataclasses.replace(told, scripts=(failing,))
    ).realism

    assert finding(realism, "script_errors") is Finding.HARM  # 1 of 10 candles
    assert realism.reasons == (
        "candles on which the script failed: 10.00 %, no order was sent for them",
    )


def test_the_worst_reasons_come_first() -> None:
    realism = judged(many(20), liquidations=1)

    assert realism.reasons[0].startswith("closed trades: 20, too few")
    assert realism.reasons[-1].startswith("liquidations: 1,")


def test_the_documented_thresholds_are_those_of_the_checks(project_dir: Path) -> None:
    page = (project_dir / "docs/backtest-report.md").read_text()

    rows = {
        cells[1].strip(): cells for line in page.split("\n") if len(cells := line.split("|")) == 6
    }
    for check in CHECKS:
        documented = [cell.strip() or "--" for cell in rows[check.label][2:4]]
        limits = [re.sub(r"(\d)\.0+\b", r"\1", limit) for limit in check.limits]
        assert documented == limits, check.label
