"""The worker's answer about many candles (layer 1, used by the worker)."""

from __future__ import annotations

from milo.script.batch import Record
from milo.script.faults import ScriptFault
from milo.script.limits import MAX_MESSAGE
from milo.script.protocol import (
    AskedWays,
    Decided,
    DecideRequest,
    WireAction,
    WireBreach,
    WireError,
)
from milo.script.runner import BudgetFault, ScriptRunner
from milo.script.text import clean_line
from milo.script.views import CandleBase

_FEWEST_NUMBERS = 4_000_000
_COLUMNS_KEPT = 24
"""Results of indicators that are kept from one candle to the next."""


def decided(runner: ScriptRunner, base: CandleBase, asked: DecideRequest) -> Decided:
    """Decide candles one by one until the time, the answer's room or they are at an end."""
    if base.computed.tally[0] > max(_FEWEST_NUMBERS, _COLUMNS_KEPT * len(base)):
        base.forget()
    record = Record(asked.first)
    last = asked.stop if AskedWays.SHOW_LAST in asked.ways else 0
    quiet = range(asked.first + 1, asked.stop + (not last))
    until, fault = asked.first, None
    if quiet:
        done, fault = runner.decide(base, quiet, record, is_quiet=True)
        until = done or until
    printed, dropped = "", 0
    if last and fault is None and until == last - 1 and not record.is_full:
        done, fault = runner.decide(base, range(last, last + 1), record, is_quiet=False)
        until = done or until
        printed, dropped = "".join(runner.session.printed), runner.session.dropped_bytes
    record.cut(until)
    at, code = record.packed()
    return Decided(
        request=asked.request,
        until=until,
        at=at,
        code=code,
        actions=tuple(WireAction(text=text, is_true=is_true) for text, is_true in record.actions),
        errors=tuple(_error(place, error) for place, error in record.errors),
        breach=_breach(fault),
        warnings=runner.warnings(),
        printed=printed,
        dropped_bytes=dropped,
        is_lifted=False,
        checked=0,
        differing=0,
        doubtful=0,
        note="",
    )


def _error(place: int, fault: ScriptFault) -> WireError:
    return WireError(
        at=place,
        message=clean_line(fault.message, MAX_MESSAGE),
        line=fault.line,
        column=fault.column,
        end_column=fault.end_column,
    )


def _breach(fault: BudgetFault | None) -> WireBreach | None:
    if fault is None:
        return None
    return WireBreach(kind=fault.kind, line=fault.line)  # type: ignore[arg-type]  # its words
