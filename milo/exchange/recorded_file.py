"""Read files that were recorded elsewhere: plain or gzip, told apart by their first bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

from milo.errors import ConfigError
from milo.exchange.brackets import brackets_by_symbol
from milo.exchange.instruments import SpecTable, specs_of
from milo.model import LeverageBracket

_GZIP_MAGIC = b"\x1f\x8b"


def read_recorded(path: Path) -> bytes:
    """Return the file's content, unpacked if it is gzip whatever its name says.

    Raises ConfigError, naming the file, if it cannot be read, is cut short or is damaged.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not packed.startswith(_GZIP_MAGIC):
        return packed
    try:
        return gzip.decompress(packed)
    except EOFError as error:
        raise ConfigError(f"{path}: the gzip data is cut short; fetch the file again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConfigError(f"{path}: the gzip data is damaged ({error})") from error


def recorded_json(path: Path, *, exact: bool = False) -> Any:
    """Return the file's JSON; with `exact`, numbers with a point are Decimals."""
    try:
        return json.loads(read_recorded(path), parse_float=Decimal if exact else float)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise ConfigError(f"{path}: not JSON: {error}") from error


def load_exchange_info(path: Path) -> SpecTable:
    """Return the symbols of a recorded exchangeInfo file; see `specs_of`."""
    return specs_of(recorded_json(path), path.name, str(path))


def load_brackets(path: Path) -> dict[str, tuple[LeverageBracket, ...]]:
    """Return the brackets of a recorded leverageBracket file; see `brackets_by_symbol`."""
    return brackets_by_symbol(recorded_json(path, exact=True), str(path))
