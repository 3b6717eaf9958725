"""Settings: one frozen Config, read once from flags, environment, file and defaults (layer 0).

Precedence: flag, then MILO_* environment variable, then milo.toml, then default. This is the only
module that reads the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from milo.errors import ConfigError
from milo.intervals import INTERVALS
from milo.secret import Secret

STEPPED = 0.0
"""The speed called `max`: the exchange's clock moves only when the engine is idle."""

_ENV_PREFIX = "MILO_"
PASSWORD_ENV = "MILO_KEY_PASSWORD"  # noqa: S105 - the variable's name, not a password
CONFIG_ENV = "MILO_CONFIG"
_NOT_SETTINGS = frozenset({PASSWORD_ENV, CONFIG_ENV})
_FLAG_ONLY = " (can only be given as a flag, on purpose)"


def _text(raw: str) -> str:
    return raw


def _named(raw: str) -> str:
    if not raw.strip():
        raise ValueError("a name is needed")
    return raw.strip()


def _path(raw: str) -> Path:
    if not raw or "\0" in raw:
        raise ValueError("a path is needed")
    try:
        return Path(raw).expanduser()
    except RuntimeError as error:  # `~name` of somebody whom the system does not know
        raise ValueError(str(error)) from None


def _flag(raw: str) -> bool:
    lowered = raw.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("use true or false")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            raise ValueError("a whole number is needed") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return parse


def _positive(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        raise ValueError("a number is needed") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError("must be above 0")
    return value


def _speed(raw: str) -> float:
    return STEPPED if raw.strip().lower() == "max" else _positive(raw)


def _amount(raw: str) -> Decimal:
    try:
        value = Decimal(raw.replace("_", ""))
    except InvalidOperation:
        raise ValueError("an amount of money is needed, such as 10000") from None
    if not value.is_finite() or value <= 0 or value > Decimal(10) ** 12:
        raise ValueError("must be above 0 and at most 1,000,000,000,000")
    return value


def _percent(raw: str) -> Decimal:
    try:
        value = Decimal(raw.strip().removesuffix("%"))
    except InvalidOperation:
        raise ValueError("a percentage is needed, such as 20") from None
    if not value.is_finite() or not 0 <= value <= 100:
        raise ValueError("must be from 0 to 100")
    return value


def _intervals(raw: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in raw.split(",") if part.strip())
    for name in names:
        if name not in INTERVALS:
            raise ValueError(f"unknown interval {name!r}; use one of {' '.join(INTERVALS)}")
    if not names:
        raise ValueError(f"use one of {' '.join(INTERVALS)}")
    return names


def _symbol(raw: str) -> str:
    symbol = raw.strip().upper()
    if not symbol.isalnum():
        raise ValueError("a symbol is letters and digits, such as BTCUSDT")
    return symbol


def _symbols(raw: str) -> tuple[str, ...]:
    symbols = dict.fromkeys(_symbol(part) for part in raw.split(",") if part.strip())
    if not symbols:
        raise ValueError("at least one symbol is needed, such as BTCUSDT,ETHUSDT")
    return tuple(symbols)


_TIME = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2}|\d{8})([T ]\d{1,2}:?\d{2}(:\d{2})?)?Z?|\d{12,15}", re.ASCII
)
_TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d",
    "%Y%m%d", "%Y%m%dT%H%M",
)  # fmt: skip
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last that calendars here can show."""


def _time_ms(raw: str) -> int:
    text = raw.strip()
    # strptime alone would guess at days without leading zeros: 2025111.
    if _TIME.fullmatch(text) is not None:
        if text.isdecimal() and len(text) >= 12 and int(text) <= _LAST_MS:
            return int(text)
        for form in _TIME_FORMATS:
            try:
                moment = datetime.strptime(text.removesuffix("Z"), form).replace(tzinfo=UTC)
            except ValueError:
                continue
            return int(moment.timestamp()) * 1000
    raise ValueError("use 2025-05-10, 2025-05-10T12:00 (UTC) or milliseconds")


_RANGE = re.compile(r"(\d{8}(?:T\d{4})?)?-(\d{8}(?:T\d{4})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start_ms` on and before `end_ms`, ms UTC; None where an end is open."""

    start_ms: int | None
    end_ms: int | None

    def __str__(self) -> str:
        ends = (self.start_ms, self.end_ms)
        return "-".join("" if ms is None else _compact(ms) for ms in ends)


def _compact(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y%m%d" if time_ms % 86_400_000 == 0 else "%Y%m%dT%H%M")


def _timerange(raw: str) -> TimeRange:
    found = _RANGE.fullmatch(raw.strip())
    if found is None or not any(found.groups()):
        raise ValueError("use 20240101-20240201T1200 (UTC); either end may be left out")
    start, end = (None if text is None else _time_ms(text) for text in found.groups())
    if start is not None and end is not None and start >= end:
        raise ValueError("its end does not lie behind its start")
    return TimeRange(start, end)


def _share_of_price(raw: str) -> Decimal:
    value = _percent(raw)
    if value > 10:
        raise ValueError("must be from 0 to 10 (per cent)")
    return value


def _signed_percent(raw: str) -> Decimal:
    text = raw.strip()
    sign = -1 if text.startswith("-") else 1
    return sign * _share_of_price(text.removeprefix("-"))


def _choice(*names: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.strip() not in names:
            raise ValueError(f"use {' or '.join(names)}")
        return raw.strip()

    return parse


def _intrabar(raw: str) -> str:
    text = raw.strip()
    if text not in ("stop", "tradingview") and text not in INTERVALS:
        raise ValueError(f"use stop, tradingview or a finer interval ({' '.join(INTERVALS[:4])})")
    return text


def _setting(
    default: object,
    parse: Callable[[str], object],
    text: str,
    *,
    metavar: str | None = None,
    is_flag_only: bool = False,
) -> Any:
    metadata = {"parse": parse, "help": text, "metavar": metavar, "flag_only": is_flag_only}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting of Milo; a field is the setting's row: default, parser, help text."""

    exchange: str = _setting(
        "sim", _text, "venue: sim, binance, binance-demo, aster or a base URL", metavar="VENUE"
    )
    data_dir: Path = _setting(Path("data"), _path, "folder for candles, journals and state")
    keys_file: Path | None = _setting(
        None, _path, "the encrypted key file (default: keys.json in the data directory)"
    )
    symbol: str = _setting("BTCUSDT", _symbol, "symbol where none is given")
    interval: tuple[str, ...] = _setting(
        ("1h",), _intervals, "interval where none is given; a list for --initdb", metavar="1h,4h"
    )
    speed: float | None = _setting(
        None, _speed, "exchange time over wall time, or max (stepped)", metavar="X"
    )
    candles: int | None = _setting(
        None, _whole(1, 10_000_000), "end after N closed candles", metavar="N"
    )
    seconds: float | None = _setting(None, _positive, "end after S seconds", metavar="S")
    json: Path | None = _setting(
        None,
        _path,
        "write the run's summary, or what --doctor or --listopenpositions found, to FILE "
        "(for these two also -, the standard output)",
        metavar="FILE",
    )
    history: int = _setting(5000, _whole(1, 5000), "candles of history before a run", metavar="N")
    balance_start: Decimal = _setting(
        Decimal(10_000), _amount, "first balance of the embedded exchange, USDT", metavar="USDT"
    )
    seed: int = _setting(1, _whole(0, 2**31 - 1), "seed of the simulated market", metavar="N")
    market: Path | None = _setting(
        None, _path, "candle file that the embedded exchange replays", metavar="FILE"
    )
    start: int | None = _setting(None, _time_ms, "where a replay starts (UTC)", metavar="TIME")
    resume: bool = _setting(False, _flag, "continue a replay instead of starting afresh")
    funding: Path | None = _setting(
        None, _path, "funding rates for the embedded exchange", metavar="FILE"
    )
    exchange_info: Path | None = _setting(
        None, _path, "recorded exchangeInfo for the embedded exchange", metavar="FILE"
    )
    brackets: Path | None = _setting(
        None, _path, "recorded leverage brackets for the embedded exchange", metavar="FILE"
    )
    faults: str | None = _setting(
        None, _named, "what goes wrong on the embedded exchange", metavar="PROFILE|FILE"
    )
    fault_seed: int = _setting(
        1, _whole(0, 2**31 - 1), "which faults a profile of --faults means", metavar="N"
    )
    ledger: Path | None = _setting(
        None, _path, "where the embedded exchange writes down what happened", metavar="FILE"
    )
    port: int | None = _setting(
        None, _whole(0, 65535), "port of the chart (8080), or of --serve-exchange", metavar="P"
    )
    no_chart: bool = _setting(False, _flag, "serve no chart page during --loop")
    no_browser: bool = _setting(False, _flag, "open no browser")
    max_daily_loss: Decimal = _setting(
        Decimal(20),
        _percent,
        "per cent of a UTC day's first balance after whose loss nothing is opened; 0: no limit",
        metavar="PERCENT",
    )
    max_positions: int = _setting(
        20, _whole(0, 1000), "open at most so many positions at once; 0: no limit", metavar="N"
    )
    max_risk: Decimal = _setting(
        Decimal(50),
        _percent,
        "per cent of the equity that one entry may lose at its stop, fees included; 0: no limit",
        metavar="PERCENT",
    )
    max_leverage: int = _setting(
        125, _whole(0, 1000), "refuse entries at more leverage; 0: no limit", metavar="N"
    )
    symbols: tuple[str, ...] | None = _setting(
        None, _symbols, "open positions on these symbols only", metavar="BTCUSDT,ETHUSDT"
    )
    timerange: TimeRange | None = _setting(
        None,
        _timerange,
        "what a backtest decides on (UTC, either end may be left out); never cuts the history",
        metavar="20240101-20240201T1200",
    )
    fee: Decimal | None = _setting(
        None,
        _share_of_price,
        "a backtest's fee of each fill, per cent of its notional (default: 0.05 taker, 0.02 maker)",
        metavar="PERCENT",
    )
    slippage: Decimal = _setting(
        Decimal(0),
        _share_of_price,
        "how much worse than its price a backtest fills market orders and stops, in per cent",
        metavar="PERCENT",
    )
    fill: str = _setting(
        "open",
        _choice("open", "close"),
        "where a backtest's entries fill: the next candle's open, or the signal's close",
        metavar="open|close",
    )
    intrabar: str = _setting(
        "stop",
        _intrabar,
        "what a candle hits first that could have hit stop and target: stop, tradingview (the side "
        "nearer to the open), or an interval whose candles tell",
        metavar="RULE",
    )
    funding_assumed: Decimal = _setting(
        Decimal("0.01"),
        _signed_percent,
        "a backtest's funding rate for each 8 hours of which none is stored, in per cent",
        metavar="PERCENT",
    )
    prove: bool = _setting(
        False, _flag, "decide every candle of a backtest a second time, one by one, and compare"
    )
    html: Path | None = _setting(
        None,
        _path,
        "write a backtest's report to FILE, one page that needs nothing else",
        metavar="FILE",
    )
    live: bool = _setting(False, _flag, "allow real orders on a real venue", is_flag_only=True)
    yes_live: bool = _setting(
        False, _flag, "answer the typed confirmation of --live", is_flag_only=True
    )
    no_guard: bool = _setting(
        False, _flag, "run without the guard, the process that watches stops if this one dies"
    )
    trust_script: bool = _setting(
        False,
        _flag,
        "run scripts also where the kernel cannot lock them in (unisolated); opens no lock",
        is_flag_only=True,
    )
    verbose: bool = _setting(False, _flag, "show log lines and tracebacks")
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where each value came from: flag, environment, file or default."""
    key_password: Secret | None = field(default=None, repr=False)
    """The key file's password where the environment gives one; never shown."""

    @property
    def is_stepped(self) -> bool:
        return self.speed == STEPPED

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
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if is_required:
            raise ConfigError(f"settings file {path} does not exist") from None
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
