"""Open files of candles or funding rates, plain or gzip, and read them (layer 2)."""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, TypeVar

from milo.errors import ConfigError, EngineError
from milo.fundingfile import FundingRows, parse_funding
from milo.klinefile import KlineRows, parse_lines

T = TypeVar("T")

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"

_CHUNK_CHARS = 1 << 20
_LONGEST_LINE_CHARS = 1 << 16
"""No candle needs more; a file with longer lines is something else, and could fill the memory."""


class ReadStopped(EngineError):
    """The reader of a file was told to stop; nothing was stored."""


def read_kline_file(
    path: Path,
    *,
    interval: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> KlineRows:
    """Read a candle file whole; plain text or gzip, told apart by its first bytes.

    `interval` as in `parse_lines`. `should_stop` is asked about every megabyte, so that a thread
    that reads for somebody who has left ends soon; then ReadStopped is raised.
    Raises ConfigError, one line with the path, for whatever cannot be used.
    """
    return _read(
        path, lambda lines: parse_lines(lines, name=str(path), interval=interval), should_stop
    )


def read_funding_file(path: Path, *, symbol: str | None) -> FundingRows:
    """Read a file of funding rates whole, as `read_kline_file`; `symbol` as in `parse_funding`."""
    return _read(path, lambda lines: parse_funding(lines, name=str(path), symbol=symbol))


def _read(
    path: Path, parse: Callable[[Iterator[str]], T], should_stop: Callable[[], bool] = lambda: False
) -> T:
    try:
        with _open_text(path) as file:
            return parse(_lines(file, path, should_stop))
    except EOFError:
        raise ConfigError(f"{path} is cut off: its gzip data end too early") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path} is damaged: its gzip data cannot be unpacked") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a CSV file: it is not text (UTF-8)") from error
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _open_text(path: Path) -> TextIO:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is a folder: name a candle file in it")
    if not stat.S_ISREG(mode):
        # A pipe or a device could block for ever or never end.
        raise ConfigError(f"{path} is not an ordinary file")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(_GZIP_MAGIC):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="strict")
    if magic.startswith(_ZIP_MAGIC):
        raise ConfigError(f"{path} is a zip archive: unpack it and name the file inside")
    return path.open(encoding="utf-8-sig", errors="strict")


def _lines(file: TextIO, path: Path, should_stop: Callable[[], bool]) -> Iterator[str]:
    rest = ""
    while chunk := file.read(_CHUNK_CHARS):
        if should_stop():
            raise ReadStopped(f"reading {path} was stopped")
        parts = (rest + chunk).split("\n")
        rest = parts.pop()
        if len(rest) > _LONGEST_LINE_CHARS:
            raise ConfigError(f"{path} is not a candle file: it has lines without end")
        yield from parts
    if rest:
        yield rest
