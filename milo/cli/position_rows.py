"""Open positions as rows: for the terminal in blocks of aligned columns, for `--json`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from milo.cli.protection import Shield, shield_of, stop_of, target_of, trigger_of
from milo.model import OrderReport, PositionReport, SymbolConfig
from milo.money import plain, shown
from milo.shown import shown_line

UNKNOWN = "-"
_COLUMNS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """One open position with what protects it and whose it is."""

    number: int
    position: PositionReport
    config: SymbolConfig
    stop_price: Decimal | None
    target_price: Decimal | None
    shield: Shield
    script: str | None
    """None where no script of Milo's is known to have opened it."""

    @property
    def notional(self) -> Decimal:
        return abs(self.position.qty) * self.position.mark_price

    @property
    def liquidation_price(self) -> Decimal | None:
        return self.position.liquidation_price or None

    @property
    def margin_type(self) -> str:
        return "isolated" if self.config.is_isolated else "crossed"


def position_row(
    number: int,
    position: PositionReport,
    *,
    orders: Sequence[OrderReport],
    config: SymbolConfig,
    script: str | None,
) -> PositionRow:
    """Return a position's row; `orders` are all open ones of the account."""
    return PositionRow(
        number=number,
        position=position,
        config=config,
        stop_price=trigger_of(stop_of(position, orders)),
        target_price=trigger_of(target_of(position, orders)),
        shield=shield_of(position, orders),
        script=script,
    )


def position_lines(rows: Sequence[PositionRow]) -> list[str]:
    """Return the table: three lines a position, columns aligned over all positions."""
    cells = [_cells(row) for row in rows]
    widths = [
        max(len(f"{label} {value}") for line in cells for label, value in line[column::_COLUMNS])
        for column in range(_COLUMNS)
    ]
    lines: list[str] = []
    for row, line in zip(rows, cells, strict=True):
        lines.append(_head(row))
        for start in range(0, len(line), _COLUMNS):
            texts = [
                _cell(label, value, width)
                for (label, value), width in zip(
                    line[start : start + _COLUMNS], widths, strict=True
                )
            ]
            lines.append(("     " + "  ".join(texts)).rstrip())
    return lines


def _cell(label: str, value: str, width: int) -> str:
    return f"{label} {value:>{width - len(label) - 1}}"


def _head(row: PositionRow) -> str:
    script = UNKNOWN if row.script is None else shown_line(row.script)
    position = row.position
    symbol = shown_line(position.symbol)
    return f"{row.number:>3}  {symbol} {position.direction}  {row.shield}  script {script}"


def _cells(row: PositionRow) -> list[tuple[str, str]]:
    position = row.position
    sign = "+" if position.unrealized > 0 else ""
    return [
        ("qty", plain(abs(position.qty))),
        ("entry", plain(position.entry_price)),
        ("mark", plain(position.mark_price)),
        ("notional", shown(row.notional)),
        ("profit", f"{sign}{shown(position.unrealized)}"),
        ("leverage", f"{row.config.leverage}x"),
        ("stop", _price(row.stop_price, "NONE")),
        ("target", _price(row.target_price, "none")),
        ("liquidation", _rounded(row.liquidation_price)),
        ("margin", row.margin_type),
    ]


def _price(price: Decimal | None, absent: str) -> str:
    return absent if price is None else plain(price)


def _rounded(price: Decimal | None) -> str:
    # The venue works its liquidation price out to more digits than anybody reads.
    return "none" if price is None else plain(Decimal(f"{price:.8g}"))


def rows_json(rows: Sequence[PositionRow], *, venue: str) -> dict[str, Any]:
    """Return the rows as `--json` writes them: money and prices as decimal strings."""
    return {"venue": venue, "positions": [_row_json(row) for row in rows]}


def _row_json(row: PositionRow) -> dict[str, Any]:
    position = row.position
    return {
        "number": row.number,
        "symbol": position.symbol,
        "side": str(position.direction),
        "qty": plain(abs(position.qty)),
        "entry_price": plain(position.entry_price),
        "mark_price": plain(position.mark_price),
        "notional": plain(row.notional),
        "unrealized": plain(position.unrealized),
        "liquidation_price": _text(row.liquidation_price),
        "stop_price": _text(row.stop_price),
        "target_price": _text(row.target_price),
        "leverage": row.config.leverage,
        "margin_type": row.margin_type,
        "script": row.script,
        "is_protected": row.shield is Shield.WHOLE,
        "protection": str(row.shield),
    }


def _text(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)
