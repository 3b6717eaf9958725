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
from milo.cli.progress import Progress
from milo.clock import monotonic_s
from milo.config import Config
from milo.errors import ConfigError, StoreError
from milo.intervals import INTERVAL_MS
from milo.model import ScriptHeader

_HUNDRED = Decimal(100)
_TAKER = Decimal("0.0005")
_MAKER = Decimal("0.0002")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One script on its market."""

    executor: Executor
    header: ScriptHeader
    market: StoredMarket
    slot: Slot


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
                decisions, ledger = await execute_in_turns(pieces, assumptions, shown)
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
    executors = [
        app.make.executor(path, app.arguments.inputs, is_trusted=app.config.trust_script)
        for path in app.arguments.scripts
    ]
    for executor in executors:
        stack.push_async_callback(executor.close)
    headers = await asyncio.gather(*(executor.start() for executor in executors))
    _tell(app, headers)
    wanted = [
        (header.coin or app.config.symbol, header.timeframe or app.config.interval[0])
        for header in headers
    ]
    _check_symbols(headers, [symbol for symbol, _ in wanted])
    markets = await asyncio.to_thread(load_markets, app.config, wanted)
    return [
        _piece(executor, header, market)
        for executor, header, market in zip(executors, headers, markets, strict=True)
    ]


def _check_symbols(headers: Sequence[ScriptHeader], symbols: Sequence[str]) -> None:
    for index, symbol in enumerate(symbols):
        other = symbols.index(symbol)
        if other < index:
            raise ConfigError(
                f"{headers[other].name} and {headers[index].name} both trade {symbol}; "
                "one script a symbol"
            )


def _tell(app: App, headers: Sequence[ScriptHeader]) -> None:
    """Show what was found while the scripts were read, and where nothing locks them in."""
    for header in headers:
        for text in header.warnings:
            app.console.warn(f"{header.name}: {text}")
        if header.isolation is not None and not header.isolation.is_isolated:
            app.console.warn(f"{header.name}: {header.isolation.line}")


def _piece(executor: Executor, header: ScriptHeader, market: StoredMarket) -> Piece:
    times = np.array([rate.time_ms for rate in market.funding], np.int64)
    rates = np.array([float(rate.rate) for rate in market.funding])
    slot = Slot(
        script=header.name,
        symbol=market.symbol,
        interval=market.interval,
        candles=market.candles,
        contract=market.contract,
        first=market.first,
        end=market.end,
        finer=market.finer,
        funding=FundingHistory(times_ms=times, rates=rates) if len(times) else None,
    )
    return Piece(executor=executor, header=header, market=market, slot=slot)


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
