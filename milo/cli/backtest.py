"""`--backtest --script FILE`: what scripts would have done on stored candles."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from milo import __version__
from milo.backtest.content import report_content
from milo.backtest.decisions import Decisions
from milo.backtest.described import (
    DescribedInput,
    DescribedMarket,
    DescribedScript,
    RunDescription,
    describe_market,
    describe_script,
)
from milo.backtest.execution import run as execute
from milo.backtest.ledger import Assumptions, FillAt, Intrabar
from milo.backtest.report import make_report, report_text
from milo.backtest.slot import FundingHistory, Slot
from milo.backtest.wording import Report
from milo.cli.backtest_data import StoredMarket, database_of, load_markets
from milo.cli.backtest_turns import execute_in_turns
from milo.cli.context import App, Executor
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.cli.plans import Plan, check_symbols, start_scripts
from milo.cli.progress import Progress
from milo.clock import monotonic_s
from milo.config import Config
from milo.errors import ConfigError, StoreError
from milo.exchange.instruments import from_e8
from milo.exchange.rules import MAKER_FEE_E8, TAKER_FEE_E8
from milo.intervals import INTERVAL_MS
from milo.model import ScriptHeader

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One script on its market."""

    executor: Executor
    header: ScriptHeader
    market: StoredMarket
    slot: Slot

    async def decide(self, progress: Callable[[int], None], *, prove_all: bool) -> Decisions:
        """Decide all its candles at once."""
        market = self.market
        return await self.executor.decide(
            market.candles,
            first=market.first,
            count=market.end - market.first,
            prove_all=prove_all,
            progress=progress,
        )


async def run(app: App) -> int:
    """Decide on the stored candles, carry the decisions out, report."""
    started_s = monotonic_s()
    _check_arguments(app)
    async with AsyncExitStack() as stack:
        pieces = await _pieces(app, stack)
        # Hashing a million candles takes a while, and another thread meanwhile.
        describing = asyncio.create_task(asyncio.to_thread(_markets, pieces))
        assumptions = assumptions_of(app.config)
        with Progress(app, sum(piece.market.end - piece.market.first for piece in pieces)) as shown:
            if any(piece.header.reads_account for piece in pieces):
                decisions, ledger = await execute_in_turns(
                    pieces, assumptions, shown, prove_all=app.config.prove
                )
            else:
                decisions = await _decided(app, pieces, shown)
                ledger = execute([piece.slot for piece in pieces], decisions, assumptions)
        markets = await describing
    description = _description(app, pieces, markets, decisions, monotonic_s() - started_s)
    _give(app, make_report(ledger, description), pieces)
    return 0


def _check_arguments(app: App) -> None:
    check_json_path(app)
    page = app.config.html
    if page is not None and not page.parent.is_dir():
        raise ConfigError(f"--html {page}: no such folder")
    folder, name = database_of(app.config)
    if not (folder / name).is_file():
        raise ConfigError(
            f"no candles are stored ({folder / name} is not there): "
            "store some with --import-klines FILE --symbol SYMBOL --interval INTERVAL"
        )


async def _pieces(app: App, stack: AsyncExitStack) -> list[Piece]:
    """Start every script's worker, and find what it runs on."""
    plans = await start_scripts(app, stack)
    for plan in plans:
        if plan.header.isolation is not None and not plan.header.isolation.is_isolated:
            app.console.warn(f"{plan.header.name}: {plan.isolation_line}")
    check_symbols(plans)
    wanted = [(plan.symbol, plan.timeframe) for plan in plans]
    markets = await asyncio.to_thread(load_markets, app.config, wanted)
    return [_piece(plan, market) for plan, market in zip(plans, markets, strict=True)]


def _piece(plan: Plan, market: StoredMarket) -> Piece:
    times = np.array([rate.time_ms for rate in market.funding], np.int64)
    rates = np.array([float(rate.rate) for rate in market.funding])
    slot = Slot(
        script=plan.header.name,
        symbol=market.symbol,
        interval=market.interval,
        candles=market.candles,
        contract=market.contract,
        first=market.first,
        end=market.end,
        finer=market.finer,
        funding=FundingHistory(times_ms=times, rates=rates) if len(times) else None,
    )
    return Piece(executor=plan.executor, header=plan.header, market=market, slot=slot)


async def _decided(app: App, pieces: Sequence[Piece], shown: Progress) -> list[Decisions]:
    return list(
        await asyncio.gather(
            *(piece.decide(shown.counter(), prove_all=app.config.prove) for piece in pieces)
        )
    )


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


def _markets(pieces: Sequence[Piece]) -> list[DescribedMarket]:
    return [
        describe_market(
            piece.market.candles,
            symbol=piece.market.symbol,
            interval=piece.market.interval,
            source=piece.market.source,
            instrument=piece.market.contract.instrument,
        )
        for piece in pieces
    ]


def _description(
    app: App,
    pieces: Sequence[Piece],
    markets: Sequence[DescribedMarket],
    decisions: Sequence[Decisions],
    seconds: float,
) -> RunDescription:
    notes = [piece.market.contract.note for piece in pieces]
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
