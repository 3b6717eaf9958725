"""The report of a backtest as text and as JSON: golden files, odd names, what is undefined."""

from __future__ import annotations

import dataclasses
import json
import re
from decimal import Decimal
from pathlib import Path
from unicodedata import east_asian_width

import pytest

from milo.backtest.content import report_content
from milo.backtest.decisions import DecisionError, Decisions, Proof
from milo.backtest.described import (
    DescribedError,
    RunDescription,
    candles_sha256,
    describe_market,
    describe_script,
)
from milo.backtest.layout import WIDTH
from milo.backtest.ledger import FillAt, Intrabar, Refusal
from milo.backtest.report import make_report, report_text
from milo.backtest.wording import proof_line
from tests.backtest_ledgers import (
    HOUR_MS,
    START_MS,
    assumptions,
    description,
    golden_content,
    golden_report,
    ledger,
    played,
    trade,
    walk,
)

HOSTILE = "\x1b[2J\x1b[31mx\r\nRETURN +900 %\u202egnp\u2066" + "策略" * 90
# What neither the console nor a log may be shown.
STEERING = {"\x1b", "\r", "\u202e", "\u2066", "\t", "\x00"}


def test_the_console_report_equals_the_golden_file(project_dir: Path) -> None:
    golden = (project_dir / "tests/golden/backtest_report.txt").read_text()

    assert report_text(golden_report()) + "\n" == golden


def test_the_json_equals_the_golden_file(project_dir: Path) -> None:
    golden = json.loads((project_dir / "tests/golden/backtest_report.json").read_text())

    assert golden_content() == golden


def hostile_description() -> RunDescription:
    told = description(walk(300))
    script = dataclasses.replace(
        told.scripts[0],
        name=HOSTILE,
        symbol=HOSTILE,
        errors=(DescribedError(open_ms=START_MS, line=3, message=HOSTILE * 30),),
        error_count=1,
        warnings=(HOSTILE,) * 9,
        proof=Proof(is_lifted=False, checked=4, differing=2, note=HOSTILE),
        inputs=(dataclasses.replace(told.scripts[0].inputs[0], name=HOSTILE),),
    )
    market = dataclasses.replace(told.markets[0], symbol=HOSTILE, source=HOSTILE)
    return dataclasses.replace(
        told, scripts=(script,) * 3, markets=(market,), arguments=(HOSTILE,), notes=(HOSTILE,)
    )


def hostile_text() -> str:
    trades = (
        trade("5", symbol=HOSTILE, script=HOSTILE),
        trade("123456789012345.678", symbol="ETHUSDT", entry_price=Decimal("0.000000123456")),
    )
    book = ledger(
        trades,
        (10_000.0, 1e15),
        refusals=(
            Refusal(
                script=HOSTILE, symbol=HOSTILE, index=1, open_ms=START_MS, action="x",
                reason=HOSTILE,
            ),
        ),
        refusal_count=1,
        notes=(HOSTILE,),
        assumptions=assumptions(allowed_symbols=(HOSTILE,)),
    )  # fmt: skip
    return report_text(make_report(book, hostile_description()))


def columns_of(line: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in line)


def test_names_of_strangers_steer_nothing_and_end_no_line() -> None:
    text = hostile_text()

    assert not STEERING & set(text)
    assert not [line for line in text.split("\n") if line.startswith("RETURN")]
    assert "策略" in text


@pytest.mark.parametrize(
    "text", [hostile_text(), report_text(golden_report())], ids=["odd", "gold"]
)
def test_no_line_is_wider_than_the_report(text: str) -> None:
    assert max(map(columns_of, text.split("\n"))) <= WIDTH
    assert not [line for line in text.split("\n") if line != line.rstrip()]


def test_messages_in_wide_letters_are_wrapped_and_not_cut() -> None:
    told = description(walk(10))
    message = "전략이 " * 60
    script = dataclasses.replace(told.scripts[0], warnings=(message, "策" * 200))

    text = report_text(make_report(ledger(), dataclasses.replace(told, scripts=(script,))))

    assert text.count("전략이") == 60
    assert text.count("策") == 200
    assert max(map(columns_of, text.split("\n"))) <= WIDTH


def test_what_is_undefined_is_shown_as_such() -> None:
    text = report_text(make_report(ledger(), description(walk(10))))

    for label in (
        "CAGR (365 days)",
        "Sharpe",
        "Sortino",
        "Calmar",
        "max drawdown",
        "profit factor",
    ):
        line = next(line for line in text.split("\n") if f"  {label} " in line)
        assert "--" in line, line
    assert "nan" not in text.lower()
    assert "inf" not in text.lower().split()


def test_json_holds_no_number_that_json_does_not_know() -> None:
    content = report_content(make_report(ledger(), description(walk(10))))

    text = json.dumps(content, allow_nan=False)

    assert json.loads(text)["stats"]["sharpe"] is None


def test_money_in_json_is_exact() -> None:
    paid = trade("0.1", fees=Decimal("0.00000001"), entry_price=Decimal("0.10"))

    content = report_content(make_report(ledger((paid,), (1.0,)), description(walk(10))))

    assert content["trades"][0]["net"] == "0.09999999"
    assert content["trades"][0]["entry_price"] == "0.1"
    assert content["stats"]["trades"]["net"] == "0.09999999"


def test_every_assumption_is_said() -> None:
    odd = assumptions(
        start_balance=Decimal(2_500),
        fill_at=FillAt.CLOSE,
        intrabar=Intrabar.FINER,
        finer_interval="1m",
        taker_fee=Decimal("0.00045"),
        max_daily_loss=Decimal(3),
    )
    book = ledger(assumptions=odd, settlements=9, unknown_settlements=4)

    text = report_text(make_report(book, description(walk(10))))

    for said in (
        "2,500.00 USDT", "taker 0.045 %", "maker 0.02 %", "0.02 % against market fills",
        "at the close of the signal's candle", "candles of 1m tell what came first",
        "9 settlements, 4 of them at the assumed 0.01 %", "loss a day at most 3 %",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize(
    ("proof", "line"),
    [
        (
            Proof(is_lifted=True, checked=4_213, differing=0),
            "decided on arrays; 4,213 of 1,000,000 candles run one by one and compared: "
            "0 differences",
        ),
        (
            Proof(is_lifted=True, checked=4_213, differing=0, doubtful=7),
            "decided on arrays, 7 doubtful ones one by one; 4,213 of 1,000,000 candles run one by "
            "one and compared: 0 differences",
        ),
        (
            Proof(is_lifted=False, checked=0, differing=0, note="line 4: a loop"),
            "decided candle by candle: line 4: a loop",
        ),
        (
            Proof(is_lifted=False, checked=500, differing=2, note="condition differs"),
            "arrays dropped, decided candle by candle: 2 of 500 compared candles differed: "
            "condition differs",
        ),
    ],
)
def test_the_proof_is_one_line(proof: Proof, line: str) -> None:
    script = dataclasses.replace(description(walk(10)).scripts[0], proof=proof, decided=1_000_000)

    assert proof_line(script) == line


def test_a_script_is_described_by_its_decisions() -> None:
    candles = walk(50)
    decisions = Decisions(
        first=10,
        count=40,
        at=candles.open_ms[:1],
        code=candles.open_ms[:1].astype("int32"),
        actions=("donothing",),
        proof=Proof(is_lifted=True, checked=40, differing=0),
        errors=(DecisionError(index=12, line=3, message="bad"),),
        error_count=1,
        halted_at=20,
        warnings=("odd",),
    )

    told = describe_script(
        decisions, candles.open_ms, name="x", text_sha256="00", symbol="BTCUSDT", interval="1h"
    )

    assert (told.first_ms, told.decided) == (START_MS + 10 * HOUR_MS, 40)
    assert told.errors == (DescribedError(open_ms=START_MS + 12 * HOUR_MS, line=3, message="bad"),)
    assert told.halted_ms == START_MS + 20 * HOUR_MS


def test_the_hash_of_candles_tells_any_change() -> None:
    candles = walk(50)
    told = describe_market(candles, symbol="BTCUSDT", interval="1h")

    last = dataclasses.replace(candles.candle(-1), volume=11.0)

    assert told.sha256 == candles_sha256(walk(50))
    assert candles_sha256(candles.replaced_last(last)) != told.sha256
    assert candles_sha256(candles.prefix(49)) != told.sha256
    assert (told.count, told.last_ms) == (50, START_MS + 49 * HOUR_MS)


def test_inputs_of_one_script_on_two_symbols_count_once() -> None:
    told = description(walk(10))
    other = dataclasses.replace(told.scripts[0], symbol="ETHUSDT")

    assert dataclasses.replace(told, scripts=(told.scripts[0], other)).input_count == 2


def test_a_report_of_a_real_length_reads_as_a_whole() -> None:
    book = played(walk(3_000))

    text = report_text(make_report(book, description(walk(3_000))))

    wanted = ["BACKTEST", "RESULT", "TRADES", "SPLIT", "MONTHS", "LAST", "ASSUMPTIONS", "SCRIPTS"]
    places = [text.index(f"\n{title}") if title != "BACKTEST" else 0 for title in wanted]
    assert places == sorted(places)


def test_every_key_of_the_json_is_documented(project_dir: Path) -> None:
    page = (project_dir / "docs/backtest-report.md").read_text()

    undocumented = {key for key in keys_of(golden_content()) if not re.search(rf"\b{key}\b", page)}

    assert (
        undocumented - {"BTCUSDT", "macd_crossover", "long", "short", "close", "reverse"} == set()
    )


def keys_of(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()
