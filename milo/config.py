"""Settings: one frozen Config, read once from flags, environment, file and defaults (layer 0).

Precedence: flag, then MILO_* environment variable, then milo.toml, then default. This is the only
module that reads the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from milo.errors import ConfigError
from milo.secret import Secret
from milo.setting_values import (
    RANKS,
    STEPPED,
    TimeRange,
    read_address,
    read_amount,
    read_choice,
    read_intervals,
    read_intrabar,
    read_name,
    read_path,
    read_percent,
    read_positive,
    read_share_of_price,
    read_signed_percent,
    read_speed,
    read_symbols,
    read_text,
    read_time_ms,
    read_time_range,
    read_truth,
    read_whole,
)

_ENV_PREFIX = "MILO_"
PASSWORD_ENV = "MILO_KEY_PASSWORD"  # noqa: S105 - the variable's name, not a password
CONFIG_ENV = "MILO_CONFIG"
_NOT_SETTINGS = frozenset({PASSWORD_ENV, CONFIG_ENV})
_FLAG_ONLY = " (can only be given as a flag, on purpose)"


def _setting(
    default: object,
    parse: Callable[[str], object],
    text: str,
    *,
    metavar: str | None = None,
    is_flag_only: bool = False,
    alone: str | None = None,
) -> Any:
    """Return a setting's field; `alone`: what its flag means without a value."""
    metadata = {
        "parse": parse, "help": text, "metavar": metavar, "flag_only": is_flag_only, "alone": alone,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of Milo; a field is the setting's row: default, parser, help text."""

    exchange: str = _setting(
        "sim", read_text, "venue: sim, binance, binance-demo, aster or a base URL", metavar="VENUE"
    )
    data_dir: Path = _setting(Path("data"), read_path, "folder for candles, journals and state")
    keys_file: Path | None = _setting(
        None, read_path, "the encrypted key file (default: keys.json in the data directory)"
    )
    symbol: tuple[str, ...] = _setting(
        ("BTCUSDT",),
        read_symbols,
        "symbol where none is given; a list runs a script that names none on each",
        metavar="BTCUSDT,ETHUSDT",
    )
    interval: tuple[str, ...] = _setting(
        ("1h",),
        read_intervals,
        "interval where none is given; a list for --initdb",
        metavar="1h,4h",
    )
    speed: float | None = _setting(
        None, read_speed, "exchange time over wall time, or max (stepped)", metavar="X"
    )
    candles: int | None = _setting(
        None, read_whole(1, 10_000_000), "end after N closed candles", metavar="N"
    )
    seconds: float | None = _setting(None, read_positive, "end after S seconds", metavar="S")
    json: Path | None = _setting(
        None,
        read_path,
        "write the run's summary, or what --doctor or --listopenpositions found, to FILE "
        "(for these two also -, the standard output)",
        metavar="FILE",
    )
    history: int = _setting(
        5000, read_whole(1, 5000), "candles of history before a run", metavar="N"
    )
    balance_start: Decimal = _setting(
        Decimal(10_000), read_amount, "first balance of the embedded exchange, USDT", metavar="USDT"
    )
    seed: int = _setting(
        1, read_whole(0, 2**31 - 1), "seed of the simulated market, and of --trials", metavar="N"
    )
    market: Path | None = _setting(
        None, read_path, "candle file that the embedded exchange replays", metavar="FILE"
    )
    start: int | None = _setting(None, read_time_ms, "where a replay starts (UTC)", metavar="TIME")
    resume: bool = _setting(False, read_truth, "continue a replay instead of starting afresh")
    funding: Path | None = _setting(
        None, read_path, "funding rates for the embedded exchange", metavar="FILE"
    )
    exchange_info: Path | None = _setting(
        None, read_path, "recorded exchangeInfo for the embedded exchange", metavar="FILE"
    )
    brackets: Path | None = _setting(
        None, read_path, "recorded leverage brackets for the embedded exchange", metavar="FILE"
    )
    faults: str | None = _setting(
        None, read_name, "what goes wrong on the embedded exchange", metavar="PROFILE|FILE"
    )
    fault_seed: int = _setting(
        1, read_whole(0, 2**31 - 1), "which faults a profile of --faults means", metavar="N"
    )
    ledger: Path | None = _setting(
        None, read_path, "where the embedded exchange writes down what happened", metavar="FILE"
    )
    port: int | None = _setting(
        None, read_whole(0, 65535), "port of the chart (8080), or of --serve-exchange", metavar="P"
    )
    no_chart: bool = _setting(False, read_truth, "serve no chart page during --loop")
    no_browser: bool = _setting(False, read_truth, "open no browser")
    listen: str | None = _setting(
        None,
        read_address,
        "serve the chart on this address instead of 127.0.0.1, behind a password that is asked for "
        "at start; what it shows is not encrypted on the way",
        metavar="ADDRESS",
    )
    i_know: bool = _setting(
        False,
        read_truth,
        "allow --listen together with --live",
        is_flag_only=True,
    )
    max_daily_loss: Decimal = _setting(
        Decimal(20),
        read_percent,
        "per cent of a UTC day's first balance after whose loss nothing is opened; 0: no limit",
        metavar="PERCENT",
    )
    max_positions: int = _setting(
        20, read_whole(0, 1000), "open at most so many positions at once; 0: no limit", metavar="N"
    )
    max_risk: Decimal = _setting(
        Decimal(50),
        read_percent,
        "per cent of the equity that one entry may lose at its stop, fees included; 0: no limit",
        metavar="PERCENT",
    )
    max_leverage: int = _setting(
        125, read_whole(0, 1000), "refuse entries at more leverage; 0: no limit", metavar="N"
    )
    symbols: tuple[str, ...] | None = _setting(
        None, read_symbols, "open positions on these symbols only", metavar="BTCUSDT,ETHUSDT"
    )
    timerange: TimeRange | None = _setting(
        None,
        read_time_range,
        "what a backtest decides on (UTC, either end may be left out); never cuts the history",
        metavar="20240101-20240201T1200",
    )
    fee: Decimal | None = _setting(
        None,
        read_share_of_price,
        "a backtest's fee of each fill, per cent of its notional (default: 0.05 taker, 0.02 maker)",
        metavar="PERCENT",
    )
    slippage: Decimal = _setting(
        Decimal(0),
        read_share_of_price,
        "how much worse than its price a backtest fills market orders and stops, in per cent",
        metavar="PERCENT",
    )
    fill: str = _setting(
        "open",
        read_choice("open", "close"),
        "where a backtest's entries fill: the next candle's open, or the signal's close",
        metavar="open|close",
    )
    intrabar: str = _setting(
        "stop",
        read_intrabar,
        "what a candle hits first that could have hit stop and target: stop, tradingview (the side "
        "nearer to the open), or an interval whose candles tell",
        metavar="RULE",
    )
    funding_assumed: Decimal = _setting(
        Decimal("0.01"),
        read_signed_percent,
        "a backtest's funding rate for each 8 hours of which none is stored, in per cent",
        metavar="PERCENT",
    )
    prove: bool = _setting(
        False,
        read_truth,
        "decide every candle of a backtest a second time, one by one, and compare",
    )
    html: Path | None = _setting(
        None,
        read_path,
        "write a backtest's report to FILE, one page that needs nothing else",
        metavar="FILE",
    )
    sweep: str | None = _setting(
        None,
        read_name,
        "try a backtest's script with many inputs: all that have a range, or ranges such as "
        "fast=5:20:5,slow=20/50 (lowest:highest:step, or values)",
        metavar="RANGES",
        alone="all",
    )
    trials: int | None = _setting(
        None,
        read_whole(1, 1_000_000),
        "try only N combinations of --sweep, drawn at random with --seed",
        metavar="N",
    )
    rank: str = _setting(
        "sharpe",
        read_choice(*RANKS),
        "what makes one combination of --sweep better than another",
        metavar="FIGURE",
    )
    min_trades: int = _setting(
        10,
        read_whole(1, 1_000_000),
        "closed trades without which --sweep does not choose a combination",
        metavar="N",
    )
    walk_forward: int = _setting(
        5,
        read_whole(0, 50),
        "choose --sweep's inputs anew in N windows and judge them on what follows; 0: do not",
        metavar="N",
    )
    jobs: int | None = _setting(
        None, read_whole(1, 256), "processes of --sweep (default: one a core)", metavar="N"
    )
    live: bool = _setting(False, read_truth, "allow real orders on a real venue", is_flag_only=True)
    yes_live: bool = _setting(
        False, read_truth, "answer the typed confirmation of --live", is_flag_only=True
    )
    no_guard: bool = _setting(
        False, read_truth, "run without the guard, the process that watches stops if this one dies"
    )
    trust_script: bool = _setting(
        False,
        read_truth,
        "run scripts also where the kernel cannot lock them in (unisolated); opens no lock",
        is_flag_only=True,
    )
    verbose: bool = _setting(False, read_truth, "show log lines and tracebacks")
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where each value came from: flag, environment, file or default."""
    key_password: Secret | None = field(default=None, repr=False)
    """The key file's password where the environment gives one; never shown."""

    @property
    def is_stepped(self) -> bool:
        return self.speed == STEPPED

    @property
    def only_symbol(self) -> str:
        """The symbol, for what works on one; ConfigError where several are given."""
        if len(self.symbol) > 1:
            raise ConfigError(f"--symbol {','.join(self.symbol)}: only one symbol can be used here")
        return self.symbol[0]

    @property
    def is_sim(self) -> bool:
        return self.exchange == "sim"


SETTINGS = tuple(item for item in dataclasses.fields(Config) if item.metadata)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def load_config(
    flags: Mapping[str, str],
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Config:
    """Return the Config for `flags` (setting name -> raw text); raise ConfigError on any bad value.

    `file` is the milo.toml to read; without it MILO_CONFIG names one, or ./milo.toml if there.
    """
    env = os.environ if environ is None else environ
    path, is_required = _config_path(env, file)
    from_file = _read_file(path, is_required=is_required)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        name = setting.name
        env_name = _env_of(name)
        if name in flags:
            raw, origin, shown = flags[name], "flag", "--" + flag_of(name)
        elif env_name in env and not setting.metadata["flag_only"]:
            raw, origin, shown = env[env_name], "environment", env_name
        elif name in from_file:
            raw, origin, shown = from_file[name], f"file {path}", f"{name} in {path}"
        else:
            origins[name] = "default"
            continue
        try:
            values[name] = setting.metadata["parse"](raw)
        except ValueError as error:
            raise ConfigError(f"{shown} {raw!r}: {error}") from None
        origins[name] = origin
    password = take_password() if environ is None else environ.get(PASSWORD_ENV)
    secret = None if password is None else Secret(password)
    return Config(**values, origins=origins, key_password=secret)  # type: ignore[arg-type]


def take_password() -> str | None:
    """Return the key file's password from the environment, and take it out of there.

    What a process was started with stays readable in /proc/PID/environ for as long as it runs, so
    it is overwritten there as well, where the system can do that.
    """
    password = os.environ.get(PASSWORD_ENV)
    if password is None:
        return None
    if sys.platform == "linux":
        _overwrite_in_environment(PASSWORD_ENV)
    del os.environ[PASSWORD_ENV]
    return password


def _overwrite_in_environment(name: str) -> None:
    # Few commands have a password there, and this import takes its time.
    import ctypes

    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    libc.strlen.argtypes = [ctypes.c_void_p]
    libc.strlen.restype = ctypes.c_size_t
    place = libc.getenv(name.encode())
    if place:
        ctypes.memset(place, ord("*"), libc.strlen(place))


def unknown_environment(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return MILO_* variables that set nothing, each with the reason or the nearest known name."""
    env = os.environ if environ is None else environ
    flag_only = {_env_of(item.name) for item in SETTINGS if item.metadata["flag_only"]}
    known = ({_env_of(name) for name in _BY_NAME} - flag_only) | _NOT_SETTINGS
    return [
        name + (_FLAG_ONLY if name in flag_only else _did_you_mean(name, known))
        for name in sorted(env)
        if name.startswith(_ENV_PREFIX) and name not in known
    ]


def flag_of(name: str) -> str:
    """Return the command-line flag of a setting, without the dashes."""
    return name.replace("_", "-")


def _env_of(name: str) -> str:
    return _ENV_PREFIX + name.upper()


def shown_value(name: str, value: object) -> str:
    """Return a setting's value as `--show-config` prints it."""
    if value is None:
        return "-"
    if name == "speed":
        return "max" if value == STEPPED else f"{value:.15g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def has_display() -> bool:
    """Return whether a desktop is there to open a browser on."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def child_environment() -> dict[str, str]:
    """Return what a process of ours may know of the environment: nothing secret."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ}


def use_one_thread() -> None:
    """Keep numpy's linear algebra, of which nothing here asks anything, from starting threads.

    They cost 20 ms of processor time at the start. What the user has set stays. To be
    called before numpy is loaded.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def nearest(name: str, known: list[str]) -> list[str]:
    """Return up to three known names close to `name`, best first."""
    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def _config_path(env: Mapping[str, str], file: Path | None) -> tuple[Path, bool]:
    if file is not None:
        return file, True
    if env.get(CONFIG_ENV):
        return Path(env[CONFIG_ENV]), True
    return Path("milo.toml"), False


def _read_file(path: Path, *, is_required: bool) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if is_required:
            raise ConfigError(f"settings file {path} does not exist") from None
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read settings file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"settings file {path} is not valid TOML: {error}") from None
    # Here, since most runs have none.
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"settings file {path} is not valid TOML: {error}") from None
    found: dict[str, str] = {}
    for key, value in table.items():
        name = _known(key, path)
        if name in found:
            raise ConfigError(f"{path}: {key!r} is given twice, once with - and once with _")
        found[name] = _raw(key, value, path)
    return found


def _known(key: str, path: Path) -> str:
    name = key.replace("-", "_")
    if name not in _BY_NAME:
        raise ConfigError(f"{path}: unknown setting {key!r}{_did_you_mean(name, set(_BY_NAME))}")
    if _BY_NAME[name].metadata["flag_only"]:
        raise ConfigError(f"{path}: {key!r} can only be given as a flag, on purpose")
    return name


def _raw(key: str, value: object, path: Path) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    raise ConfigError(f"{path}: {key!r} must be a text, a number or true/false")


def _did_you_mean(name: str, known: set[str]) -> str:
    close = nearest(name, sorted(known))
    return f" (did you mean {close[0]}?)" if close else ""
