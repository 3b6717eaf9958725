"""The layout of column files: what goes in comes out, and damage is seen."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from milo.candles import Candles
from milo.columnfile import (
    PAGE,
    UnusableColumns,
    mapped_candles,
    packed_columns,
    read_header,
    series_digest,
)

SERIES = series_digest("BTCUSDT", "1m")
COLUMNS = ("open_ms", "open", "high", "low", "close", "volume")


def some_candles(count: int, seed: int = 7) -> Candles:
    rng = np.random.default_rng(seed)
    times = 1_700_000_040_000 + 60_000 * np.cumsum(rng.integers(1, 4, count))
    return Candles.from_columns(times, *rng.normal(100.0, 5.0, (5, count)))


def packed(candles: Candles) -> bytes:
    return b"".join(packed_columns(candles, series=SERIES, version=-5, rewritten=2**62))


def is_refused(content: bytes | bytearray) -> bool:
    try:
        mapped_candles(memoryview(bytes(content)))
    except UnusableColumns:
        return True
    return False


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1024, 5_000])
def test_columns_come_out_as_they_went_in(count: int) -> None:
    candles = some_candles(count)

    content = memoryview(packed(candles))

    header = read_header(content)
    assert (header.series, header.count, header.version, header.rewritten) == (
        SERIES, count, -5, 2**62,
    )  # fmt: skip
    assert header.file_bytes == len(content)
    read = mapped_candles(content)
    for name in COLUMNS:
        assert getattr(read, name).tobytes() == getattr(candles, name).tobytes()


def test_the_candles_are_views_of_the_memory() -> None:
    content = packed(some_candles(600))

    read = mapped_candles(memoryview(content))

    whole = np.frombuffer(content, dtype=np.uint8)
    assert all(np.shares_memory(getattr(read, name), whole) for name in COLUMNS)


def test_any_flipped_bit_of_header_or_columns_is_seen() -> None:
    count = 1_300
    content = packed(some_candles(count))
    stride = (len(content) - PAGE) // 6
    rng = np.random.default_rng(11)
    header_bits = range(8 * 84)
    column_bits = [
        8 * (PAGE + column * stride) + int(bit)
        for column in range(6)
        for bit in rng.integers(0, 64 * count, 60)
    ]

    for bit in (*header_bits, *column_bits):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        assert is_refused(damaged), f"bit {bit}"


def test_pages_in_each_others_place_are_seen() -> None:
    content = packed(some_candles(2_000))
    stride = (len(content) - PAGE) // 6
    first = PAGE + stride
    swapped = bytearray(content)

    swapped[first : first + PAGE] = content[first + PAGE : first + 2 * PAGE]
    swapped[first + PAGE : first + 2 * PAGE] = content[first : first + PAGE]

    assert is_refused(swapped)


@pytest.mark.parametrize("length", [0, 1, 100, PAGE - 1, PAGE, PAGE + 1, -8, -1])
def test_a_cut_file_is_refused(length: int) -> None:
    assert is_refused(packed(some_candles(600))[:length])


def test_a_longer_file_is_refused() -> None:
    assert is_refused(packed(some_candles(600)) + b"\0")


def with_field(content: bytes, offset: int, packed_value: bytes) -> bytearray:
    """Return the file with another value in its header, and a header check that fits it."""
    changed = bytearray(content)
    changed[offset : offset + len(packed_value)] = packed_value
    changed[88:92] = struct.pack("<I", zlib.crc32(changed[:88]))
    return changed


def test_another_layout_is_refused() -> None:
    content = packed(some_candles(600))

    assert not is_refused(with_field(content, 8, struct.pack("<I", 1)))
    with pytest.raises(UnusableColumns, match="layout 2, not 1"):
        read_header(memoryview(with_field(content, 8, struct.pack("<I", 2))))


@pytest.mark.parametrize("count", [-1, 0, 599, 601, 2**62])
def test_a_count_that_does_not_fit_is_refused(count: int) -> None:
    assert is_refused(with_field(packed(some_candles(600)), 44, struct.pack("<q", count)))


@pytest.mark.parametrize("offset", [52, 60])
def test_end_times_that_do_not_fit_are_refused(offset: int) -> None:
    assert is_refused(with_field(packed(some_candles(600)), offset, struct.pack("<q", 5)))


def test_series_are_told_apart() -> None:
    pairs = [("BTC", "1m"), ("BTC", "1M"), ("btc", "1m"), ("BTC1", "m"), ("\ud800", "1m")]

    assert len({series_digest(*pair) for pair in pairs}) == len(pairs)
