"""Recorded candles as a market: parsing, faults, history, gaps, sums, funding."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from milo.errors import ConfigError
from milo.exchange.feed import KlineTuple
from milo.exchange.market import Recording, open_market
from milo.exchange.replay import ReplayFeed
from milo.intervals import DAY_MS, HOUR_MS, MINUTE_MS, next_open_ms

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday
HEADER = "open_time_ms,open,high,low,close,volume"
E8 = 10**8

WriteFile = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    def write_csv(text: str) -> Path:
        path = tmp_path / "candles.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write_csv


def rows(count: int, *, step_ms: int = MINUTE_MS, first_ms: int = START) -> list[str]:
    return [f"{first_ms + i * step_ms},100.5,101,100,100.{i % 10},1.5" for i in range(count)]


def csv(lines: list[str], header: str = HEADER) -> str:
    return "\n".join([header, *lines] if header else lines) + "\n"


def klines(
    feed: ReplayFeed,
    interval: str,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    limit: int = 500,
    now_ms: int | None = None,
) -> list[KlineTuple]:
    return feed.klines(
        feed.symbols[0],
        interval,
        start_ms=start_ms,
        end_ms=end_ms,
        limit=limit,
        now_ms=feed.end_ms if now_ms is None else now_ms,
    )


def opens(candles: list[KlineTuple]) -> list[int]:
    return [row[0] for row in candles]


def test_decimals_are_read_exactly(write: WriteFile) -> None:
    text = csv(
        [
            f"{START},0.1,42809.30826181,0.00000001,0.3,2826886219.12345678",
            f"{START + MINUTE_MS},9999999.99999999,10000000.00000001,0.007,1e-2,123456789012.5",
        ]
    )

    feed = ReplayFeed(write(text), "XUSDT")

    first, second = (feed.base_candle("XUSDT", START + i * MINUTE_MS) for i in range(2))
    assert first is not None
    assert second is not None
    assert first[1:6] == (10_000_000, 4_280_930_826_181, 1, 30_000_000, 282_688_621_912_345_678)
    assert second[1:6] == (
        999_999_999_999_999,
        1_000_000_000_000_001,
        700_000,
        1_000_000,
        12_345_678_901_250_000_000,
    )


def test_numbers_of_any_size_are_what_decimal_makes_of_them(write: WriteFile) -> None:
    rng = random.Random(11)
    numbers = [
        Decimal(rng.randrange(1, 10 ** rng.randrange(1, 18))).scaleb(-rng.randrange(0, 9))
        for _ in range(4_000)
    ]
    lines = [
        f"{START + i * MINUTE_MS},{number},{number},{number},{number},{number * 7}"
        for i, number in enumerate(numbers)
        if number < 10**10
    ]

    candles = klines(ReplayFeed(write(csv(lines)), "X"), "1m", limit=5000)

    expected = [(int(n * E8), int(n * 7 * E8)) for n in numbers if n < 10**10]
    assert [(row[1], row[5]) for row in candles] == expected
    assert [row[4] for row in candles] == [row[1] for row in candles]


def test_float_noise_in_a_volume_is_rounded_and_in_a_price_refused(write: WriteFile) -> None:
    noisy = f"{START + MINUTE_MS},100.5,101,100,100.30000000000001,1"

    feed = ReplayFeed(write(csv([f"{START},1,1,1,1,0.30000000000000004", *rows(2)[1:]])), "X")
    with pytest.raises(ConfigError, match=r"line 3: close: '100\.30000000000001' has more than 8"):
        ReplayFeed(write(csv([*rows(1), noisy])), "X")

    assert klines(feed, "1m")[0][5] == 30_000_000


def test_header_order_and_extra_columns_do_not_matter(write: WriteFile) -> None:
    lines = [f"x,{1.5 + i},7,{START + i * HOUR_MS},5,9,4,6,{100 + i}" for i in range(3)]
    path = write(csv(lines, "note,volume,trades,open_time,open,high,low,close,quote_volume"))

    candle = ReplayFeed(path, "X").base_candle("X", START + HOUR_MS)

    assert candle is not None
    assert candle[1:] == (5 * E8, 9 * E8, 4 * E8, 6 * E8, 250_000_000, 101 * E8, 7, 0, 0)


def test_without_header_the_columns_are_the_exchanges_own(write: WriteFile) -> None:
    line = "{},5,9,4,6,1.5,{},7.5,11,0.5,2.5,0"
    lines = [line.format(START + i * MINUTE_MS, START + (i + 1) * MINUTE_MS - 1) for i in range(2)]

    candle = ReplayFeed(write(csv(lines, "")), "X").base_candle("X", START)

    assert candle is not None
    assert candle[5:] == (150_000_000, 750_000_000, 11, 50_000_000, 250_000_000)


def test_whole_numbers_written_with_a_point_are_whole_numbers(write: WriteFile) -> None:
    lines = [f"{START + i * HOUR_MS},5,9,4,6,1e3,{12 + i}.0" for i in range(3)]

    candle = ReplayFeed(write(csv(lines, HEADER + ",trades")), "X").base_candle("X", START)

    assert candle is not None
    assert (candle.volume, candle.trades) == (1000 * E8, 12)


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    text = csv(rows(30))
    plain, packed = tmp_path / "plain.csv.gz", tmp_path / "packed.csv"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))

    feeds = [ReplayFeed(path, "X") for path in (plain, packed)]

    assert feeds[0].identity == feeds[1].identity
    assert klines(feeds[0], "1m") == klines(feeds[1], "1m")


def test_mark_price_files_have_no_volume(write: WriteFile) -> None:
    lines = [f"{START + i * HOUR_MS},5,9,4,6" for i in range(3)]

    with_header = ReplayFeed(write(csv(lines, "open_time_ms,open,high,low,close")), "X")
    without = ReplayFeed(write(csv(lines, "")), "X")

    assert {row[5] for row in klines(with_header, "1h") + klines(without, "1h")} == {0}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{next},100,101,99,nan,1", "line 5: close: 'nan' is no number of 0 or more"),
        ("{next},100,inf,99,100,1", "line 5: high: 'inf' is no number of 0 or more"),
        ("{next},100,101,-99,100,1", "line 5: low: '-99' is no number of 0 or more"),
        ("{next},0,101,0,100,1", "line 5: open: '0' is no price above 0"),
        ("{next},100,101,99,abc,1", "line 5: close: 'abc' is no number"),
        ("{next},1_00,101,99,100,1", "line 5: open: '1_00' is no number"),
        ("{next},,101,99,100,1", "line 5: open: '' is no number"),
        ("{next},100,101,99,100,-1", "line 5: volume: '-1' is no number of 0 or more"),
        ("{next},100,101,99,100,1e30", "line 5: volume: '1e30' is too large"),
        ("{next},100,98,99,100,1", "line 5: high is below low"),
        ("{next},102,101,99,100,1", "line 5: open lies outside low and high"),
        ("{next},100,101,99,98,1", "line 5: close lies outside low and high"),
        ("{before},100,101,99,100,1", "line 5: its time is not after the line before"),
        ("soon,100,101,99,100,1", "line 5: open_ms: 'soon' is no time in ms UTC"),
        ("1704067,100,101,99,100,1", "line 5: open_ms: '1704067' is no time in ms UTC"),
        ("{next}000,100,101,99,100,1", "is no time in ms UTC"),
        ("{next},100,101,99,100", "line 5: 5 columns where the lines before have 6"),
        ("{odd},100,101,99,100,1", "line 5: 2024-01-01 00:03:30 UTC does not fit candles of 1m"),
    ],
)
def test_a_corrupt_line_is_named_with_its_reason(write: WriteFile, line: str, reason: str) -> None:
    bad = line.format(next=START + 3 * MINUTE_MS, before=START + 2 * MINUTE_MS, odd=START + 210_000)
    path = write(csv([*rows(3), bad, *rows(20)[5:]]))

    with pytest.raises(ConfigError) as caught:
        ReplayFeed(path, "X")

    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_a_fault_far_into_the_file_has_the_right_line(write: WriteFile) -> None:
    lines = rows(12_000)
    lines[11_111] = lines[11_111].replace(",100.5,", ",x,")

    with pytest.raises(ConfigError, match="line 11113: open: 'x' is no number"):
        ReplayFeed(write(csv(lines)), "X")


def test_blank_lines_are_passed_over_and_counted(write: WriteFile) -> None:
    lines = rows(4)
    good = ReplayFeed(write(csv([*lines[:2], "", *lines[2:], ""])), "X")

    with pytest.raises(ConfigError, match="line 6: open: 'x'"):
        ReplayFeed(write(csv([*lines[:2], "", lines[2], lines[3].replace("100.5", "x")])), "X")

    assert len(klines(good, "1m")) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no candles"),
        (HEADER.encode() + b"\n", "holds no candles"),
        (csv(rows(1)).encode(), "one candle is too little"),
        (b"open_time_ms,open,high,close\n1,2,3,4\n", "its header has no column low"),
        (b"hello\n", "its header has no column open_time_ms, open, high, low, close"),
        (b"1,2,3\n", "3 columns"),
        (b"\xff\xfe\x00\x00" * 9, "bytes that are no text"),
        (gzip.compress(csv(rows(999)).encode())[:-40], "cut short"),
        (b"\x1f\x8b\x08\x00" + b"\x07" * 60, "the gzip data is damaged"),
        (csv(rows(9, step_ms=7 * MINUTE_MS)).encode(), "420 s apart, which is no interval"),
        (csv(rows(9, first_ms=START + 30_000)).encode(), "do not open at whole 1m boundaries"),
        (b'"1\n2",1,1,1,1\n', "a quoted field goes over several lines"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        ReplayFeed(path, "X")

    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        ReplayFeed(tmp_path / "none.csv", "X")


def test_a_timeframe_the_file_cannot_give_is_refused_with_what_it_has(write: WriteFile) -> None:
    path = write(csv(rows(50, step_ms=3 * MINUTE_MS)))

    for timeframe in ("1m", "5m", "9h"):
        with pytest.raises(ConfigError, match=f"holds 3m candles: {timeframe} cannot be built"):
            ReplayFeed(path, "X", timeframe)


def test_the_first_fifth_of_the_file_is_history(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(1000))), "X", "5m")

    assert feed.default_start_ms == START + 200 * MINUTE_MS
    assert opens(klines(feed, "5m", now_ms=feed.default_start_ms - 1)) == [
        START + i * 5 * MINUTE_MS for i in range(40)
    ]


def test_history_holds_whole_candles_only(write: WriteFile) -> None:
    first_ms = START + 52 * MINUTE_MS
    feed = ReplayFeed(write(csv(rows(2000, first_ms=first_ms))), "X", "1h")

    # 400 rows of history end at 07:32; whole hours before that: 01:00 to 06:00.
    assert feed.default_start_ms == START + 7 * HOUR_MS
    assert opens(klines(feed, "1h", now_ms=feed.default_start_ms - 1)) == [
        START + hour * HOUR_MS for hour in range(1, 7)
    ]
    assert feed.first_open_ms("X") == first_ms


def test_history_is_never_more_than_5000_candles(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(30_000))), "X", "1m")

    assert feed.default_start_ms == START + 5000 * MINUTE_MS


def test_a_start_is_aligned_up_to_the_timeframe(write: WriteFile) -> None:
    path = write(csv(rows(1000)))

    late = ReplayFeed(path, "X", "1h", start_ms=START + HOUR_MS + 1)
    exact = ReplayFeed(path, "X", "1h", start_ms=START + HOUR_MS)

    assert late.default_start_ms == START + 2 * HOUR_MS
    assert exact.default_start_ms == START + HOUR_MS


@pytest.mark.parametrize("start_ms", [START - HOUR_MS, START + 17 * HOUR_MS])
def test_a_start_outside_the_file_is_refused(write: WriteFile, start_ms: int) -> None:
    with pytest.raises(ConfigError, match="from 2024-01-01 00:00 to 2024-01-01 16:39 UTC"):
        ReplayFeed(write(csv(rows(1000))), "X", "1h", start_ms=start_ms)


def test_a_file_without_a_whole_candle_to_play_is_refused(write: WriteFile) -> None:
    with pytest.raises(ConfigError, match="no whole 1h candle is left to play"):
        ReplayFeed(write(csv(rows(40))), "X", "1h")


def test_the_market_ends_with_the_last_candle(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(100))), "X")

    assert feed.end_ms == START + 100 * MINUTE_MS - 1
    assert feed.base_candle("X", START + 100 * MINUTE_MS) is None
    assert feed.base_candle("X", START - MINUTE_MS) is None
    assert feed.base_candle("X", START + 1) is None


def test_a_first_candle_without_its_beginning_is_left_out(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(300, first_ms=START + 52 * MINUTE_MS))), "X")

    assert opens(klines(feed, "1h", start_ms=0))[0] == START + HOUR_MS
    assert opens(klines(feed, "1d")) == []
    assert len(klines(feed, "1m")) == 300


def test_in_a_gap_there_is_no_candle_and_longer_ones_sum_what_is_there(write: WriteFile) -> None:
    lines = rows(400)
    feed = ReplayFeed(write(csv(lines[:90] + lines[190:])), "X")

    hours = klines(feed, "1h")

    assert [(ms - START) // HOUR_MS for ms in opens(hours)] == [0, 1, 3, 4, 5, 6]
    assert [row[5] // 150_000_000 for row in hours] == [60, 30, 50, 60, 60, 40]
    assert feed.base_candle("X", START + 100 * MINUTE_MS) is None
    in_gap = START + 100 * MINUTE_MS
    assert klines(feed, "1m", limit=1, now_ms=in_gap)[0][0] == START + 89 * MINUTE_MS
    assert opens(klines(feed, "1m", start_ms=in_gap, limit=1)) == [START + 190 * MINUTE_MS]


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_limits_count_candles_even_across_gaps(write: WriteFile, limit: int) -> None:
    lines = rows(4000)
    feed = ReplayFeed(write(csv(lines[:333] + lines[999:])), "X")
    every = klines(feed, "15m", limit=1000)
    middle = every[20][0]

    assert klines(feed, "15m", limit=limit) == every[-limit:]
    assert klines(feed, "15m", start_ms=middle, limit=limit) == every[20 : 20 + limit]
    assert klines(feed, "15m", end_ms=middle, limit=limit) == every[max(0, 21 - limit) : 21]


def test_the_forming_candle_grows_with_the_points(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(100))), "X")
    at = START + 65 * MINUTE_MS

    forming = [klines(feed, "1h", limit=1, now_ms=at + ms)[0] for ms in (0, 20_000, 40_000, 59_999)]

    assert [row[4] for row in forming] == [100_50000000, 100_00000000, 101_00000000, 100_50000000]
    assert [row[5] for row in forming] == [
        5 * 150_000_000 + quarter * 37_500_000 for quarter in (1, 2, 3, 4)
    ]
    assert klines(feed, "1h", limit=1, now_ms=at - 1)[0][5] == 5 * 150_000_000


def test_identity_is_that_of_content_symbol_and_funding(write: WriteFile, tmp_path: Path) -> None:
    path = write(csv(rows(600)))
    funding = tmp_path / "funding.csv"
    funding.write_text(f"funding_time_ms,funding_rate\n{START + 8 * HOUR_MS},0.0002\n")

    identities = [
        ReplayFeed(path, "X").identity,
        ReplayFeed(path, "Y").identity,
        ReplayFeed(path, "X", funding_path=funding).identity,
        ReplayFeed(write(csv(rows(601))), "X").identity,
    ]

    assert len(set(identities)) == 4
    assert all(len(name) == len("market-") + 12 for name in identities)
    assert identities[0] == ReplayFeed(write(csv(rows(600))), "X", "1h").identity


def test_funding_is_the_default_without_a_file(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(2000))), "X")

    assert feed.funding_times("X", START, START + DAY_MS) == [
        START + 8 * HOUR_MS,
        START + 16 * HOUR_MS,
        START + DAY_MS,
    ]
    assert feed.funding_rate("X", START) == 10_000


def test_funding_is_settled_when_and_as_the_file_says(write: WriteFile, tmp_path: Path) -> None:
    late = START + 8 * HOUR_MS + 7
    funding = tmp_path / "funding.csv.gz"
    text = f"funding_time_ms,funding_rate\n{late},-0.00037409\n{late + 4 * HOUR_MS},1e-05\n"
    funding.write_bytes(gzip.compress(text.encode()))

    feed = ReplayFeed(write(csv(rows(2000))), "X", funding_path=funding)

    assert feed.funding_times("X", START, START + DAY_MS) == [late, late + 4 * HOUR_MS]
    assert feed.funding_times("X", late, late) == []
    assert [feed.funding_rate("X", ms) for ms in (late - 1, late, late + DAY_MS)] == [
        10_000,
        -37_409,
        1_000,
    ]


def test_funding_that_ends_before_the_candles_is_said(write: WriteFile, tmp_path: Path) -> None:
    funding = tmp_path / "funding.csv"
    funding.write_text(f"{START + 8 * HOUR_MS},0.0001\n")

    feed = ReplayFeed(write(csv(rows(50, step_ms=HOUR_MS))), "X", funding_path=funding)

    assert feed.notes == (
        "funding.csv ends at 2024-01-01 08:00 UTC: no funding is settled after it",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no funding rates"),
        (f"{START},0.1\n{START},0.1\n", "line 2: the times do not increase"),
        (f"{START},x\n", "line 1: 'x' is no number"),
        (f"{START}\n", "line 1: no funding time and rate"),
        (f"{START - DAY_MS},0.1\n", "none of its funding times lies in the time of the candles"),
    ],
)
def test_a_corrupt_funding_file_is_refused(
    write: WriteFile, tmp_path: Path, text: str, reason: str
) -> None:
    funding = tmp_path / "funding.csv"
    funding.write_text(text)

    with pytest.raises(ConfigError, match=reason):
        ReplayFeed(write(csv(rows(100))), "X", funding_path=funding)


def test_an_unknown_symbol_is_a_key_error(write: WriteFile) -> None:
    feed = ReplayFeed(write(csv(rows(100))), "X")

    with pytest.raises(KeyError):
        feed.base_candle("Y", START)


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT_15m_perp_2025-08_2025-12.csv.gz",
        "BTCUSDT_1m_perp_2025-05_2025-06.csv.gz",
    ],
)
def test_real_short_candles_sum_to_the_real_hours(shared_data: Path, name: str) -> None:
    short = ReplayFeed(shared_data / "klines" / name, "BTCUSDT", "1h")
    hours = ReplayFeed(
        shared_data / "klines" / "BTCUSDT_1h_perp_2025-05_2025-12_full.csv.gz", "BTCUSDT"
    )

    summed = {row[0]: row[1:6] for row in klines(short, "1h", limit=10_000)}
    recorded = {row[0]: row[1:6] for row in klines(hours, "1h", limit=10_000)}

    last_whole = (short.end_ms + 1) // HOUR_MS * HOUR_MS - HOUR_MS
    common = [ms for ms in summed if ms in recorded and ms <= last_whole]
    assert len(common) > 300
    assert [summed[ms] for ms in common] == [recorded[ms] for ms in common]


@pytest.mark.parametrize("name", ["3m_perp_2025-03_2025-04", "5m_perp_2025-03_2025-04"])
def test_real_3m_and_5m_candles_agree_hour_by_hour(shared_data: Path, name: str) -> None:
    feeds = [
        ReplayFeed(shared_data / "klines" / f"BTCUSDT_{part}.csv.gz", "BTCUSDT", "1h")
        for part in (name, "5m_perp_2025-03_2025-04")
    ]

    both = [{row[0]: row[1:6] for row in klines(feed, "1h", limit=900)[:-1]} for feed in feeds]
    common = both[0].keys() & both[1].keys()

    assert len(common) > 700
    assert all(both[0][ms] == both[1][ms] for ms in common)


def test_a_month_of_a_million_contracts_a_minute_is_exact(shared_data: Path) -> None:
    path = shared_data / "klines" / "1000PEPEUSDT_1h_perp_2025-02_2026-05.csv.gz"
    feed = ReplayFeed(path, "1000PEPEUSDT")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    march = 1_740_787_200_000  # 2025-03-01

    month = klines(feed, "1M", start_ms=march, limit=1)[0]

    rows_of_march = [
        line.split(",")
        for line in lines
        if march <= int(line.split(",")[0]) < next_open_ms(march, "1M")
    ]
    assert month[5] == sum(int(row[5]) for row in rows_of_march) * E8
    assert month[5] > 2**63


def test_a_replay_brings_an_instrument_that_fits_its_prices(shared_data: Path) -> None:
    klines_dir = shared_data / "klines"
    old = Recording(path=klines_dir / "BTCUSDT_1h_perp_2019-09_2024-12.csv.gz", symbol="BTCUSDT")
    new = Recording(path=klines_dir / "BTCUSDT_15m_perp_2025-08_2025-12.csv.gz", symbol="BTCUSDT")
    unknown = Recording(path=new.path, symbol="NEWCOINUSDT")

    markets = [open_market(recording=recording) for recording in (old, new, unknown)]
    specs = [next(iter(market.table.values())) for market in markets]

    assert [str(spec.instrument.tick) for spec in specs] == ["0.01", "0.10", "0.1"]
    assert "tick 0.01 instead of 0.1" in markets[0].notes[0]
    assert markets[1].notes == ()
    assert "which no table knows" in markets[2].notes[0]
