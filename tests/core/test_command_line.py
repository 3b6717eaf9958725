"""The command line: one command, its values, and the settings that were given as flags."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from milo import __version__
from milo.cli import COMMANDS, CommandSpec, UsageError, inputs_of, parse_command_line
from milo.config import SETTINGS, flag_of


def arguments_of(spec: CommandSpec) -> list[str]:
    is_alone = spec.nargs is None or spec.flag == "balance"
    return [f"--{spec.flag}"] if is_alone else [f"--{spec.flag}", "value"]


@pytest.mark.parametrize(
    "spec",
    [one for one in COMMANDS if one.flag not in ("backtest", "sweep-job")],
    ids=lambda spec: spec.flag,
)
def test_every_command_is_understood_alone(spec: CommandSpec) -> None:
    parsed = parse_command_line(arguments_of(spec))

    assert parsed.spec is spec
    assert parsed.values == tuple(arguments_of(spec)[1:])
    assert parsed.flags == {}
    assert parsed.loop is None
    assert not parsed.is_confirmed


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.flag)
def test_every_command_has_a_module_that_runs_it(spec: CommandSpec) -> None:
    module = importlib.import_module(f"milo.cli.{spec.module}")

    assert inspect.iscoroutinefunction(module.run)


def test_no_command_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="no command given: use --script FILE, or see --help"):
        parse_command_line(["--symbol", "BTCUSDT"])


def test_two_commands_are_an_error_that_names_both() -> None:
    with pytest.raises(UsageError, match="--initdb and --balance do not go together"):
        parse_command_line(["--balance", "--initdb", "BTCUSDT"])


def test_script_may_be_repeated_and_keeps_its_order() -> None:
    parsed = parse_command_line(["--script", "b.script", "--loop", "--script", "a.script"])

    assert parsed.spec.flag == "script"
    assert parsed.values == ("b.script", "a.script")


def test_initdb_and_check_take_several_values() -> None:
    assert parse_command_line(["--initdb", "BTCUSDT", "ETHUSDT"]).values == ("BTCUSDT", "ETHUSDT")
    assert parse_command_line(["--check", "a.script", "b.script"]).values == (
        "a.script",
        "b.script",
    )


@pytest.mark.parametrize("command", ["--initdb", "--check", "--script", "--closeposition"])
def test_a_command_without_its_value_is_an_error(command: str) -> None:
    with pytest.raises(UsageError, match=rf"argument {command}: expected .* see --help"):
        parse_command_line([command])


@pytest.mark.parametrize(
    ("given", "loop"),
    [
        ([], None),
        (["--loop"], "closed"),
        (["--loop", "closed"], "closed"),
        (["--loop", "live"], "live"),
        (["--loop=live"], "live"),
    ],
)
def test_loop_runs_on_closed_candles_unless_told_live(given: list[str], loop: str | None) -> None:
    assert parse_command_line(["--script", "a.script", *given]).loop == loop


def test_loop_may_stand_before_the_script() -> None:
    parsed = parse_command_line(["--loop", "--script", "a.script"])

    assert (parsed.loop, parsed.values) == ("closed", ("a.script",))


def test_another_word_after_loop_is_an_error() -> None:
    with pytest.raises(UsageError, match="invalid choice: 'forever'"):
        parse_command_line(["--script", "a.script", "--loop", "forever"])


@pytest.mark.parametrize("option", [["--loop"], ["--set", "fast=5"]])
def test_an_option_of_scripts_without_a_script_is_an_error(option: list[str]) -> None:
    with pytest.raises(UsageError, match=f"{option[0]} belongs to --script"):
        parse_command_line(["--balance", *option])


def test_inputs_may_be_set_several_times() -> None:
    parsed = parse_command_line(["--script", "a.script", "--set", "fast=5", "--set", "k = -1.5"])

    assert parsed.inputs == ("fast=5", "k = -1.5")
    assert inputs_of(parsed.inputs) == {"fast": 5.0, "k": -1.5}


@pytest.mark.parametrize("text", ["fast", "fast=", "=5", " =5", "fast=quick", "5", "", "a=b=1"])
def test_an_input_that_is_not_name_and_number_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="use name=number"):
        inputs_of([text])


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_can_be_given_as_a_flag(setting: object) -> None:
    name = setting.name  # type: ignore[attr-defined]
    is_switch = setting.default is False  # type: ignore[attr-defined]
    flag = "--" + flag_of(name)

    parsed = parse_command_line(["--balance", flag] + ([] if is_switch else ["raw text"]))

    assert parsed.flags == {name: "true" if is_switch else "raw text"}


def test_values_are_not_believed_yet() -> None:
    parsed = parse_command_line(["--balance", "--balance-start", "-5", "--speed", "fast"])

    assert parsed.flags == {"balance_start": "-5", "speed": "fast"}


def test_the_short_form_of_verbose_is_v() -> None:
    assert parse_command_line(["--balance", "-v"]).flags == {"verbose": "true"}


def test_a_confirmation_and_a_settings_file_can_be_given() -> None:
    parsed = parse_command_line(["--closeposition", "1", "--yes", "--config", "other.toml"])

    assert parsed.is_confirmed
    assert parsed.config_file == Path("other.toml")


@pytest.mark.parametrize("wrong", ["--nonsense", "--bal", "--verb"])
def test_what_is_not_known_or_abbreviated_is_an_error(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"unrecognized arguments: {wrong}; see --help") as caught:
        parse_command_line(["--balance", wrong])

    assert caught.value.exit_code == 2


def test_a_backtest_takes_scripts_inputs_and_a_first_balance() -> None:
    parsed = parse_command_line(
        ["--backtest", "--script", "a.script", "--script", "b.script", "--balance", "500",
         "--set", "n=3", "--timerange", "20240101-"]
    )  # fmt: skip

    assert parsed.spec.flag == "backtest"
    assert parsed.values == ("a.script", "b.script")
    assert parsed.inputs == ("n=3",)
    assert parsed.flags == {"balance_start": "500", "timerange": "20240101-"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--backtest"], "--backtest needs a script"),
        (["--backtest", "--script", "a", "--balance"], "--balance needs an amount"),
        (["--backtest", "--script", "a", "--doctor"], "--backtest and --doctor do not go together"),
        (["--backtest", "--script", "a", "--loop"], "--loop belongs to --script"),
        (["--balance", "500"], "only a --backtest takes an amount"),
        (["--script", "a", "--balance", "500"], "do not go together"),
        (["--balance", "--set", "n=3"], "--set belongs to --script"),
    ],
)
def test_what_does_not_go_with_a_backtest_is_an_error(wrong: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_command_line(wrong)


def test_version_is_printed_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_command_line(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"Milo {__version__}\n"


def test_help_names_every_command_and_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Wide enough that no word is broken at its hyphen.
    monkeypatch.setenv("COLUMNS", "300")

    with pytest.raises(SystemExit) as ended:
        parse_command_line(["--help"])

    words = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for spec in COMMANDS:
        assert f"--{spec.flag} " in words
        assert spec.text in words
