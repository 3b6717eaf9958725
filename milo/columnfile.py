"""The layout of a column file: candles of one series as six arrays, ready to map (layer 1).

One page of header, then open_ms (int64) and open, high, low, close, volume (float64), each from a
page boundary on, little-endian, padded with zeros. Whoever has the bytes in memory, as a mapped
file or a copy, gets `Candles` over them without copying.

What the file says is believed only where everything fits: the header's own checksum, the length,
and a checksum of the columns that every reader computes again. That one is the CRC-32 of the sums
of pages (512 words of 64 bits, modulo 2**64): a changed word changes its page's sum, a page in
another's place changes the order. It costs a reader about as much as reading the pages at all
(1,000,000 candles, 48 MB: 2 ms; a CRC-32 of the bytes 7 ms where the library uses the processor's
own instruction, several times that elsewhere). It finds accidents, not forgers: whoever may write
to the file may write any candles to it, as to the database beside it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from milo.candles import PRICE_COLUMNS, Candles

PAGE: Final = 4096
_MAGIC: Final = b"MiloCols"
_LAYOUT: Final = 1
_FIELDS: Final = struct.Struct("<8sI32sqqqqqI")
_CHECK: Final = struct.Struct("<I")
_WORDS: Final = PAGE // 8
_TYPES: Final = ("<i8", *("<f8" for _ in PRICE_COLUMNS))


class UnusableColumns(ValueError):
    """The bytes are no column file of this layout, or a damaged one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnHeader:
    """What the first page says."""

    series: bytes
    """`series_digest` of the symbol and interval."""
    count: int
    first_ms: int
    last_ms: int
    version: int
    """The marks of the series in the database that the columns were read from, as they were then:
    see `milo.store.klines.SeriesState`."""
    rewritten: int
    columns_check: int

    @property
    def file_bytes(self) -> int:
        return PAGE + len(_TYPES) * _stride(self.count)


def series_digest(symbol: str, interval: str) -> bytes:
    """Return 32 bytes that stand for a series, whatever characters its names have."""
    return hashlib.sha256(f"{symbol}\0{interval}".encode("utf-8", "surrogatepass")).digest()


def packed_columns(
    candles: Candles, *, series: bytes, version: int, rewritten: int
) -> Iterator[bytes | memoryview]:
    """Yield the parts of the file, to be written one after the other; at least one candle."""
    columns = _columns(candles)
    header = ColumnHeader(
        series=series,
        count=len(candles),
        first_ms=int(candles.open_ms[0]),
        last_ms=int(candles.open_ms[-1]),
        version=version,
        rewritten=rewritten,
        columns_check=_check_of(columns),
    )
    yield _packed_header(header)
    padding = bytes(_stride(len(candles)) - 8 * len(candles))
    for column in columns:
        yield column.data
        yield padding


def read_header(memory: memoryview) -> ColumnHeader:
    """Return what a column file says of itself. Raises UnusableColumns."""
    page = bytes(memory[:PAGE])
    if len(page) < PAGE:
        raise UnusableColumns("the file is too short")
    magic, layout, *fields = _FIELDS.unpack_from(page)
    if magic != _MAGIC:
        raise UnusableColumns("the file holds something else")
    if layout != _LAYOUT:
        raise UnusableColumns(f"the file has layout {layout}, not {_LAYOUT}")
    if _CHECK.unpack_from(page, _FIELDS.size)[0] != zlib.crc32(page[: _FIELDS.size]):
        raise UnusableColumns("the header is damaged")
    series, count, first_ms, last_ms, version, rewritten, columns_check = fields
    return ColumnHeader(
        series=series,
        count=count,
        first_ms=first_ms,
        last_ms=last_ms,
        version=version,
        rewritten=rewritten,
        columns_check=columns_check,
    )


def mapped_candles(memory: memoryview) -> Candles:
    """Return the candles of a whole column file as views of `memory`, which must not be writable.

    A writable one is copied. Every value is checked. Raises UnusableColumns.
    """
    header = read_header(memory)
    if memory.nbytes != header.file_bytes or header.count < 1:
        raise UnusableColumns("the file has not the length that its header tells")
    stride = _stride(header.count)
    columns = [
        np.frombuffer(memory, dtype=kind, count=header.count, offset=PAGE + place * stride)
        for place, kind in enumerate(_TYPES)
    ]
    if _check_of(columns) != header.columns_check:
        raise UnusableColumns("the columns are damaged")
    try:
        candles = Candles.from_columns(*columns)
    except ValueError as error:
        raise UnusableColumns(str(error)) from error
    if (candles.open_ms[0], candles.open_ms[-1]) != (header.first_ms, header.last_ms):
        raise UnusableColumns("the columns are not those of the header")
    return candles


def _packed_header(header: ColumnHeader) -> bytes:
    fields = _FIELDS.pack(
        _MAGIC,
        _LAYOUT,
        header.series,
        header.count,
        header.first_ms,
        header.last_ms,
        header.version,
        header.rewritten,
        header.columns_check,
    )
    return (fields + _CHECK.pack(zlib.crc32(fields))).ljust(PAGE, b"\0")


def _columns(candles: Candles) -> list[NDArray[Any]]:
    named = (candles.open_ms, *(getattr(candles, name) for name in PRICE_COLUMNS))
    return [
        np.ascontiguousarray(column, dtype=kind) for column, kind in zip(named, _TYPES, strict=True)
    ]


def _check_of(columns: list[NDArray[Any]]) -> int:
    check = 0
    for column in columns:
        words = column.view("<u8")
        whole = len(words) - len(words) % _WORDS
        sums = np.add.reduce(words[:whole].reshape(-1, _WORDS), axis=1, dtype=np.uint64)
        rest = np.add.reduce(words[whole:], dtype=np.uint64)
        check = zlib.crc32(np.append(sums, rest).astype("<u8").data, check)
    return check


def _stride(count: int) -> int:
    return -(-8 * count // PAGE) * PAGE
