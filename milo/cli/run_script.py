"""`--script FILE`: run strategy scripts, once or in a loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from milo import __version__
from milo.cli.chart_source import SessionChart
from milo.cli.charting import check_listening, serving_chart
from milo.cli.context import App
from milo.cli.guarding import guarding
from milo.cli.journal import RunJournal
from milo.cli.kill_switch import listen_for_kill
from milo.cli.live import LiveSession
from milo.cli.operator import Operator
from milo.cli.plans import Plan, check_symbols, start_scripts
from milo.cli.recovery import closed_rows, resume
from milo.cli.summary import closing_lines, summary, trade_row, versions, write_summary
from milo.cli.venue import OpenVenue, Purpose, open_venue
from milo.clock import iso_minute, monotonic_s, wall_ms
from milo.errors import ConfigError, ScriptError
from milo.intervals import INTERVAL_MS
from milo.orders.ids import run_id_of
from milo.orders.ledger import open_rows


async def run(app: App) -> int:
    """Run the scripts until the run ends; exit code 2 where a single evaluation failed."""
    _check_arguments(app)
    kill_asked = listen_for_kill()
    started_s = monotonic_s()
    async with AsyncExitStack() as stack:
        plans = await _plans(app, stack)
        first = plans[0]
        purpose = Purpose(
            needs_keys=True,
            speed=INTERVAL_MS[first.timeframe] / 1000 if app.arguments.loop else 1.0,
            is_run=True,
            timeframe=first.timeframe,
            symbol=first.header.coin,
        )
        venue = await stack.enter_async_context(open_venue(app, purpose))
        for plan in plans:
            await venue.instrument(plan.symbol)
        await _may_go_live(app, venue, plans)
        is_good = await _run_on(app, venue, plans, started_s, kill_asked)
    return 0 if is_good else ScriptError.exit_code


async def _run_on(
    app: App,
    venue: OpenVenue,
    plans: Sequence[Plan],
    started_s: float,
    kill_asked: asyncio.Event,
) -> bool:
    operator = Operator(app.console, venue.clock, shows_prints=_shows_prints(app, venue))
    operator.say(f"Milo {__version__} on {_where(venue)}")
    _say_isolation(operator, plans)
    run_id = run_id_of(wall_ms())
    resumed, line = await resume(
        venue.store,
        account=venue.account,
        run_id=run_id,
        symbols=[plan.symbol for plan in plans],
    )
    if line:
        operator.say(line)
    journal = RunJournal(venue.store, run_id)
    await journal.start(
        venue=venue.name, header_json=_header(venue, plans), now_ms=venue.clock.now_ms()
    )
    symbols = [plan.symbol for plan in plans]
    async with guarding(app, venue, symbols, run_id=run_id, operator=operator) as guard:
        session = LiveSession(
            app,
            venue,
            plans,
            run_id=run_id,
            journal=journal,
            operator=operator,
            resumed=resumed,
            guard=guard,
            kill_asked=kill_asked,
        )
        content = await _run_session(app, session, journal, started_s)
    for line in closing_lines(content):
        operator.say(line)
    # A single evaluation that failed is a failed command; a loop goes on after failures.
    return app.arguments.loop is not None or content["script_errors"] == 0


async def _run_session(
    app: App, session: LiveSession, journal: RunJournal, started_s: float
) -> dict[str, Any]:
    """Run the session to its end, whatever that is; return its summary."""
    await session.prepare()
    try:
        async with _chart(app, session, session.operator):
            await session.run()
    finally:
        content = summary(
            slots=session.slots,
            manager=session.manager,
            start_balance=session.start_wallet,
            carried=session.carried,
            seconds=monotonic_s() - started_s,
        )
        content["isolation"] = session.isolations
        if app.config.json is not None:
            before = await asyncio.shield(closed_rows(session.venue.store, session.venue.account))
            rows = [*before, *open_rows(session.manager.book)]
            content["all_trades"] = [trade_row(row) for row in rows]
            write_summary(app.config.json, content)
        await asyncio.shield(journal.end(session.venue.clock.now_ms()))
    return content


def _check_arguments(app: App) -> None:
    check_listening(app)
    if app.arguments.loop is None:
        for name in ("candles", "seconds"):
            if getattr(app.config, name) is not None:
                raise ConfigError(f"--{name} belongs to --loop")
    folder = None if app.config.json is None else app.config.json.parent
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"--json {app.config.json}: no such folder")


async def _plans(app: App, stack: AsyncExitStack) -> list[Plan]:
    """Start every script's worker, and resolve what it runs on."""
    plans = await start_scripts(app, stack)
    allowed = app.config.symbols
    for plan in plans:
        if allowed is not None and plan.symbol not in allowed:
            app.console.warn(
                f"{plan.header.name}: {plan.symbol} is not among --symbols {','.join(allowed)}; "
                "it will open nothing"
            )
    check_symbols(plans)
    return plans


def _say_isolation(operator: Operator, plans: Sequence[Plan]) -> None:
    """Tell how the scripts' processes are locked in: once where all are alike, as they should."""
    isolations = dict.fromkeys(plan.header.isolation for plan in plans)
    for isolation in isolations:
        if isolation is not None and isolation.is_isolated:
            operator.say(f"scripts: {isolation.line}")
        elif isolation is not None:
            operator.problem(f"scripts: {isolation.line}")


async def _may_go_live(app: App, venue: OpenVenue, plans: Sequence[Plan]) -> None:
    """Ask for the typed confirmation before real orders; say plainly what is read only."""
    if not venue.is_real:
        return
    if not app.config.live:
        app.console.warn(f"{venue.title}: read only, no order will be sent (give --live to trade)")
        return
    if await venue.client.is_hedge_mode():
        raise ConfigError(
            f"the account on {venue.title} is in hedge mode; Milo trades one-way: "
            "switch the position mode first"
        )
    symbols = ", ".join(plan.symbol for plan in plans)
    if app.config.yes_live:
        app.console.warn(f"LIVE: real orders on {venue.title} for {symbols}")
        return
    wanted = f"LIVE {plans[0].symbol}"
    typed = app.console.ask(
        f"Real orders with real money on {venue.title} for {symbols}. Type {wanted} to go on: "
    )
    if typed.strip() != wanted:
        raise ConfigError("not confirmed: nothing was started")


@contextlib.asynccontextmanager
async def _chart(app: App, session: LiveSession, operator: Operator) -> AsyncIterator[None]:
    config = app.config
    venue = session.venue
    # A stepped run is a batch job: it serves a page only where a port was asked for.
    is_batch = venue.is_stepped and config.port is None
    if app.arguments.loop is None or config.no_chart or is_batch:
        yield
        return
    source = SessionChart(session, operator)
    is_public = venue.exchange is not None
    async with serving_chart(app, source, folder=venue.folder, is_public=is_public) as url:
        operator.say(f"chart: {url}")
        try:
            yield
        finally:
            source.is_finished = True


def _shows_prints(app: App, venue: OpenVenue) -> bool:
    return app.config.verbose or not venue.is_stepped


def _where(venue: OpenVenue) -> str:
    now = iso_minute(venue.clock.now_ms())
    if venue.exchange is None:
        return venue.title
    speed = "stepped" if venue.is_stepped else f"speed {venue.clock.speed:g}"
    return f"{venue.title} at {venue.exchange.address.rest_url}, {speed}, now {now} UTC"


def _header(venue: OpenVenue, plans: Sequence[Plan]) -> str:
    return json.dumps(
        {
            "venue": venue.name,
            "account": venue.account,
            "title": venue.title,
            "versions": versions(),
            "scripts": [
                {
                    "name": plan.header.name,
                    "sha256": plan.header.text_sha256,
                    "symbol": plan.symbol,
                    "timeframe": plan.timeframe,
                    "isolation": plan.isolation_line,
                }
                for plan in plans
            ],
        }
    )
