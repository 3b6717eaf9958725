"""The command line: which commands there are, and how arguments become settings.

To add a command: write `milo/cli/<name>.py` with `async def run(app) -> int`, add a row to
COMMANDS. Modules are imported when their command is given, so that `--help` stays fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from milo import __version__
from milo.config import SETTINGS, flag_of
from milo.errors import ConfigError
from milo.setting_values import read_time_ms
from milo.shown import shown_path

_DESCRIPTION = """\
Milo runs trading strategies written as small scripts, on USD-M perpetual futures.
Without keys and without network it trades on the embedded exchange, a local simulated market.
"""
_EXAMPLES = """\
examples:
  main.py --script samples/macd_crossover.script --loop live
  main.py --initdb BTCUSDT ETHUSDT --interval 1h,4h
  main.py --market candles.csv.gz --symbol BTCUSDT --script my.script --loop --speed max

Each setting can also be an environment variable (MILO_DATA_DIR) or a line in milo.toml
(data_dir = "..."); a flag wins over the environment, that over the file.
"""


class UsageError(ConfigError):
    """The command line makes no sense; argparse's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """One command: `--<flag>`, run by `milo.cli.<module>.run`."""

    flag: str
    module: str
    text: str
    nargs: str | None = None
    metavar: str | None = None
    is_repeatable: bool = False


COMMANDS: tuple[CommandSpec, ...] = (
    CommandSpec(
        flag="script", module="run_script", is_repeatable=True, nargs="one", metavar="FILE",
        text="run a strategy script: once, or with --loop until stopped (may be repeated)",
    ),
    CommandSpec(
        flag="backtest", module="backtest",
        text="with --script: what the scripts would have done on stored candles",
    ),
    CommandSpec(
        flag="chart", module="chart",
        text="show stored candles on the chart page, without trading, until stopped",
    ),
    CommandSpec(
        flag="sweep-job", module="sweep_job",
        text="one process of --sweep: jobs on its standard input, results on its output",
    ),
    CommandSpec(
        flag="initdb", module="initdb", nargs="+", metavar="SYMBOL",
        text="fill the store with candles: all intervals, or those of --interval",
    ),
    CommandSpec(
        flag="print-indicators", module="print_indicators",
        text="print the indicators of --symbol and --interval on the newest closed candle",
    ),
    CommandSpec(
        flag="check", module="check", nargs="+", metavar="FILE",
        text="check scripts: header, inputs, verdict; exit code 0 or 2",
    ),
    CommandSpec(
        flag="balance", module="balance", nargs="?", metavar="USDT",
        text="print the account's balance; with --backtest: the first balance",
    ),
    CommandSpec(
        flag="listopenpositions", module="positions", text="list open positions, numbered"
    ),
    CommandSpec(
        flag="closeposition", module="close", nargs="one", metavar="N|SYMBOL",
        text="close one position at market",
    ),
    CommandSpec(
        flag="closeallpositions", module="close", text="close every position at market"
    ),
    CommandSpec(
        flag="replay", module="replay_run", nargs="one", metavar="RUN",
        text="feed a recorded run (or `last`) through the core again and compare its commands",
    ),
    CommandSpec(
        flag="parity", module="parity", nargs="one", metavar="RUN",
        text="decide a recorded run (or `last`) again, and compare it with closed candles",
    ),
    CommandSpec(
        flag="serve-exchange", module="serve_exchange",
        text="run the embedded exchange alone, at speed 1 unless told otherwise",
    ),
    CommandSpec(
        flag="guard", module="guard", nargs="?", metavar="started",
        text="run the guard alone: it watches the stops of runs on this venue",
    ),
    CommandSpec(
        flag="import-klines", module="import_klines", nargs="one", metavar="FILE",
        text="store a CSV of candles (gzip too) under --symbol and --interval, for research",
    ),
    CommandSpec(
        flag="import-funding", module="import_funding", nargs="one", metavar="FILE",
        text="store a CSV of funding rates (gzip too) for backtests, under --symbol or its own",
    ),
    CommandSpec(
        flag="set-keys", module="set_keys", nargs="one", metavar="VENUE",
        text="ask for a venue's API key and secret and store them encrypted",
    ),
    CommandSpec(
        flag="doctor", module="doctor",
        text="check clock, keys, account, stops, disk; changes nothing; exit code 1 on a FAIL",
    ),
    CommandSpec(
        flag="explain", module="explain", nargs="one", metavar="ACTION",
        text="work out what an action would do now: quantity, loss at the stop, liquidation",
    ),
    CommandSpec(
        flag="show-config", module="show_config", text="print every setting with its origin"
    ),
)  # fmt: skip


_BACKTESTS = ("backtest", "sweep-job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A command line, taken apart but not yet believed."""

    spec: CommandSpec
    values: tuple[str, ...]
    flags: dict[str, str]
    loop: str | None
    inputs: tuple[str, ...]
    why: str | None
    is_confirmed: bool
    config_file: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}; see --help")


def parse_command_line(argv: Sequence[str]) -> Parsed:
    """Return the parsed command line; UsageError where it is wrong; exits on --help, --version."""
    parser = _parser()
    names = vars(parser.parse_args(argv))
    flags = {s.name: names[s.name] for s in SETTINGS if names[s.name] is not None}
    spec, values = _backtest(names, flags) or _command(names)
    if names["loop"] is not None and spec.flag != "script":
        raise UsageError("--loop belongs to --script")
    if names["set"] is not None and spec.flag not in ("script", *_BACKTESTS):
        raise UsageError("--set belongs to --script")
    if names["why"] is not None and spec.flag != "backtest":
        raise UsageError("--why belongs to --backtest")
    return Parsed(
        spec=spec,
        values=values,
        flags=flags,
        loop=names["loop"],
        inputs=tuple(names["set"] or ()),
        why=names["why"],
        is_confirmed=names["yes"],
        config_file=names["config"],
    )


def _command(names: Mapping[str, object]) -> tuple[CommandSpec, tuple[str, ...]]:
    given = [spec for spec in COMMANDS if names[_dest(spec.flag)] not in (None, False)]
    if not given:
        raise UsageError("no command given: use --script FILE, or see --help")
    if len(given) > 1:
        both = " and ".join("--" + spec.flag for spec in given)
        raise UsageError(f"{both} do not go together; give one command")
    value = names[_dest(given[0].flag)]
    if given[0].flag == "balance" and value is not True:
        raise UsageError(f"--balance {value}: only a --backtest takes an amount")
    return given[0], _values(value)


def _backtest(
    names: Mapping[str, object], flags: dict[str, str]
) -> tuple[CommandSpec, tuple[str, ...]] | None:
    """Return --backtest (or its job) with the scripts of --script.

    It takes --balance as its first balance.
    """
    if not (names[_dest("backtest")] or names[_dest("sweep-job")]):
        return None
    scripts, balance = names[_dest("script")], names[_dest("balance")]
    if scripts is None:
        raise UsageError("--backtest needs a script: --backtest --script FILE")
    if balance is True:
        raise UsageError("--balance needs an amount with --backtest: --balance 10000")
    if balance is not None:
        flags["balance_start"] = str(balance)
    others = {**names, _dest("script"): None, _dest("balance"): None}
    return _command(others)[0], _values(scripts)


def script_paths(values: Sequence[str]) -> tuple[Path, ...]:
    """Return the scripts' paths; ConfigError names one that is not there."""
    paths = tuple(Path(value) for value in values)
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"script {shown_path(path)}: no such file")
    return paths


def inputs_of(texts: Sequence[str]) -> dict[str, float]:
    """Return `--set name=value` texts as a mapping; UsageError where one is not such."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--set {text}: use name=number") from None
        if not equals or not name.strip():
            raise UsageError(f"--set {text}: use name=number")
    return found


def time_of(text: str | None) -> int | None:
    """Return the text of `--why` in ms UTC; UsageError where it is no time."""
    if text is None:
        return None
    try:
        return read_time_ms(text)
    except ValueError as error:
        raise UsageError(f"--why {text}: {error}") from None


def _values(raw: object) -> tuple[str, ...]:
    if raw is True:
        return ()
    if isinstance(raw, list):
        return tuple(raw)
    return (str(raw),)


def _dest(flag: str) -> str:
    return "command_" + flag.replace("-", "_")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="main.py",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"Milo {__version__}")
    commands = parser.add_argument_group("commands (one of)")
    for spec in COMMANDS:
        _add_command(commands, spec)
    options = parser.add_argument_group("options of commands")
    options.add_argument(
        "--loop",
        nargs="?",
        const="closed",
        choices=("closed", "live"),
        help="run the script on each candle close; with `live` on forming candles too",
    )
    options.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="an input that the script declares"
    )
    options.add_argument(
        "--why",
        metavar="TIME",
        help="with --backtest: explain the candle at TIME (UTC) instead of reporting the whole",
    )
    options.add_argument("--yes", action="store_true", help="do not ask before closing")
    options.add_argument("--config", type=Path, metavar="FILE", help="settings file (milo.toml)")
    settings = parser.add_argument_group("settings")
    for setting in SETTINGS:
        _add_setting(settings, setting)
    return parser


def _add_command(group: argparse._ArgumentGroup, spec: CommandSpec) -> None:
    flag = "--" + spec.flag
    dest = _dest(spec.flag)
    if spec.nargs is None:
        group.add_argument(flag, dest=dest, action="store_true", help=spec.text)
    elif spec.is_repeatable:
        group.add_argument(flag, dest=dest, action="append", metavar=spec.metavar, help=spec.text)
    elif spec.nargs == "?":
        group.add_argument(
            flag, dest=dest, nargs="?", const=True, metavar=spec.metavar, help=spec.text
        )
    elif spec.nargs == "one":
        group.add_argument(flag, dest=dest, metavar=spec.metavar, help=spec.text)
    else:
        group.add_argument(flag, dest=dest, nargs=spec.nargs, metavar=spec.metavar, help=spec.text)


def _add_setting(group: argparse._ArgumentGroup, setting: object) -> None:
    name: str = setting.name  # type: ignore[attr-defined]
    metadata = setting.metadata  # type: ignore[attr-defined]
    flag = "--" + flag_of(name)
    if setting.default is False:  # type: ignore[attr-defined]
        short = ("-v",) if name == "verbose" else ()
        group.add_argument(
            flag, *short, dest=name, action="store_const", const="true", help=metadata["help"]
        )
    else:
        metavar = metadata["metavar"] or name.upper().replace("DATA_", "")
        more = {} if metadata["alone"] is None else {"nargs": "?", "const": metadata["alone"]}
        group.add_argument(flag, dest=name, metavar=metavar, help=metadata["help"], **more)
