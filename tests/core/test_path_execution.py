"""Decisions along a path of prices: where orders fill, and what comes first."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from milo.backtest.contract import rules_for
from milo.backtest.path import Asked, Funded, PathExecution, PathFill, PathMarket, Told, play
from milo.exchange.feed import E8
from milo.model import CommissionRate, EntryIntent, ExitIntent, ExitReason
from milo.orders.book import CoreConfig
from milo.script.actions import parse_action
from tests.backtest_markets import START_MS, candles_of

LONG = "long(10%margin@10x,sl=1%,tp=2%)"
SHORT = "short(10%margin@10x,sl=1%,tp=2%)"
TAKER = Decimal("0.0005")
CONTRACT = rules_for("BTCUSDT", candles_of([(50_000.0, 70_000.0, 30_000.0, 50_000.5)]))
MARKET = PathMarket(
    script="s",
    symbol="BTCUSDT",
    contract=CONTRACT,
    fees=CommissionRate(maker=Decimal("0.0002"), taker=TAKER),
)


def told(*prices: float, jumps: Sequence[int] = (), candle: int = 0, first: int = 0) -> list[Told]:
    """Return prices a second apart, those at `jumps` after a gap; all of one candle."""
    return [
        Told((first + n) * 1_000, 0, round(price * E8), candle, n in jumps)
        for n, price in enumerate(prices)
    ]


def asked(action: str, at: int, price: float, candle: int = 0) -> Asked:
    """Return a decision on the price of second `at`."""
    intent = parse_action(action)
    assert isinstance(intent, EntryIntent | ExitIntent)
    close = Decimal(str(price))
    return Asked(at * 1_000, 0, candle, action, intent, close, None, {"BTCUSDT": close})


def fills_of(
    prices: Sequence[Told],
    decisions: Sequence[Asked],
    funded: Sequence[Funded] = (),
    **options: dict[str, int] | dict[str, str],
) -> list[PathFill]:
    return executed(prices, decisions, funded, **options).fills


def executed(
    prices: Sequence[Told],
    decisions: Sequence[Asked],
    funded: Sequence[Funded] = (),
    **options: dict[str, int] | dict[str, str],
) -> PathExecution:
    execution = PathExecution(
        [MARKET], CoreConfig(), run_id="r", balance=Decimal(10_000),
        arrivals=options.get("arrivals"),  # type: ignore[arg-type]
        refused=options.get("refused"),  # type: ignore[arg-type]
    )  # fmt: skip
    play(execution, prices, decisions, funded)
    return execution


def shown(fills: Sequence[PathFill]) -> list[tuple[ExitReason | None, float]]:
    return [(fill.reason, float(fill.price)) for fill in fills]


@pytest.mark.parametrize(
    ("prices", "jumps", "expected"),
    [
        ([50_000, 51_500], (), (ExitReason.TARGET, 51_000)),
        ([50_000, 48_000], (), (ExitReason.STOP, 49_500)),
        ([50_000, 49_500], (), (ExitReason.STOP, 49_500)),
        ([50_000, 51_500], (1,), (ExitReason.TARGET, 51_500)),
        ([50_000, 49_000], (1,), (ExitReason.STOP, 49_000)),
        ([50_000, 50_900, 49_600, 51_500], (), (ExitReason.TARGET, 51_000)),
        ([50_000, 40_000], (1,), (ExitReason.LIQUIDATION, None)),
    ],
)
def test_a_level_ends_the_position_where_the_path_meets_it(
    prices: list[float], jumps: tuple[int, ...], expected: tuple[ExitReason, float | None]
) -> None:
    fills = fills_of(told(*prices, jumps=jumps), [asked(LONG, 0, 50_000)])

    assert shown(fills[:1]) == [(None, 50_000)]
    assert fills[1].reason is expected[0]
    if expected[1] is not None:
        assert float(fills[1].price) == expected[1]


def test_an_insured_loss_is_no_more_than_the_margin() -> None:
    _, end = fills_of(told(50_000, 40_000, jumps=(1,)), [asked(LONG, 0, 50_000)])

    margin = end.qty * 50_000 / 10
    assert -end.realized + end.fee <= margin


def test_one_entry_a_side_and_candle() -> None:
    prices = told(50_000, 51_500, 51_500)
    again = [asked(LONG, 0, 50_000), asked(LONG, 2, 51_500)]
    later = [again[0], asked(LONG, 2, 51_500, candle=1)]

    assert len(fills_of(prices, again)) == 2
    assert len(fills_of(prices, later)) == 3


def test_a_reversal_closes_and_enters_at_the_last_price() -> None:
    fills = fills_of(told(50_000, 50_100), [asked(LONG, 0, 50_000), asked(SHORT, 1, 50_100)])

    assert shown(fills) == [(None, 50_000), (ExitReason.REVERSE, 50_100), (None, 50_100)]
    assert fills[1].order.endswith("-r")
    assert fills[1].realized == 100 * fills[0].qty


def test_a_part_is_closed_and_the_stop_stays_for_the_rest() -> None:
    fills = fills_of(
        told(50_000, 50_100, 49_000), [asked(LONG, 0, 50_000), asked("close(50%)", 1, 50_100)]
    )

    assert shown(fills)[1:] == [(ExitReason.CLOSE, 50_100), (ExitReason.STOP, 49_500)]
    assert fills[1].qty + fills[2].qty == fills[0].qty


def test_fees_are_the_takers_share_of_the_notional() -> None:
    (fill,) = fills_of(told(50_000), [asked(LONG, 0, 50_000)])

    assert fill.fee == fill.qty * fill.price * TAKER


def test_an_order_fills_at_the_price_of_its_arrival() -> None:
    prices = told(50_000, 50_100, 50_200)
    (first,) = fills_of(prices, [asked(LONG, 0, 50_000)])

    (late,) = fills_of(prices, [asked(LONG, 0, 50_000)], arrivals={first.order: 1_500})

    assert (late.order, late.price, late.qty) == (first.order, 50_100, first.qty)


def test_a_refused_entry_does_not_fill() -> None:
    prices = told(50_000, 51_500)
    decision = asked(LONG, 0, 50_000)
    order = fills_of(prices, [decision])[0].order

    execution = executed(prices, [decision], refused={order: "no room"})

    assert not execution.fills
    assert execution.refusals == [(decision, "no room")]


def test_funding_is_settled_at_the_price_of_its_time_before_the_market_moves() -> None:
    execution = executed(
        told(50_000, 50_400, 49_000),
        [asked(LONG, 0, 50_000)],
        [Funded(1_000, 0, rate=10_000)],
    )

    (row,) = execution.purse.trades
    assert row.funding == -row.qty * 50_400 / 10_000


def test_the_rate_follows_from_what_was_paid() -> None:
    prices, decision = told(50_000, 50_400), asked(LONG, 0, 50_000)
    by_rate = executed(prices, [decision], [Funded(1_000, 0, rate=12_345)])

    by_payment = executed(prices, [decision], [Funded(1_000, 0, paid=by_rate.purse.funding)])

    assert by_payment.rates == {(1_000, 0): 12_345}
    assert by_payment.purse.wallet == by_rate.purse.wallet


def test_wallet_is_start_and_profit_less_fees_with_funding() -> None:
    prices = told(50_000, 50_300, 49_900, 50_600, 48_000, 50_000)
    decisions = [
        asked(LONG, 0, 50_000),
        asked(SHORT, 1, 50_300),
        asked("close(30%)", 2, 49_900),
        asked(LONG, 3, 50_600, candle=1),
    ]

    execution = executed(prices, decisions, [Funded(2_000, 0, rate=-5_000)])

    purse = execution.purse
    assert len(execution.fills) > 5
    assert purse.wallet == purse.start + purse.realized - purse.fees + purse.funding
    fees = sum(fill.fee for fill in execution.fills)
    assert fees * E8 == purse.fees


def test_the_start_of_the_epoch_is_no_special_day() -> None:
    shift = START_MS // 1_000
    prices = told(50_000, 51_500, first=shift)

    fills = fills_of(prices, [asked(LONG, shift, 50_000)])

    assert shown(fills) == [(None, 50_000), (ExitReason.TARGET, 51_000)]
