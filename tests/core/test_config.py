"""Settings: where each comes from, what its values may be, and what a wrong one is told."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.cli import parse_command_line, show_config
from milo.cli.context import App, Arguments, Makers
from milo.config import (
    SETTINGS,
    Config,
    flag_of,
    load_config,
    shown_value,
    unknown_environment,
    use_one_thread,
)
from milo.errors import ConfigError
from milo.secret import Secret
from milo.setting_values import TimeRange

quick = settings(deadline=None, derandomize=True, max_examples=100)

GOOD: dict[str, tuple[str, object]] = {
    "exchange": ("binance-demo", "binance-demo"),
    "data_dir": ("elsewhere", Path("elsewhere")),
    "keys_file": ("my-keys.json", Path("my-keys.json")),
    "symbol": (" ethusdt ", ("ETHUSDT",)),
    "interval": ("1h, 4h", ("1h", "4h")),
    "speed": ("3600", 3600.0),
    "candles": ("10", 10),
    "seconds": ("2.5", 2.5),
    "json": ("out.json", Path("out.json")),
    "history": ("250", 250),
    "balance_start": ("25_000.50", Decimal("25000.50")),
    "seed": ("7", 7),
    "market": ("candles.csv.gz", Path("candles.csv.gz")),
    "start": ("2025-05-10", 1_746_835_200_000),
    "resume": ("yes", True),
    "funding": ("funding.csv", Path("funding.csv")),
    "exchange_info": ("info.json", Path("info.json")),
    "brackets": ("brackets.json", Path("brackets.json")),
    "faults": (" lossy ", "lossy"),
    "fault_seed": ("9", 9),
    "ledger": ("ledger.jsonl", Path("ledger.jsonl")),
    "port": ("0", 0),
    "no_chart": ("1", True),
    "no_browser": ("on", True),
    "sweep": (" fast=5:20:5 ", "fast=5:20:5"),
    "trials": ("50", 50),
    "rank": ("calmar", "calmar"),
    "min_trades": ("30", 30),
    "walk_forward": ("0", 0),
    "jobs": ("2", 2),
    "listen": (" 192.168.1.5 ", "192.168.1.5"),
    "i_know": ("1", True),
    "max_daily_loss": ("12.5%", Decimal("12.5")),
    "max_positions": ("3", 3),
    "max_risk": ("2.5%", Decimal("2.5")),
    "max_leverage": ("10", 10),
    "symbols": (" btcusdt, ETHUSDT,btcusdt", ("BTCUSDT", "ETHUSDT")),
    "timerange": ("20240101-20240201T1200", TimeRange(1_704_067_200_000, 1_706_788_800_000)),
    "fee": ("0.04", Decimal("0.04")),
    "slippage": ("0.02%", Decimal("0.02")),
    "fill": ("close", "close"),
    "intrabar": ("1m", "1m"),
    "funding_assumed": ("-0.005", Decimal("-0.005")),
    "prove": ("yes", True),
    "html": ("report.html", Path("report.html")),
    "no_guard": ("on", True),
    "trust_script": ("1", True),
    "live": ("true", True),
    "yes_live": ("true", True),
    "verbose": ("TRUE", True),
}
BAD: dict[str, list[str]] = {
    "data_dir": ["", "~nobody-has-this-name/x"],
    "keys_file": [""],
    "symbol": ["", "BTC/USDT", "BTC USDT"],
    "interval": ["7m", "1H", "", ",", "1h,7m"],
    "speed": ["0", "-1", "fast", "nan", "inf", ""],
    "candles": ["0", "-1", "1.5", "ten", ""],
    "seconds": ["0", "-2", "soon", "nan"],
    "json": [""],
    "history": ["0", "5001", "all"],
    "balance_start": ["0", "-1", "much", "NaN", "Infinity", "1e13"],
    "seed": ["-1", "2147483648", "x"],
    "market": [""],
    "start": [
        "yesterday",
        "2025-13-01",
        "2025-02-30",
        "2025111",
        "",
        "99999999999999999999",
        "²" * 13,
    ],
    "resume": ["maybe"],
    "funding": [""],
    "exchange_info": [""],
    "brackets": [""],
    "faults": ["", "  "],
    "fault_seed": ["-1", "one"],
    "ledger": [""],
    "port": ["-1", "65536", "http"],
    "no_chart": ["2"],
    "no_browser": ["nope"],
    "sweep": ["", " "],
    "trials": ["0", "many", "-1"],
    "rank": ["best", ""],
    "min_trades": ["0", "few"],
    "walk_forward": ["-1", "51"],
    "jobs": ["0", "257"],
    "listen": ["", "localhost", "0.0.0.0", "224.0.0.1", "1.2.3", "::", "192.168.1.5:80"],
    "i_know": ["perhaps"],
    "max_daily_loss": ["-1", "101", "much", "NaN"],
    "max_positions": ["-1", "1001", "few"],
    "max_risk": ["-1", "101", "all", "Infinity"],
    "max_leverage": ["-1", "1001", "1.5", "much"],
    "symbols": ["", " , ", "BTC/USDT", "BTCUSDT ETHUSDT"],
    "timerange": ["", "-", "2024", "20240201-20240101", "20240101-20240101", "20241301-", "soon-"],
    "fee": ["-1", "11", "much"],
    "slippage": ["-0.1", "10.1", "NaN"],
    "fill": ["", "next"],
    "intrabar": ["", "7m", "high"],
    "funding_assumed": ["11", "-11", "--1", "some"],
    "prove": ["perhaps"],
    "html": [""],
    "no_guard": ["nope"],
    "trust_script": ["sometimes"],
    "live": ["perhaps"],
    "yes_live": ["perhaps"],
    "verbose": ["very"],
}
FLAG_ONLY = [setting.name for setting in SETTINGS if setting.metadata["flag_only"]]
NAMES = [setting.name for setting in SETTINGS]
FREE = [name for name in NAMES if name not in FLAG_ONLY]
BAD_VALUES = [(name, raw) for name, raws in BAD.items() for raw in raws]


class Lines:
    """A console that keeps what a command says; nobody answers at it."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)

    def ask(self, prompt: str) -> NoReturn:
        raise ConfigError(prompt)

    def ask_secret(self, prompt: str) -> NoReturn:
        raise ConfigError(prompt)


def not_needed(*_: object, **__: object) -> NoReturn:
    raise AssertionError("showing settings needs no part of the shell")


def settings_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "milo.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(flags: dict[str, str] | None = None, **environ: str) -> Config:
    return load_config(flags or {}, environ={"MILO_CONFIG": "", **environ})


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_tables_of_this_file_name_every_setting() -> None:
    assert set(GOOD) == set(NAMES)
    # Any text may name a venue; its command knows which there are.
    assert set(BAD) == set(NAMES) - {"exchange"}


def test_without_anything_given_every_value_is_the_default() -> None:
    config = loaded()

    assert dataclasses.replace(config, origins={}) == Config()
    assert set(config.origins) == set(NAMES)
    assert set(config.origins.values()) == {"default"}


def test_a_flag_wins_over_environment_file_and_default(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "seed = 3\n")

    config = load_config({"seed": "1"}, environ={"MILO_SEED": "2"}, file=file)

    assert config.seed == 1
    assert config.origins["seed"] == "flag"


def test_the_environment_wins_over_file_and_default(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "seed = 3\n")

    config = load_config({}, environ={"MILO_SEED": "2"}, file=file)

    assert config.seed == 2
    assert config.origins["seed"] == "environment"


def test_the_file_wins_over_the_default(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "seed = 3\n")

    config = load_config({}, environ={}, file=file)

    assert config.seed == 3
    assert config.origins["seed"] == f"file {file}"
    assert config.origins["history"] == "default"


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_parses_from_a_flag(name: str) -> None:
    raw, value = GOOD[name]

    config = loaded({name: raw})

    assert getattr(config, name) == value
    assert config.origins[name] == "flag"


@pytest.mark.parametrize("name", FREE)
def test_every_setting_parses_from_the_environment(name: str) -> None:
    raw, value = GOOD[name]

    config = load_config({}, environ={"MILO_" + name.upper(): raw})

    assert getattr(config, name) == value
    assert config.origins[name] == "environment"


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("separator", ["_", "-"])
def test_every_setting_parses_from_the_file(tmp_path: Path, name: str, separator: str) -> None:
    raw, value = GOOD[name]
    file = settings_file(tmp_path, f'{name.replace("_", separator)} = "{raw}"\n')

    config = load_config({}, environ={}, file=file)

    assert getattr(config, name) == value


@pytest.mark.parametrize(("name", "raw"), BAD_VALUES)
def test_a_bad_value_is_told_with_its_flag(name: str, raw: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded({name: raw})

    assert str(caught.value).startswith(f"--{flag_of(name)} {raw!r}: ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "raw"), [row for row in BAD_VALUES if row[0] in FREE])
def test_a_bad_value_is_told_with_its_variable(name: str, raw: str) -> None:
    variable = "MILO_" + name.upper()

    with pytest.raises(ConfigError) as caught:
        load_config({}, environ={variable: raw})

    assert str(caught.value).startswith(f"{variable} {raw!r}: ")


@pytest.mark.parametrize(("name", "raw"), [row for row in BAD_VALUES if row[0] in FREE])
def test_a_bad_value_is_told_with_its_file(tmp_path: Path, name: str, raw: str) -> None:
    file = settings_file(tmp_path, f'{name} = "{raw}"\n')

    with pytest.raises(ConfigError) as caught:
        load_config({}, environ={}, file=file)

    assert str(caught.value).startswith(f"{name} in {file} {raw!r}: ")


def test_the_file_takes_tomls_own_numbers_lists_and_truths(tmp_path: Path) -> None:
    file = settings_file(
        tmp_path, 'seed = 7\nspeed = 60.5\ninterval = ["1h", "4h"]\nno_chart = true\nresume = false'
    )

    config = load_config({}, environ={}, file=file)

    assert (config.seed, config.speed, config.interval) == (7, 60.5, ("1h", "4h"))
    assert config.no_chart
    assert not config.resume


@pytest.mark.parametrize("value", ["{ a = 1 }", "[1, 2]", "12:00:00"])
def test_a_value_of_a_kind_that_no_setting_has_is_refused(tmp_path: Path, value: str) -> None:
    file = settings_file(tmp_path, f"seed = {value}\n")

    with pytest.raises(ConfigError, match="'seed' must be a text, a number or true/false"):
        load_config({}, environ={}, file=file)


@pytest.mark.parametrize(
    ("key", "close"),
    [("simbol", "symbol"), ("balance-strt", "balance_start"), ("intervall", "interval")],
)
def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(
    tmp_path: Path, key: str, close: str
) -> None:
    file = settings_file(tmp_path, f'{key} = "x"\n')

    with pytest.raises(ConfigError) as caught:
        load_config({}, environ={}, file=file)

    assert str(caught.value) == f"{file}: unknown setting {key!r} (did you mean {close}?)"


def test_an_unknown_key_far_from_all_names_is_refused_without_a_guess(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "zzz = 1\n")

    with pytest.raises(ConfigError, match=r"unknown setting 'zzz'$"):
        load_config({}, environ={}, file=file)


def test_a_setting_written_twice_in_two_spellings_is_refused(tmp_path: Path) -> None:
    file = settings_file(tmp_path, 'data-dir = "a"\ndata_dir = "b"\n')

    with pytest.raises(ConfigError, match="'data_dir' is given twice"):
        load_config({}, environ={}, file=file)


def test_what_gives_up_protection_can_be_set_by_a_flag_only() -> None:
    assert sorted(FLAG_ONLY) == ["i_know", "live", "trust_script", "yes_live"]


@pytest.mark.parametrize("name", ["live", "yes_live", "yes-live"])
def test_a_flag_only_setting_is_refused_in_the_file(tmp_path: Path, name: str) -> None:
    file = settings_file(tmp_path, f"{name} = true\n")

    with pytest.raises(ConfigError, match=f"'{name}' can only be given as a flag"):
        load_config({}, environ={}, file=file)


@pytest.mark.parametrize("name", ["live", "yes_live"])
def test_a_flag_only_setting_is_ignored_in_the_environment_and_said(name: str) -> None:
    environ = {"MILO_" + name.upper(): "true"}

    config = load_config({}, environ=environ)

    assert getattr(config, name) is False
    assert config.origins[name] == "default"
    assert unknown_environment(environ) == [
        f"MILO_{name.upper()} (can only be given as a flag, on purpose)"
    ]


def test_variables_that_set_nothing_are_named_with_the_nearest_one() -> None:
    environ = {"MILO_SPEEED": "1", "MILO_SEED": "1", "MILO_CONFIG": "x", "PATH": "/bin"}

    assert unknown_environment(environ) == ["MILO_SPEEED (did you mean MILO_SPEED?)"]


def test_milo_config_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("seed = 5\n", encoding="utf-8")

    assert load_config({}, environ={"MILO_CONFIG": str(file)}).seed == 5


def test_a_milo_toml_in_the_working_folder_is_read(tmp_path: Path) -> None:
    settings_file(tmp_path, "seed = 6\n")

    assert load_config({}, environ={}).seed == 6


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"

    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load_config({}, environ={}, file=missing)
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        load_config({}, environ={"MILO_CONFIG": str(missing)})


@pytest.mark.parametrize("content", [b"seed = \n", b"seed = 1\nseed = 2\n", b'symbol = "\xff"\n'])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "milo.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"milo\.toml is not valid TOML"):
        load_config({}, environ={}, file=file)


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read settings file"):
        load_config({}, environ={}, file=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "2025-05-10T12:30",
        "2025-05-10T12:30Z",
        "2025-05-10T12:30:00Z",
        "2025-05-10 12:30",
        "2025-05-10 12:30:00",
        "20250510T1230",
        " 2025-05-10T12:30 ",
        "1746880200000",
    ],
)
def test_a_time_may_be_written_in_many_ways_and_is_utc(text: str) -> None:
    assert loaded({"start": text}).start == 1_746_880_200_000


@pytest.mark.parametrize("text", ["2025-05-10", "20250510", "2025-5-10"])
def test_a_day_is_its_first_moment(text: str) -> None:
    assert loaded({"start": text}).start == 1_746_835_200_000


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2025-05-10", datetime(2025, 5, 10, tzinfo=UTC)),
        ("2025-05-10T12:30:15", datetime(2025, 5, 10, 12, 30, 15, tzinfo=UTC)),
        ("2025-05-10T12:30:15Z", datetime(2025, 5, 10, 12, 30, 15, tzinfo=UTC)),
        ("2025-05-10T12:30:00+02:00", datetime(2025, 5, 10, 10, 30, tzinfo=UTC)),
    ],
)
def test_tomls_own_dates_and_times_keep_their_moment(
    tmp_path: Path, written: str, meant: datetime
) -> None:
    file = settings_file(tmp_path, f"start = {written}\n")

    config = load_config({}, environ={}, file=file)

    assert config.start == int(meant.timestamp()) * 1000


@quick
@given(moment=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - wall times as people write them
def test_every_minute_reads_back_as_itself(moment: datetime) -> None:
    written = moment.strftime("%Y-%m-%dT%H:%M")

    read = loaded({"start": written}).start

    assert read is not None
    assert datetime.fromtimestamp(read / 1000, UTC).strftime("%Y-%m-%dT%H:%M") == written


def test_speed_max_is_the_stepped_one() -> None:
    stepped, fast, unsaid = loaded({"speed": "MAX"}), loaded({"speed": "60"}), loaded()

    assert stepped.is_stepped
    assert not fast.is_stepped
    assert not unsaid.is_stepped


def test_only_sim_is_the_embedded_exchange() -> None:
    assert loaded().is_sim
    assert not loaded({"exchange": "binance"}).is_sim


def test_a_path_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")

    assert loaded({"data_dir": "~/milo"}).data_dir == Path("/somewhere/milo")


@pytest.mark.parametrize("name", NAMES)
def test_a_shown_value_reads_back_as_the_same_value(name: str) -> None:
    config = loaded({name: GOOD[name][0]})

    again = loaded({name: shown_value(name, getattr(config, name))})

    assert getattr(again, name) == getattr(config, name)


@pytest.mark.parametrize("speed", ["max", "0.5", "1234567", "86400.125"])
def test_a_speed_is_shown_in_full(speed: str) -> None:
    assert shown_value("speed", loaded({"speed": speed}).speed) == speed


def test_help_names_every_setting_and_says_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Wide enough that no word is broken at its hyphen.
    monkeypatch.setenv("COLUMNS", "300")

    with pytest.raises(SystemExit) as ended:
        parse_command_line(["--help"])

    words = " ".join(capsys.readouterr().out.partition("\nsettings:\n")[2].split())
    assert ended.value.code == 0
    for setting in SETTINGS:
        told = re.escape(setting.metadata["help"])
        assert re.search(rf"--{flag_of(setting.name)}(, -v)?( \S+)? {told}", words), setting.name


def test_show_config_prints_every_setting_with_value_and_origin_and_no_password(
    tmp_path: Path,
) -> None:
    file = settings_file(tmp_path, "seed = 3\n")
    environ = {"MILO_SYMBOL": "solusdt", "MILO_KEY_PASSWORD": "hush-hush"}
    config = load_config({"speed": "max"}, environ=environ, file=file)
    console = Lines()
    makers = Makers(**{maker.name: not_needed for maker in dataclasses.fields(Makers)})
    arguments = Arguments(command="show-config")

    code = asyncio.run(
        show_config.run(App(config=config, arguments=arguments, console=console, make=makers))
    )

    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in console.said}
    assert code == 0
    assert list(rows) == [*NAMES, "key_password"]
    assert rows["speed"] == ["max", "flag"]
    assert rows["symbol"] == ["SOLUSDT", "environment"]
    assert rows["seed"] == ["3", f"file {file}"]
    assert rows["history"] == ["5000", "default"]
    assert rows["key_password"] == ["********", "environment MILO_KEY_PASSWORD"]
    assert "hush" not in "".join(console.said) + repr(config)


def test_the_default_settings_read_no_password() -> None:
    assert loaded().key_password is None
    assert loaded(MILO_KEY_PASSWORD="hush").key_password == Secret("hush")


def test_numpy_keeps_to_one_thread_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "to be put back")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    use_one_thread()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    use_one_thread()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
