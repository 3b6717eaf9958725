"""Candle files' lines become checked candles; what is wrong is named by its line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milo.candles import Candles
from milo.errors import ConfigError
from milo.intervals import INTERVALS, next_open_ms, open_of
from milo.klinefile import KlineRow, KlineRows, parse_lines

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR
PATIENT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HEADER = "open_time_ms,open,high,low,close,volume"


def line(index: int, *, close: float = 101.5, step: int = HOUR) -> str:
    return f"{START + index * step},100,102.5,99,{close},{index}.25"


def parse(lines: list[str], interval: str | None = None) -> KlineRows:
    return parse_lines(lines, name="candles.csv", interval=interval)


def test_rows_come_out_as_plain_numbers_in_order() -> None:
    rows = list(parse([HEADER, line(0), line(1)]).rows())

    assert rows == [
        (START, 100.0, 102.5, 99.0, 101.5, 0.25),
        (START + HOUR, 100.0, 102.5, 99.0, 101.5, 1.25),
    ]
    assert [type(item) for item in rows[0]] == [int, float, float, float, float, float]


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        "\n" + HEADER,
        "Open time,Open,High,Low,Close,Volume",
        '"open_time","open","high","low","close","volume"',
        "timestamp,open,high,low,close,volume",
    ],
)
def test_header_line_is_recognised(header: str) -> None:
    table = parse([*header.split("\n"), line(0), line(1)])

    assert len(table) == 2
    assert table.bad_count == 0


def test_header_line_may_be_missing() -> None:
    assert len(parse([line(0), line(1)])) == 2


@pytest.mark.parametrize(
    "header",
    [
        "date,close,open,high,low,volume",
        "open_time,open,low,high,close,volume",
        "symbol,open,high,low,close,volume",
    ],
)
def test_columns_in_another_order_are_refused(header: str) -> None:
    with pytest.raises(ConfigError, match=r"line 1: the columns are .* in this order"):
        parse([header, line(0)])


@pytest.mark.parametrize("text", ["hello", "a;b;c;d;e;f", "1,2,3", "\x00\x01\x02"])
def test_other_text_is_not_a_candle_file(text: str) -> None:
    with pytest.raises(ConfigError, match=r"candles\.csv is not a candle file: line 1"):
        parse([text])


@pytest.mark.parametrize("lines", [[], ["", "  "], [HEADER]])
def test_file_without_candles_is_refused(lines: list[str]) -> None:
    with pytest.raises(ConfigError, match="holds no candles"):
        parse(lines)


def test_file_with_only_bad_rows_names_the_first() -> None:
    with pytest.raises(ConfigError, match=r"no candles: line 2: has 2 columns.*2 bad rows"):
        parse([HEADER, "1,2", "3,4"])


def test_further_columns_are_ignored() -> None:
    extra = ",1700002799999,5.5,7,1,2,x"

    table = parse([line(0) + extra, line(1) + extra])

    assert len(table) == 2
    assert table.bad_count == 0


def test_microseconds_become_milliseconds() -> None:
    table = parse([line(index).replace(",", "000,", 1) for index in range(3)])

    assert table.open_ms.tolist() == [START, START + HOUR, START + 2 * HOUR]


def test_mark_price_file_has_no_volume() -> None:
    table = parse(["open_time_ms,open,high,low,close", f"{START},1,2,0.5,1.5"], "1h")

    assert not table.has_volume
    assert table.volume.tolist() == [0.0]


def test_sixth_column_that_is_not_volume_is_not_taken_for_it() -> None:
    table = parse(["open_time,open,high,low,close,close_time", f"{START},1,2,0.5,1.5,9"], "1h")

    assert not table.has_volume
    assert table.volume.tolist() == [0.0]


def test_blank_lines_are_skipped_and_line_numbers_stay_true() -> None:
    table = parse([HEADER, "", line(0), "  ", "nonsense,1,2,3,4,5", line(1), ""])

    assert len(table) == 2
    assert [row.line for row in table.bad] == [5]


GOOD = f"{START},100,102,99,101,5"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("x,100,102,99,101,5", "open time 'x' is not a number"),
        (f"{START // 1000},100,102,99,101,5", "neither in ms nor in us"),
        (f"{START}.5,100,102,99,101,5", "is not a whole ms"),
        (f"{START}001,100,102,99,101,5", "is not a whole ms"),
        (f"-{START},100,102,99,101,5", "neither in ms nor in us"),
        (f"{START},nan,102,99,101,5", "open 'nan' is not a number"),
        (f"{START},100,inf,99,101,5", "high 'inf' is not a number"),
        (f"{START},100,1e999,99,101,5", "high '1e999' is not a number"),
        (f"{START},100,102,,101,5", "low '' is not a number"),
        (f"{START},100,1_02,99,101,5", "high '1_02' is not a number"),
        (f"{START},100,１02,99,101,5", "high '１02' is not a number"),
        (f'{START},100,"102",99,101,5', "is not a number"),
        (f"{START},100,0x66,99,101,5", "high '0x66' is not a number"),
        (f"{START},0,102,0,101,5", "low 0 is not above 0"),
        (f"{START},100,102,-1,101,5", "low -1 is not above 0"),
        (f"{START},100,98,99,101,5", "high 98 is below low 99"),
        (f"{START},103,102,99,101,5", "open 103 is not between low 99 and high 102"),
        (f"{START},98,102,99,101,5", "open 98 is not between"),
        (f"{START},100,102,99,102.5,5", "close 102.5 is not between"),
        (f"{START},100,102,99,101,-1", "volume -1 is below 0"),
        (f"{START},100,102,99,101,", "volume '' is not a number"),
        (f"{START},100,102,99,101", "has 5 columns, the first line has 6"),
        (f"{START},100,102,99,101,5,6", "has 7 columns, the first line has 6"),
        (f"{START + 1},100,102,99,101,5", "is not on a boundary of 1h"),
    ],
)
def test_bad_row_is_left_out_and_named(bad: str, reason: str) -> None:
    table = parse([HEADER, line(1), bad, line(2)], "1h")

    assert len(table) == 2
    assert table.bad_count == 1
    assert table.bad[0].line == 3
    assert reason in table.bad[0].reason
    with pytest.raises(ConfigError, match=r"candles\.csv: line 3: "):
        table.refuse_bad_rows()


def test_bad_rows_are_counted_and_the_first_is_named() -> None:
    table = parse([HEADER, line(0), "x,1,2,3,4,5", line(1), line(2, close=500)])

    with pytest.raises(ConfigError, match=r"line 3: .*\(2 bad rows in all\)$"):
        table.refuse_bad_rows()


def test_the_list_of_bad_rows_is_bounded_and_their_count_is_not() -> None:
    table = parse([HEADER, line(0), line(1)] + ["x,1,2,3,4,5"] * 5_000)

    assert table.bad_count == 5_000
    assert len(table.bad) == 1_000


def test_messages_show_no_control_characters() -> None:
    table = parse([HEADER, line(0), f"{START},1\x1b[31m,2,3,4,5", line(1)])

    assert "\x1b" not in table.bad[0].reason


def test_equal_duplicates_are_dropped_and_counted() -> None:
    table = parse([line(0), line(1), line(1), line(0), line(2)])

    assert len(table) == 3
    assert table.duplicates == 2
    assert table.bad_count == 0


def test_duplicate_with_other_values_is_a_bad_row() -> None:
    table = parse([HEADER, line(0), line(1), line(1, close=102), line(1)])

    assert table.close.tolist() == [101.5, 101.5]
    assert table.duplicates == 1
    assert [(row.line, row.reason) for row in table.bad] == [
        (4, "differs from line 3, which has the same open time")
    ]


def test_disorder_is_sorted_and_counted() -> None:
    table = parse([line(2), line(0), line(3), line(1)])

    assert table.open_ms.tolist() == [START + index * HOUR for index in range(4)]
    assert table.volume.tolist() == [0.25, 1.25, 2.25, 3.25]
    assert table.disordered == 2


def test_interval_is_deduced_in_spite_of_gaps() -> None:
    assert parse([line(index) for index in (0, 1, 5, 6, 9)]).interval == "1h"


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_is_deduced(interval: str) -> None:
    opens = [open_of(START, interval)]
    for _ in range(14):
        opens.append(next_open_ms(opens[-1], interval))

    table = parse([f"{open_ms},1,1,1,1,0" for open_ms in opens])

    assert table.interval == interval
    assert table.open_ms.tolist() == opens
    assert table.bad_count == 0


@pytest.mark.parametrize(("asked", "held"), [("4h", "1h"), ("15m", "1h"), ("1M", "1h")])
def test_another_interval_than_the_file_holds_is_refused(asked: str, held: str) -> None:
    with pytest.raises(ConfigError, match=f"holds {held} candles, not {asked}"):
        parse([line(index) for index in range(30)], asked)


def test_longer_candles_than_named_are_refused_in_spite_of_a_bad_row() -> None:
    first = open_of(START, "4h")
    opens = [first + index * 4 * HOUR for index in range(200)] + [first + HOUR]

    with pytest.raises(ConfigError, match="holds 4h candles, not 1h"):
        parse([f"{open_ms},1,1,1,1,0" for open_ms in opens], "1h")


def test_half_hours_are_not_hours() -> None:
    with pytest.raises(ConfigError, match="holds 30m candles, not 1h"):
        parse([line(index, step=HOUR // 2) for index in range(20)], "1h")


def test_many_gaps_do_not_make_longer_candles() -> None:
    table = parse([line(index) for index in (0, 1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19)], "1h")

    assert (table.interval, len(table), table.bad_count) == ("1h", 12, 0)


def test_unknown_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown interval '7m'"):
        parse([line(0)], "7m")


def test_candles_of_no_known_interval_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not tell the candles' interval"):
        parse([line(index, step=7 * 60_000) for index in range(20)])


def test_few_candles_take_the_interval_that_is_named() -> None:
    table = parse([line(0), line(12)], "1h")

    assert table.interval == "1h"


def test_one_candle_needs_the_interval_named() -> None:
    with pytest.raises(ConfigError, match="name it"):
        parse([line(0)])


def test_columns_go_into_candles_as_they_are() -> None:
    table = parse([line(0), line(1)])

    candles = Candles.from_columns(
        table.open_ms, table.open, table.high, table.low, table.close, table.volume
    )

    assert np.shares_memory(candles.close, table.close)


@st.composite
def candle_rows(draw: st.DrawFn) -> list[KlineRow]:
    # The first two prove the interval, however many gaps follow.
    opens = [0, 1, *sorted(draw(st.sets(st.integers(2, 500), max_size=60)))]
    number = st.floats(1e-8, 1e9, allow_nan=False)
    rows = []
    for index in opens:
        low, inner, other, high = sorted(draw(st.tuples(number, number, number, number)))
        volume = draw(st.floats(0, 1e12))
        rows.append((START + index * HOUR, inner, high, low, other, volume))
    return rows


@PATIENT
@given(candle_rows(), st.randoms(use_true_random=False), st.booleans())
def test_written_candles_read_back_bit_for_bit(rows: list[KlineRow], random, damaged) -> None:
    lines = [",".join(map(repr, row)) for row in rows]
    random.shuffle(lines)
    # One odd line sends the whole batch down the careful path: both must agree.
    if damaged:
        lines.insert(random.randrange(len(lines)) + 1, "x,1,1,1,1,1")

    table = parse(lines, "1h")

    assert list(table.rows()) == rows
    assert table.bad_count == damaged


@PATIENT
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=20))
def test_any_lines_are_read_or_reported_in_one_line(lines: list[str]) -> None:
    table = parse([line(0), *lines], "1h")

    assert all(math.isfinite(value) for value in table.close)
    assert table.bad_count == sum(bool(text.strip()) for text in lines)
    assert not any("\n" in row.reason for row in table.bad)
