"""The embedded exchange as a process: `python -m milo.exchange --state-dir DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from milo.errors import EngineError
from milo.intervals import INTERVALS

_WRONG_USE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exchange until it is told to stop; return the exit code.

    0 after SIGTERM, SIGINT or a shutdown asked for; 1 or 2 with one line on stderr where it could
    not start.
    """
    arguments = _parser().parse_args(argv)
    _check(arguments)
    if arguments.restart_on_fault:
        from milo.exchange.supervisor import supervise  # light: the child imports the rest

        return supervise(arguments.state_dir, sys.argv[1:] if argv is None else argv)
    from milo.exchange.process import Settings, run  # heavy imports: not for --help

    settings = Settings(
        state_dir=arguments.state_dir,
        port=arguments.port,
        speed=arguments.speed,
        seed=arguments.seed,
        balance_start=arguments.balance_start,
        market=arguments.market,
        symbol=arguments.symbol,
        timeframe=arguments.timeframe,
        start_ms=arguments.start,
        funding=arguments.funding,
        is_fresh=arguments.fresh or (arguments.market is not None and not arguments.resume),
        exchange_info=arguments.exchange_info,
        brackets=arguments.brackets,
        linger_s=arguments.linger,
        is_wall_clock=arguments.wall_clock,
        faults=arguments.faults,
        fault_seed=arguments.fault_seed,
        ledger=arguments.ledger,
        announced_pid=arguments.announced_pid,
    )
    try:
        run(settings)
    except EngineError as error:
        print(f"milo.exchange: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m milo.exchange",
        description="A simulated USD-M futures exchange on 127.0.0.1: the real one's protocol.",
    )
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, metavar="DIR", help="where it keeps its state")
    add("--port", type=_port, default=0, metavar="P", help="TCP port; 0 takes a free one")
    add("--speed", type=_speed, default=1.0, metavar="X",
        help="exchange time over wall time; max: stepped by the engine (default 1)")  # fmt: skip
    add("--seed", type=int, default=1, metavar="N", help="which simulated market (default 1)")
    add("--balance-start", type=_balance, default=Decimal(10_000), metavar="D",
        help="USDT of a new account (default 10000)")  # fmt: skip
    add("--market", type=Path, metavar="FILE", help="replay these recorded candles instead")
    add("--symbol", metavar="S", help="the recording's symbol")
    add("--timeframe", choices=INTERVALS, metavar="TF", help="what the start is counted in")
    add("--start", type=int, metavar="MS", help="where the clock of a fresh run starts, ms UTC")
    add("--funding", type=Path, metavar="FILE", help="recorded funding rates of the recording")
    add("--exchange-info", type=Path, metavar="FILE", help="recorded exchangeInfo")
    add("--brackets", type=Path, metavar="FILE", help="recorded leverageBracket")
    add("--linger", type=_seconds, metavar="SECONDS", help="end after so long without any client")
    add("--wall-clock", action="store_true",
        help="show the time of day (simulated market at speed 1)")  # fmt: skip
    add("--faults", metavar="PROFILE|FILE", help="what goes wrong: a profile, or a schedule (JSON)")
    add("--fault-seed", type=int, default=1, metavar="N", help="which faults of a profile")
    add("--ledger", type=Path, metavar="FILE", help="append everything that happens, as JSON lines")
    add("--restart-on-fault", action="store_true",
        help="start the exchange again after a fault that ends it")  # fmt: skip
    add("--announced-pid", type=int, help=argparse.SUPPRESS)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on from the saved state (default"
                       " of the simulated market)")  # fmt: skip
    again.add_argument("--fresh", action="store_true", help="begin anew (default of a recording)")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Exit with 2 where options do not go together."""
    parser = _parser()
    if arguments.market is not None and not arguments.symbol:
        parser.error("--market needs --symbol")
    if arguments.market is None:
        for name in ("symbol", "timeframe", "funding"):
            if getattr(arguments, name) is not None:
                parser.error(f"--{name} goes with --market only")


def _port(raw: str) -> int:
    value = int(raw)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return value


def _speed(raw: str) -> float:
    """Return exchange ms per wall ms; 0 for `max`."""
    if raw.strip().lower() == "max":
        return 0.0
    value = float(raw)
    if not 0 < value <= 1e9:
        raise argparse.ArgumentTypeError("must be above 0, or max")
    return value


def _balance(raw: str) -> Decimal:
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise argparse.ArgumentTypeError("must be an amount of USDT") from None
    if not value.is_finite() or not 0 < value <= Decimal(10) ** 12:
        raise argparse.ArgumentTypeError("must be above 0 and at most 1,000,000,000,000")
    return value


def _seconds(raw: str) -> float:
    value = float(raw)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
