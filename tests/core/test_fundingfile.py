"""Files of funding rates: both forms, what is left out, what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from milo.errors import ConfigError
from milo.fundingfile import parse_funding

T0 = 1_704_067_200_000
H8 = 8 * 3_600_000
PLAIN = ["funding_time_ms,funding_rate", f"{T0},0.0001", f"{T0 + H8},-0.00025"]
PUBLISHED = [
    "calc_time,funding_interval_hours,last_funding_rate", f"{T0},8,0.0001", f"{T0 + H8},8,-0.00025",
]  # fmt: skip
OWN = ["symbol,fundingTime,fundingRate", f"BTCUSDT,{T0},0.0001", f"BTCUSDT,{T0 + H8},-0.00025"]


@pytest.mark.parametrize(
    "lines", [PLAIN, PLAIN[1:], PUBLISHED, PUBLISHED[1:], OWN, PLAIN[:1] + PLAIN[:0:-1]]
)
def test_each_form_gives_the_same_rates_in_order(lines: list[str]) -> None:
    rows = parse_funding(lines, name="f.csv", symbol="BTCUSDT")

    assert [(r.symbol, r.time_ms, r.rate) for r in rows.rates] == [
        ("BTCUSDT", T0, Decimal("0.0001")),
        ("BTCUSDT", T0 + H8, Decimal("-0.00025")),
    ]
    assert rows.bad_count == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{T0 + 1},42000.5", "no funding rate"),
        (f"{T0 + 1},nan", "no funding rate"),
        (f"{T0 + 1},1_0", "not a number"),
        ("yesterday,0.0001", "no time in ms"),
        (f"{T0 + 1}", "has 1 columns only"),
        (f"{T0},0.0002", "differs from line 2"),
    ],
)
def test_a_bad_row_is_left_out_and_told_by_its_line(line: str, reason: str) -> None:
    rows = parse_funding([*PLAIN, line, f"{T0},0.0001"], name="f.csv", symbol="BTCUSDT")

    assert (len(rows.rates), rows.duplicates, rows.bad_count) == (2, 1, 1)
    assert rows.bad[0].line == 4
    assert reason in rows.bad[0].reason


@pytest.mark.parametrize(
    ("lines", "symbol", "words"),
    [
        (PLAIN, None, "add --symbol"),
        (["open,close", "1,2"], "BTCUSDT", "not a funding file"),
        ([], "BTCUSDT", "holds no funding rates"),
        (OWN, "ETHUSDT", "line 2: is of BTCUSDT, not of ETHUSDT"),
    ],
)
def test_a_file_without_usable_rates_is_refused(
    lines: list[str], symbol: str | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_funding(lines, name="f.csv", symbol=symbol)
