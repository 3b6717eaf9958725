"""What many candles gave, as the worker writes it down: only where something changes (layer 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from milo.script.faults import ScriptFault
from milo.script.limits import MAX_CHANGES, MAX_ERRORS, MAX_TEXT_TABLE_BYTES, MAX_TEXTS
from milo.script.protocol import FAILED

_LONGEST_TEXT_BYTES: Final = 800


@dataclass(slots=True)
class Record:
    """Actions of candles in ascending order, from `first` on; one answer's worth.

    A code is `FAILED`, or 1 + the place in `actions` of (text, whether the condition was true).
    """

    first: int
    at: list[int] = field(default_factory=list)
    """Places at which the code changes, counted from `first`."""
    code: list[int] = field(default_factory=list)
    actions: dict[tuple[str, bool], int] = field(default_factory=dict)
    errors: list[tuple[int, ScriptFault]] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    wants_each: ClassVar[bool] = False
    _table_bytes: int = 0

    def code_of(self, text: str, is_true: bool) -> int:
        """Return the code of an action, a new one where it is the first of its kind."""
        key = (text, is_true)
        code = self.actions.get(key)
        if code is None:
            code = self.actions[key] = len(self.actions) + 1
            self._table_bytes += len(text.encode("utf-8", "replace"))
        return code

    def took(self, index: int, condition: bool, text: str) -> bool:
        """Note what a candle gave; say whether there is no room for another."""
        self.put(index, self.code_of(text, condition))
        return self.is_full

    def put(self, index: int, code: int) -> None:
        """Note what applies from a candle on."""
        if not self.code or self.code[-1] != code:
            self.at.append(index - self.first)
            self.code.append(code)

    def failed(self, index: int, fault: ScriptFault) -> bool:
        """Note the script's own error on a candle; say whether there is no room for another."""
        self.tell(index, fault)
        self.put(index, FAILED)
        return self.is_full

    def tell(self, index: int, fault: ScriptFault) -> None:
        """Keep an error's words, where it is one of the first."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((index - self.first, fault))

    @property
    def wants_words(self) -> bool:
        """False where no other error is told in full."""
        return len(self.errors) < MAX_ERRORS

    @property
    def is_full(self) -> bool:
        """True where the next candle might not fit into the answer any more."""
        return (
            len(self.at) > MAX_CHANGES - 2
            or len(self.actions) >= MAX_TEXTS - 1
            or self._table_bytes > MAX_TEXT_TABLE_BYTES - 2 * _LONGEST_TEXT_BYTES
        )

    def cut(self, until: int) -> None:
        """Forget the candles from `until` on: one was noted, and overran its budget after all."""
        while self.at and self.first + self.at[-1] >= until:
            self.at.pop()
            self.code.pop()
        self.errors = [error for error in self.errors if self.first + error[0] < until]

    def packed(self) -> tuple[bytes, bytes]:
        """Return places (u32) and codes (u16), little-endian."""
        return _packed(self.at, "<u4"), _packed(self.code, "<u2")


def _packed(values: list[int], kind: str) -> bytes:
    listed: NDArray[np.int64] = np.array(values, dtype=np.int64)
    return listed.astype(kind).tobytes()
