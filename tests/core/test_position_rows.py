"""The list of open positions: what protects each, and how it looks."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest

from milo.cli.position_rows import PositionRow, position_lines, position_row, rows_json
from milo.cli.positions import position_line
from milo.cli.protection import Shield, closing_stop_of, shield_of, stop_of, target_of
from milo.model import (
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    Side,
    SymbolConfig,
)

LONG = PositionReport(
    symbol="BTCUSDT",
    qty=Decimal("0.5"),
    entry_price=Decimal(50000),
    mark_price=Decimal(50100),
    unrealized=Decimal(50),
    liquidation_price=Decimal("45226.123456789"),
    isolated_margin=Decimal(2550),
)
SHORT = dataclasses.replace(LONG, qty=Decimal("-0.5"), liquidation_price=Decimal(0))
CONFIG = SymbolConfig(symbol="BTCUSDT", leverage=10, is_isolated=True)
STOP = OrderReport(
    symbol="BTCUSDT",
    client_id="milo-0run0run-0123456789-s",
    venue_id=1,
    side=Side.SELL,
    type=OrderType.STOP_MARKET,
    status=OrderStatus.NEW,
    qty=Decimal(0),
    filled_qty=Decimal(0),
    avg_price=None,
    price=Decimal(0),
    trigger_price=Decimal(49000),
    is_reduce_only=True,
    is_close_position=True,
    is_conditional=True,
    update_ms=1,
)


def changed(**changes: object) -> OrderReport:
    return dataclasses.replace(STOP, **changes)  # type: ignore[arg-type]


PART = changed(is_close_position=False, qty=Decimal("0.2"))
SHIELDS = [
    pytest.param([STOP], Shield.WHOLE, id="closing stop"),
    pytest.param([], Shield.NONE, id="nothing"),
    pytest.param([changed(symbol="ETHUSDT")], Shield.NONE, id="another symbol"),
    pytest.param([changed(side=Side.BUY)], Shield.NONE, id="a short's stop"),
    pytest.param([changed(type=OrderType.TAKE_PROFIT_MARKET)], Shield.NONE, id="a target only"),
    pytest.param([changed(status=OrderStatus.CANCELED)], Shield.NONE, id="a cancelled stop"),
    pytest.param(
        [changed(is_close_position=False, is_reduce_only=False, qty=Decimal(1))],
        Shield.NONE,
        id="an order that opens",
    ),
    pytest.param([PART], Shield.PART, id="a part"),
    pytest.param([PART, changed(is_close_position=False, qty=Decimal("0.3"))], Shield.WHOLE,
                 id="parts that add up"),
]  # fmt: skip


@pytest.mark.parametrize(("orders", "shield"), SHIELDS)
def test_a_position_is_protected_by_stops_that_cover_it_all(
    orders: list[OrderReport], shield: Shield
) -> None:
    assert shield_of(LONG, orders) is shield


def test_the_nearest_stop_and_target_are_shown() -> None:
    near, far = changed(trigger_price=Decimal(49500)), STOP
    first = changed(type=OrderType.TAKE_PROFIT_MARKET, trigger_price=Decimal(51000))
    second = changed(type=OrderType.TAKE_PROFIT_MARKET, trigger_price=Decimal(52000))

    assert stop_of(LONG, [far, near]) is near
    assert target_of(LONG, [second, first]) is first
    assert closing_stop_of(LONG, [PART, far]) is far
    assert closing_stop_of(LONG, [PART]) is None


def test_for_a_short_the_nearest_stop_is_the_lowest() -> None:
    low, high = (changed(side=Side.BUY, trigger_price=Decimal(at)) for at in (51000, 52000))

    assert stop_of(SHORT, [high, low]) is low


def row(
    number: int, position: PositionReport, *orders: OrderReport, script: str | None = "trend"
) -> PositionRow:
    return position_row(number, position, orders=orders, config=CONFIG, script=script)


def test_a_row_says_everything_and_what_is_missing() -> None:
    lines = position_lines([row(1, LONG, STOP), row(2, SHORT, script=None)])

    text = " ".join("\n".join(lines).split())
    assert lines[0] == "  1  BTCUSDT long  protected  script trend"
    assert lines[3] == "  2  BTCUSDT short  NO STOP  script -"
    assert "liquidation 45226.123" in text
    assert "stop NONE" in text
    assert "notional 25,050.00" in text
    assert "profit +50.00" in text


def test_columns_stand_below_one_another_and_fit_the_terminal() -> None:
    tiny = dataclasses.replace(
        LONG,
        symbol="1000000MOGUSDT",
        qty=Decimal(123456789),
        entry_price=Decimal("0.00001234"),
        mark_price=Decimal("0.00001235"),
        liquidation_price=Decimal("0.00001123456789"),
    )

    lines = position_lines([row(1, LONG, STOP), row(2, tiny), row(10, SHORT)])

    assert max(len(line) for line in lines) <= 120
    for label in ("entry", "mark", "notional", "profit"):
        assert len({line.index(label) for line in lines if label in line}) == 1
    assert "liquidation 0.000011234568" in "\n".join(lines)


def test_the_json_has_prices_as_text_and_null_for_what_is_not_there() -> None:
    found = rows_json([row(1, SHORT, script=None)], venue="sim")

    only = found["positions"][0]
    assert found["venue"] == "sim"
    assert only["qty"] == "0.5"
    assert only["side"] == "short"
    assert only["stop_price"] is only["target_price"] is only["liquidation_price"] is None
    assert only["script"] is None
    assert only["is_protected"] is False
    assert only["protection"] == "NO STOP"


def test_a_symbol_of_the_venue_forges_no_line() -> None:
    name = "BTC\n 99  ETHUSDT long  protected\x1b[31m"
    position = dataclasses.replace(LONG, symbol=name)
    row = position_row(1, position, orders=[], config=CONFIG, script="a\nb")

    lines = position_lines([row])

    assert len(lines) == 3
    assert all(line.isprintable() for line in [*lines, position_line(position)])
