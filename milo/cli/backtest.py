"""`--backtest --script FILE`: what scripts would have done on stored candles."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from milo import __version__
from milo.backtest.content import report_content
from milo.backtest.contract import Contract, contract_of, rules_for
from milo.backtest.decisions import Decisions
from milo.backtest.described import (
    DescribedInput,
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
from milo.cli.backtest_data import StoredMarket, database_of, load_market
from milo.cli.backtest_turns import execute_in_turns
from milo.cli.context import App, Executor, Store
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.cli.progress import Progress
from milo.clock import monotonic_s
from milo.config import Config
from milo.errors import ConfigError, StoreError
from milo.intervals import INTERVAL_MS
from milo.model import ScriptHeader
from milo.store.instruments import load_brackets, load_instruments

_HUNDRED = Decimal(100)
_TAKER = Decimal("0.0005")
_MAKER = Decimal("0.0002")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One script on its market."""

    executor: Executor
    header: ScriptHeader
    market: StoredMarket
    contract: Contract
    slot: Slot


async def run(app: App) -> int:
    """Decide on the stored candles, carry the decisions out, report."""
    started_s = monotonic_s()
    _check_arguments(app)
    async with AsyncExitStack() as stack:
        pieces = await _pieces(app, stack)
        assumptions = assumptions_of(app.config)
        with Progress(app, sum(piece.market.end - piece.market.first for piece in pieces)) as shown:
            if any(piece.header.reads_account for piece in pieces):
                decisions, ledger = await execute_in_turns(pieces, assumptions, shown)
            else:
                decisions = await _decided(app, pieces, shown)
                ledger = execute([piece.slot for piece in pieces], decisions, assumptions)
    description = _description(app, pieces, decisions, monotonic_s() - started_s)
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
    executors = [
        app.make.executor(path, app.arguments.inputs, is_trusted=app.config.trust_script)
        for path in app.arguments.scripts
    ]
    for executor in executors:
        stack.push_async_callback(executor.close)
    folder, name = database_of(app.config)
    opening = app.make.store(folder, market_name=name, with_journal=False, read_only=True)
    starting = asyncio.gather(*(executor.start() for executor in executors))
    try:
        store = await stack.enter_async_context(opening)
    finally:
        headers = await starting
    _tell(app, headers)
    pieces: list[Piece] = []
    for executor, header in zip(executors, headers, strict=True):
        piece = await _piece(app, store, executor, header)
        for other in pieces:
            if other.market.symbol == piece.market.symbol:
                raise ConfigError(
                    f"{other.header.name} and {header.name} both trade {piece.market.symbol}; "
                    "one script a symbol"
                )
        pieces.append(piece)
    return pieces


def _tell(app: App, headers: Sequence[ScriptHeader]) -> None:
    """Show what was found while the scripts were read, and where nothing locks them in."""
    for header in headers:
        for text in header.warnings:
            app.console.warn(f"{header.name}: {text}")
        if header.isolation is not None and not header.isolation.is_isolated:
            app.console.warn(f"{header.name}: {header.isolation.line}")


async def _piece(app: App, store: Store, executor: Executor, header: ScriptHeader) -> Piece:
    symbol = header.coin or app.config.symbol
    market = await load_market(app, store, symbol, header.timeframe or app.config.interval[0])
    contract = await _contract(store, market)
    times = np.array([rate.time_ms for rate in market.funding], np.int64)
    rates = np.array([float(rate.rate) for rate in market.funding])
    slot = Slot(
        script=header.name,
        symbol=symbol,
        interval=market.interval,
        candles=market.candles,
        contract=contract,
        first=market.first,
        end=market.end,
        finer=market.finer,
        funding=FundingHistory(times_ms=times, rates=rates) if len(times) else None,
    )
    return Piece(executor=executor, header=header, market=market, contract=contract, slot=slot)


async def _contract(store: Store, market: StoredMarket) -> Contract:
    """Return the stored filters and leverage brackets; without them, what a replay would take."""
    instrument = (await store.read(load_instruments)).get(market.symbol)
    brackets = (await store.read(load_brackets)).get(market.symbol)
    if instrument is None or brackets is None:
        return rules_for(market.symbol, market.candles)
    return contract_of(instrument, brackets)


async def _decided(app: App, pieces: Sequence[Piece], shown: Progress) -> list[Decisions]:
    return list(
        await asyncio.gather(
            *(
                piece.executor.decide(
                    piece.market.candles,
                    first=piece.market.first,
                    count=piece.market.end - piece.market.first,
                    prove_all=app.config.prove,
                    progress=shown.counter(),
                )
                for piece in pieces
            )
        )
    )


def assumptions_of(config: Config) -> Assumptions:
    """Return what the settings take for granted."""
    is_finer = config.intrabar in INTERVAL_MS
    fee = None if config.fee is None else config.fee / _HUNDRED
    return Assumptions(
        start_balance=config.balance_start,
        taker_fee=_TAKER if fee is None else fee,
        maker_fee=_MAKER if fee is None else fee,
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
    app: App, pieces: Sequence[Piece], decisions: Sequence[Decisions], seconds: float
) -> RunDescription:
    markets = [
        describe_market(
            piece.market.candles,
            symbol=piece.market.symbol,
            interval=piece.market.interval,
            source=piece.market.source,
            instrument=piece.contract.instrument,
        )
        for piece in pieces
    ]
    notes = [piece.contract.note for piece in pieces]
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
