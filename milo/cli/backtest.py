"""`--backtest --script FILE`: what scripts would have done on stored candles."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from milo.backtest.slot import FundingHistory, Slot
from milo.cli.backtest_data import StoredMarket, check_database, load_markets
from milo.cli.context import App, Executor
from milo.cli.json_output import check_json_path
from milo.cli.plans import Plan, check_symbols, start_scripts
from milo.cli.progress import Progress
from milo.clock import monotonic_s
from milo.errors import ConfigError
from milo.model import ScriptHeader

if TYPE_CHECKING:
    from milo.backtest.decisions import Decisions
    from milo.backtest.described import DescribedMarket
    from milo.backtest.ledger import Ledger

_SWITCH_S = 0.0005


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
    if app.config.sweep is not None:
        from milo.cli.sweep import sweep

        return await sweep(app)
    async with AsyncExitStack() as stack:
        pieces = await start_pieces(app, stack)
        if app.arguments.why_ms is not None:
            from milo.cli.backtest_why import explain

            await explain(app, pieces, app.arguments.why_ms)
            return 0
        # Hashing a million candles takes a while, and another thread meanwhile.
        describing = asyncio.create_task(asyncio.to_thread(_markets, pieces))
        with Progress(app, sum(piece.market.end - piece.market.first for piece in pieces)) as shown:
            if any(piece.header.reads_account for piece in pieces):
                decisions, ledger = await _in_turns(app, pieces, shown)
            else:
                decisions, ledger = await _at_once(app, pieces, shown)
        markets = await describing
    seconds = monotonic_s() - started_s
    from milo.cli.backtest_outcome import report

    report(app, pieces, markets, decisions, ledger, seconds=seconds)
    return 0


def _check_arguments(app: App) -> None:
    check_json_path(app)
    page = app.config.html
    if page is not None and not page.parent.is_dir():
        raise ConfigError(f"--html {page}: no such folder")
    check_database(app.config)


async def start_pieces(app: App, stack: AsyncExitStack) -> list[Piece]:
    """Start every script's worker, and find what it runs on."""
    plans = _told_apart(await start_scripts(app, stack))
    for plan in plans:
        if plan.header.isolation is not None and not plan.header.isolation.is_isolated:
            app.console.warn(f"{plan.header.name}: {plan.isolation_line}")
    check_symbols(plans)
    wanted = [(plan.symbol, plan.timeframe) for plan in plans]
    markets = await asyncio.to_thread(load_markets, app.config, wanted)
    return [_piece(plan, market) for plan, market in zip(plans, markets, strict=True)]


def _told_apart(plans: Sequence[Plan]) -> list[Plan]:
    """Number the scripts that have a name in common but not a text: a, a (2), a (3)."""
    texts: dict[str, list[str]] = {}
    named = []
    for plan in plans:
        header = plan.header
        known = texts.setdefault(header.name, [])
        if header.text_sha256 not in known:
            known.append(header.text_sha256)
        number = known.index(header.text_sha256) + 1
        if number > 1:
            plan = replace(plan, header=replace(header, name=f"{header.name} ({number})"))
        named.append(plan)
    return named


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


async def _at_once(
    app: App, pieces: Sequence[Piece], shown: Progress
) -> tuple[list[Decisions], Ledger]:
    """Decide all candles of each script, then carry the decisions out."""
    decisions = await asyncio.gather(
        *(piece.decide(shown.counter(), prove_all=app.config.prove) for piece in pieces)
    )
    # The kernel takes the workers apart meanwhile.
    closing = [asyncio.create_task(piece.executor.close()) for piece in pieces]
    await asyncio.sleep(0)
    from milo.cli.backtest_outcome import carried_out

    ledger = carried_out(app, pieces, decisions)
    await asyncio.gather(*closing)
    return decisions, ledger


async def _in_turns(
    app: App, pieces: Sequence[Piece], shown: Progress
) -> tuple[list[Decisions], Ledger]:
    from milo.cli.backtest_outcome import assumptions_of
    from milo.cli.backtest_turns import execute_in_turns

    return await execute_in_turns(
        pieces, assumptions_of(app.config), shown, prove_all=app.config.prove
    )


def _markets(pieces: Sequence[Piece]) -> list[DescribedMarket]:
    """Hash the candles, then load what comes after the decisions: in a thread, meanwhile."""
    from milo.backtest.described import describe_market

    markets = [
        describe_market(
            piece.market.candles,
            symbol=piece.market.symbol,
            interval=piece.market.interval,
            source=piece.market.source,
            instrument=piece.market.contract.instrument,
        )
        for piece in pieces
    ]
    # Each answer of a worker is taken in between two steps of the loading.
    with _quick_switches():
        import milo.cli.backtest_outcome  # noqa: F401

    return markets


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    """Let threads that wait for the interpreter wait less long than usual."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual_s)
