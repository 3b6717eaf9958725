"""What comes of the decisions of a backtest: carried out, described, reported.

Loaded while the scripts' workers decide: nothing of this is needed before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy.ma  # noqa: F401 - numpy's unique loads it at its first call: now, not then

from milo import __version__
from milo.backtest.decisions import Decisions
from milo.backtest.described import (
    DescribedInput,
    DescribedMarket,
    DescribedScript,
    RunDescription,
    describe_script,
)
from milo.backtest.execution import run as execute
from milo.backtest.ledger import Assumptions, FillAt, Intrabar, Ledger
from milo.backtest.report import make_report, report_text
from milo.backtest.wording import Report
from milo.cli.context import App
from milo.cli.json_output import give_json, says_json_only
from milo.config import Config
from milo.errors import StoreError
from milo.exchange.instruments import from_e8
from milo.exchange.rules import MAKER_FEE_E8, TAKER_FEE_E8
from milo.intervals import INTERVAL_MS

if TYPE_CHECKING:
    from milo.cli.backtest import Piece

_HUNDRED = Decimal(100)


def carried_out(app: App, pieces: Sequence[Piece], decisions: Sequence[Decisions]) -> Ledger:
    """Return what came of decisions that no account was needed for."""
    return execute([piece.slot for piece in pieces], decisions, assumptions_of(app.config))


def report(
    app: App,
    pieces: Sequence[Piece],
    markets: Sequence[DescribedMarket],
    decisions: Sequence[Decisions],
    ledger: Ledger,
    *,
    seconds: float,
) -> None:
    """Report a run that took so long, on the console and in the files that are asked for."""
    description = _description(app, pieces, markets, decisions, seconds)
    _give(app, make_report(ledger, description), pieces)


def assumptions_of(config: Config) -> Assumptions:
    """Return what the settings take for granted."""
    is_finer = config.intrabar in INTERVAL_MS
    fee = None if config.fee is None else config.fee / _HUNDRED
    return Assumptions(
        start_balance=config.balance_start,
        taker_fee=from_e8(TAKER_FEE_E8) if fee is None else fee,
        maker_fee=from_e8(MAKER_FEE_E8) if fee is None else fee,
        slippage=config.slippage / _HUNDRED,
        fill_at=FillAt(config.fill),
        intrabar=Intrabar.FINER if is_finer else Intrabar(config.intrabar),
        finer_interval=config.intrabar if is_finer else None,
        funding_rate=config.funding_assumed / _HUNDRED,
        max_entry_risk=config.max_risk or None,
        max_leverage=Decimal(config.max_leverage) if config.max_leverage else None,
        max_positions=config.max_positions or None,
        max_daily_loss=config.max_daily_loss or None,
        allowed_symbols=config.symbols,
    )


def _description(
    app: App,
    pieces: Sequence[Piece],
    markets: Sequence[DescribedMarket],
    decisions: Sequence[Decisions],
    seconds: float,
) -> RunDescription:
    notes = [piece.market.contract.note for piece in pieces]
    notes += [note for piece in pieces for note in piece.market.notes]
    notes += [
        f"{piece.market.symbol}: candles are missing at {piece.market.gaps:,} places; nothing "
        "happens there, and what comes next counts as the next candle"
        for piece in pieces
        if piece.market.gaps
    ]
    return RunDescription(
        scripts=tuple(
            _described(app, piece, made) for piece, made in zip(pieces, decisions, strict=True)
        ),
        markets=tuple(markets),
        version=__version__,
        arguments=tuple(sys.argv[1:]),
        seconds=seconds,
        notes=tuple(notes),
    )


def _described(app: App, piece: Piece, made: Decisions) -> DescribedScript:
    header = piece.header
    return describe_script(
        made,
        piece.market.candles.open_ms,
        name=header.name,
        text_sha256=header.text_sha256,
        symbol=piece.market.symbol,
        interval=piece.market.interval,
        inputs=[
            DescribedInput(
                name=item.name,
                value=app.arguments.inputs.get(item.name, item.default),
                default=item.default,
            )
            for item in header.inputs
        ],
    )


def _give(app: App, report: Report, pieces: Sequence[Piece]) -> None:
    if not says_json_only(app):
        app.console.say(report_text(report))
    if app.config.json is not None:
        from milo.backtest.content import report_content

        give_json(app, report_content(report))
    if app.config.html is not None:
        _write_page(app.config.html, report, pieces)
        if not says_json_only(app):
            app.console.say(f"report: {app.config.html}")


def _write_page(path: Path, report: Report, pieces: Sequence[Piece]) -> None:
    from milo.backtest.html import report_page

    markets = [piece.market for piece in pieces]
    candles = {(market.symbol, market.interval): market.candles for market in markets}
    try:
        path.write_text(report_page(report, candles), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
