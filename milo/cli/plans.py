"""What runs on what: scripts with their workers, symbols and timeframes, for every kind of run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

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
    path: Path

    @property
    def isolation_line(self) -> str:
        """How the script's process is locked in, as the screens say it."""
        isolation = self.header.isolation
        return "unknown" if isolation is None else isolation.line


async def start_scripts(app: App, stack: AsyncExitStack) -> list[Plan]:
    """Start every script's worker, which the stack will end, and resolve what it runs on.

    A script that names no coin runs on each symbol of --symbol, in a worker of its own for each.
    Tells the warnings of each script. Raises ScriptError where one is refused, ConfigError where
    --symbol lists one that no script runs on.
    """
    first = [_executor(app, stack, path) for path in app.arguments.scripts]
    headers = await asyncio.gather(*(executor.start() for executor in first))
    for header in headers:
        for text in header.warnings:
            app.console.warn(f"{header.name}: {text}")
    _check_listed(app.config.symbol, headers)
    _warn_of_another_coin(app, headers)
    plans, further = [], []
    for path, executor, header in zip(app.arguments.scripts, first, headers, strict=True):
        symbols = (header.coin,) if header.coin else app.config.symbol
        executors = [executor, *(_executor(app, stack, path) for _ in symbols[1:])]
        further += executors[1:]
        plans += [
            Plan(
                executor=one,
                header=header,
                symbol=symbol,
                timeframe=header.timeframe or app.config.interval[0],
                path=path,
            )
            for one, symbol in zip(executors, symbols, strict=True)
        ]
    again = await asyncio.gather(*(executor.start() for executor in further))
    if not {header.text_sha256 for header in again} <= {header.text_sha256 for header in headers}:
        raise ConfigError("a script's file was changed while it was started: start it again")
    return plans


def _executor(app: App, stack: AsyncExitStack, path: Path) -> Executor:
    executor = app.make.executor(path, app.arguments.inputs, is_trusted=app.config.trust_script)
    stack.push_async_callback(executor.close)
    return executor


def _check_listed(symbols: Sequence[str], headers: Sequence[ScriptHeader]) -> None:
    """Raise ConfigError where several symbols are asked for and one of them would be left out.

    A single --symbol is what scripts without a coin fall back to, and may go unused.
    """
    if len(symbols) < 2 or not all(header.coin for header in headers):
        return
    coins = {header.coin for header in headers}
    unused = [symbol for symbol in symbols if symbol not in coins]
    if unused:
        named = ", ".join(f"{header.name} names the coin {header.coin}" for header in headers)
        raise ConfigError(
            f"no script runs on {', '.join(unused)} of --symbol: {named} (leave the line "
            "coin = ... out of a script that is to run on all of them)"
        )


def _warn_of_another_coin(app: App, headers: Sequence[ScriptHeader]) -> None:
    """Warn where a single --symbol was asked for and a script's own coin is another one."""
    symbols = app.config.symbol
    if len(symbols) > 1 or app.config.origins["symbol"] != "flag":
        return
    for header in headers:
        if header.coin and header.coin not in symbols:
            app.console.warn(
                f"{header.name}: runs on {header.coin}, the coin that it names, not on "
                f"--symbol {symbols[0]}"
            )


def check_symbols(plans: Sequence[Plan]) -> None:
    """Raise ConfigError where two scripts trade one symbol: in one-way mode it is one position."""
    for index, plan in enumerate(plans):
        for other in plans[:index]:
            if other.symbol == plan.symbol:
                raise ConfigError(
                    f"{other.header.name} and {plan.header.name} both trade {plan.symbol}; "
                    "one script a symbol"
                )
