"""What runs on what: scripts with their workers, symbols and timeframes, for every kind of run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from milo.cli.context import App, Executor
from milo.errors import ConfigError
from milo.model import ScriptHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One script with what it runs on, resolved before anything starts."""

    executor: Executor
    header: ScriptHeader
    symbol: str
    timeframe: str

    @property
    def isolation_line(self) -> str:
        """How the script's process is locked in, as the screens say it."""
        isolation = self.header.isolation
        return "unknown" if isolation is None else isolation.line


async def start_scripts(app: App, stack: AsyncExitStack) -> list[Plan]:
    """Start every script's worker, which the stack will end, and resolve what it runs on.

    Tells the warnings of each script. Raises ScriptError where one is refused.
    """
    executors = [
        app.make.executor(path, app.arguments.inputs, is_trusted=app.config.trust_script)
        for path in app.arguments.scripts
    ]
    for executor in executors:
        stack.push_async_callback(executor.close)
    headers = await asyncio.gather(*(executor.start() for executor in executors))
    for header in headers:
        for text in header.warnings:
            app.console.warn(f"{header.name}: {text}")
    return [
        Plan(
            executor=executor,
            header=header,
            symbol=header.coin or app.config.symbol,
            timeframe=header.timeframe or app.config.interval[0],
        )
        for executor, header in zip(executors, headers, strict=True)
    ]


def check_symbols(plans: Sequence[Plan]) -> None:
    """Raise ConfigError where two scripts trade one symbol: in one-way mode it is one position."""
    for index, plan in enumerate(plans):
        for other in plans[:index]:
            if other.symbol == plan.symbol:
                raise ConfigError(
                    f"{other.header.name} and {plan.header.name} both trade {plan.symbol}; "
                    "one script a symbol"
                )
