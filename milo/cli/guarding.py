"""A session's guard: whether it needs one, and the link to it while the session runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence

from milo.cli.context import App
from milo.cli.operator import Operator
from milo.cli.venue import OpenVenue
from milo.config import flag_of, shown_value
from milo.errors import ConfigError
from milo.guard.link import GuardLink
from milo.ops.guard_process import GuardKeeper

_PASSED_ON = ("exchange", "seed", "keys_file", "market", "funding")


@contextlib.asynccontextmanager
async def guarding(
    app: App, venue: OpenVenue, symbols: Sequence[str], *, run_id: str, operator: Operator
) -> AsyncIterator[GuardLink | None]:
    """Have a guard run, started where none does; the session opens the link once it is ready.

    None where none is needed.
    """
    keeper = GuardKeeper(
        venue.folder, _arguments(app, symbols), venue=venue.rest_url, password=venue.password
    )
    if not _is_needed(app, venue, keeper):
        keeper.forget()
        yield None
        return
    if app.config.no_guard:
        keeper.forget()
        operator.problem("no guard (--no-guard): nobody watches the stops if this process dies")
        yield None
        return
    link = GuardLink(
        keeper,
        run_id=run_id,
        pid=os.getpid(),
        symbols=tuple(symbols),
        on_problem=operator.problem,
    )
    await link.stand_by()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(link.run(), name="guard link")
        try:
            yield link
        finally:
            await asyncio.shield(link.bye(ends_guard=True))
            running.cancel()
            keeper.forget()


def _is_needed(app: App, venue: OpenVenue, keeper: GuardKeeper) -> bool:
    """Whether orders may go out that somebody must watch; ConfigError beside a guard not wanted.

    A single evaluation on the embedded exchange does without, unless a guard is there already: two
    who send orders must know of each other.
    """
    if venue.is_stepped or (venue.is_real and not app.config.live):
        return False
    there = keeper.find()
    if there is not None and app.config.no_guard:
        raise ConfigError(
            f"a guard watches this account (process {there.pid}): end it first, or leave "
            "--no-guard away"
        )
    return app.arguments.loop is not None or venue.is_real or there is not None


def _arguments(app: App, symbols: Sequence[str]) -> list[str]:
    """Return the settings by which the guard finds the same venue."""
    config = app.config
    arguments = ["--data-dir", str(config.data_dir.resolve())]
    for name in _PASSED_ON:
        value = getattr(config, name)
        if value is not None:
            arguments += ["--" + flag_of(name), shown_value(name, value)]
    if config.market is not None:
        # Whose candles a file holds may stand in the script alone.
        own = config.only_symbol if config.origins["symbol"] != "default" else symbols[0]
        arguments += ["--symbol", own]
    if config.live:
        arguments.append("--live")
    if config.verbose:
        arguments.append("--verbose")
    return arguments
