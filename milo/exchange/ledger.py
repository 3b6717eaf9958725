"""The ledger file: JSON lines of everything that happened on the exchange, for who judges a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from milo.clock import wall_fine_ms
from milo.errors import StoreError
from milo.exchange.ledger_lines import Line


class Ledger:
    """A file that is only ever appended to; each line is on its way to the disk when it is told."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make it where it is not there. Raises StoreError."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self._file.seek(0)
            self._requests = sum(1 for _ in self._file)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, clock_ms: int, lines: Iterable[Line]) -> None:
        """Append lines as of now; `clock_ms` is the exchange's time. Raises StoreError."""
        try:
            for line in lines:
                stamped = {"t": wall_fine_ms(), "clock": clock_ms} | line
                self._file.write(msgspec.json.encode(stamped) + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def next_request(self) -> int:
        """Return the number of a new request; no number comes twice in a file."""
        self._requests += 1
        return self._requests

    def close(self) -> None:
        self._file.close()

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(f"the ledger {self.path} cannot be written: {error.strerror}")
