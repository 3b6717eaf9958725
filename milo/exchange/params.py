"""A request's parameters, read strictly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from milo.exchange.fixed import TooFine, parse_e8
from milo.exchange.refusals import invalid, missing, too_precise

_Found = TypeVar("_Found")


class Params:
    """The parameters of one request; an empty value counts as not sent."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """Return the value, None where it was not sent."""
        return self._values.get(name) or None

    def need_text(self, name: str) -> str:
        """Return the value; -1102 where it was not sent."""
        return _needed(name, self.text(name))

    def integer(self, name: str) -> int | None:
        """Return a whole number of at most 18 digits; -1130 where it is none."""
        raw = self.text(name)
        if raw is None:
            return None
        if not raw.isascii() or not raw.removeprefix("-").isdigit() or len(raw) > 18:
            raise invalid(name)
        return int(raw)

    def need_integer(self, name: str) -> int:
        """Return a whole number; -1102 where it was not sent."""
        return _needed(name, self.integer(name))

    def e8(self, name: str) -> int | None:
        """Return a decimal; -1102 where it cannot be read, -1111 where it is too fine."""
        raw = self.text(name)
        if raw is None:
            return None
        try:
            return parse_e8(raw)
        except TooFine:
            raise too_precise() from None
        except ValueError:
            raise missing(name) from None

    def need_e8(self, name: str) -> int:
        """Return a decimal; -1102 where it was not sent."""
        return _needed(name, self.e8(name))

    def flag(self, name: str) -> bool | None:
        """Return true or false; -1130 where it is neither."""
        raw = self.text(name)
        if raw is None:
            return None
        lowered = raw.lower()
        if lowered not in ("true", "false"):
            raise invalid(name)
        return lowered == "true"

    def limit(self, *, default: int, highest: int) -> int:
        """Return `limit` in 1..highest; -1130 where it is outside."""
        value = self.integer("limit")
        if value is None:
            return default
        if not 1 <= value <= highest:
            raise invalid("limit")
        return value

    def time_range(self) -> tuple[int | None, int | None]:
        """Return startTime and endTime; -1130 where the end lies before the start."""
        start_ms, end_ms = self.integer("startTime"), self.integer("endTime")
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise invalid("endTime")
        return start_ms, end_ms


def _needed(name: str, value: _Found | None) -> _Found:
    if value is None:
        raise missing(name)
    return value
