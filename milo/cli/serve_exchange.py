"""`--serve-exchange`: the embedded exchange alone, for any client of the protocol."""

from __future__ import annotations

import asyncio

from milo.cli.context import App
from milo.cli.venue import Purpose, exchange_arguments, market_symbol, sim_folder
from milo.errors import ConfigError, EngineError
from milo.ops.exchange_process import attach, launch

EXCHANGE_PORT = 8090


async def run(app: App) -> int:
    """Run until stopped; print where it listens and its test keys."""
    config = app.config
    if not config.is_sim:
        raise ConfigError("--serve-exchange is the embedded exchange; leave --exchange away")
    purpose = Purpose(timeframe=config.interval[0])
    folder = await asyncio.to_thread(sim_folder, config, market_symbol(config, None))
    running = await attach(folder)
    if running is not None:
        raise ConfigError(
            f"an embedded exchange of {folder} runs already at {running.address.rest_url} "
            f"(process {running.address.pid})"
        )
    port = EXCHANGE_PORT if config.port is None else config.port
    arguments = [*exchange_arguments(config, purpose), "--port", str(port)]
    if config.market is None:
        arguments.append("--wall-clock")
    del arguments[arguments.index("--linger") : arguments.index("--linger") + 2]
    exchange = await launch(folder, arguments)
    address = exchange.address
    say = app.console.say
    try:
        say(f"embedded exchange: {address.title} (simulated; no real money)")
        say(f"REST       {address.rest_url}")
        say(f"WebSocket  {address.ws_url}")
        say(f"API key    {address.api_key}")
        say(f"secret     {address.api_secret}")
        say(f"speed      {address.speed}")
        say("Ctrl-C ends it; account, orders and clock are kept")
        exit_code = await exchange.wait()
    finally:
        await exchange.stop()
    raise EngineError(f"the embedded exchange ended by itself (exit code {exit_code})")
