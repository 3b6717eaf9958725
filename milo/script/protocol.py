"""The words between engine and worker: frames on two pipes (layer 1, no I/O).

A frame is a little-endian u32 length, one type byte, and that many bytes. To the worker go trusted
binary frames. From the worker comes JSON that nobody trusts: at most 64 KiB, decoded by a fixed
schema, one answer for each request, with the request's number. Never pickle.

    to the worker    L load        u32 request, u32 soft CPU ms, u32 length of options (JSON),
                                   options {name, max_awaits, recursion}, the text's bytes
                     I inputs      JSON: the values that the user set (checked by the engine)
                     H history     forget all candles; u32 how many will come, 0: nobody knows
                     C candles     closed candles, each a CANDLE_ROW of 48 bytes
                     K column      u8 column (0 the times, then as PRICE_COLUMNS), u32 index of the
                                   first candle, 8 bytes a candle; the last column counts them
                     E evaluate    u32 request, u32 closed candles known, u32 soft CPU ms,
                                   u8 1 = a forming candle follows, f64 available balance,
                                   [48 bytes], positions (JSON, nothing where there are none)
                     B decide      u32 request, u32 first candle, u32 behind the last one,
                                   u32 CPU ms of a candle, u32 of the whole, u8 AskedWays
                     X explain     as E: the same candle once more, telling what it works out
                     P ping        u32 request: answered with Y once all before it is done
    from the worker  Y ready       request 0 when it stands, with its locks; answers P
                     D loaded      answers L
                     R result      answers E
                     W explained   answers X
                     M decided     answers B: many candles, as far as it came
                     F fault       answers any request
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from milo.candles import PRICE_COLUMNS, Candles
from milo.script.limits import (
    MAX_ACTION,
    MAX_CHANGES,
    MAX_ERRORS,
    MAX_INPUTS,
    MAX_LABEL,
    MAX_MARK,
    MAX_MARKS,
    MAX_MESSAGE,
    MAX_PLOTS,
    MAX_PRINT_BYTES,
    MAX_STEP_DEPTH,
    MAX_STEP_TEXT,
    MAX_STEP_VALUE,
    MAX_STEPS,
    MAX_TEXTS,
    MAX_WARNINGS,
)
from milo.script.request import PositionView

MAX_REPLY_BYTES: Final = 64 * 1024
MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
CANDLES_A_FRAME: Final = 524_288
MANY_CANDLES: Final = 20_000
"""From here on they go over column by column, which is faster and larger."""

LOAD: Final = ord("L")
INPUTS: Final = ord("I")
HISTORY: Final = ord("H")
CANDLES: Final = ord("C")
COLUMN: Final = ord("K")
EVALUATE: Final = ord("E")
DECIDE: Final = ord("B")
EXPLAIN: Final = ord("X")
PING: Final = ord("P")
READY: Final = ord("Y")
LOADED: Final = ord("D")
RESULT: Final = ord("R")
DECIDED: Final = ord("M")
EXPLAINED: Final = ord("W")
FAULT: Final = ord("F")

FAILED: Final = 0
"""In DECIDED, the code of candles on which the script failed."""

_HEAD: Final = struct.Struct("<IB")
_NUMBER: Final = struct.Struct("<I")
_LOAD: Final = struct.Struct("<III")
_EVALUATE: Final = struct.Struct("<IIIBd")
_DECIDE: Final = struct.Struct("<IIIIIB")
_COLUMN: Final = struct.Struct("<BI")
COLUMN_HEAD_BYTES: Final = _COLUMN.size
CANDLE_ROW: Final = struct.Struct("<6d")
"""Open time (ms UTC, exact in a double), open, high, low, close, volume."""


class FrameError(Exception):
    """What came is not the protocol; the other side is not to be trusted any further."""


_Label = Annotated[str, msgspec.Meta(max_length=MAX_LABEL)]
_Message = Annotated[str, msgspec.Meta(max_length=MAX_MESSAGE)]
_Warnings = Annotated[tuple[_Message, ...], msgspec.Meta(max_length=2 * MAX_WARNINGS)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class WireInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A declared `param()`."""

    name: _Label
    default: int | float
    low: int | float | None
    high: int | float | None


class WirePlot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A script's line: its newest value."""

    name: _Label
    pane: _Label
    value: float


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker says of its locks, before it has seen any script: our own code speaks."""

    locks: Annotated[tuple[_Label, ...], msgspec.Meta(max_length=16)] = ()
    landlock: _Count = 0
    """The kernel's version; 0 where it has none."""
    missing: _Message = ""
    """Why there is no filter of system calls, in the kernel's words."""


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The worker stands, and has done all that was sent before; the first one tells its locks."""

    request: _Count
    held: Held = Held()


class Loaded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The script passed both checks and compiled."""

    request: _Count
    timeframe: _Label | None
    coin: _Label | None
    indicators: Annotated[tuple[_Label, ...], msgspec.Meta(max_length=256)]
    inputs: Annotated[tuple[WireInput, ...], msgspec.Meta(max_length=MAX_INPUTS)]
    warnings: _Warnings
    reads_account: bool = False
    """It names what the account tells: its answer depends on more than candles."""


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one evaluation gave; the engine chooses the action and checks it."""

    request: _Count
    condition: bool
    if_true: Annotated[str, msgspec.Meta(max_length=MAX_ACTION)]
    if_false: Annotated[str, msgspec.Meta(max_length=MAX_ACTION)]
    printed: Annotated[str, msgspec.Meta(max_length=MAX_PRINT_BYTES)]
    dropped_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    warnings: _Warnings
    plots: Annotated[tuple[WirePlot, ...], msgspec.Meta(max_length=MAX_PLOTS)]
    marks: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=MAX_MARK)], ...],
        msgspec.Meta(max_length=MAX_MARKS),
    ]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request failed. Kinds: script (its own error), veto (only the second check refused it),
    time, awaits, memory (a budget), worker (the worker itself)."""

    request: _Count
    kind: Literal["script", "veto", "time", "awaits", "memory", "worker"]
    message: _Message
    line: _Count | None = None
    column: _Count | None = None
    end_column: _Count | None = None
    printed: Annotated[str, msgspec.Meta(max_length=MAX_PRINT_BYTES)] = ""


class WireAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An action that applied, and whether that was the one for a true condition."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_ACTION)]
    is_true: bool


class WireError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The script's own error on a candle; `at` counts from the first of the answer."""

    at: _Count
    message: _Message
    line: _Count | None = None
    column: _Count | None = None
    end_column: _Count | None = None


class WireBreach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The budget that was overrun on the candle at which the answer ends."""

    kind: Literal["time", "awaits", "memory"]
    line: _Count | None = None


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the candles from the first that was asked for up to `until` gave.

    `at` are the places at which the action changes, counted from the first candle (u32 each);
    `code` what applies from there on (u16 each): 0 for an error, k for `actions[k - 1]`.
    """

    request: _Count
    until: _Count
    at: Annotated[bytes, msgspec.Meta(max_length=4 * MAX_CHANGES)]
    code: Annotated[bytes, msgspec.Meta(max_length=2 * MAX_CHANGES)]
    actions: Annotated[tuple[WireAction, ...], msgspec.Meta(max_length=MAX_TEXTS)]
    errors: Annotated[tuple[WireError, ...], msgspec.Meta(max_length=MAX_ERRORS)]
    """The first ones."""
    breach: WireBreach | None
    warnings: _Warnings
    printed: Annotated[str, msgspec.Meta(max_length=MAX_PRINT_BYTES)]
    """On the last candle that was asked for."""
    dropped_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    is_lifted: bool
    """Candles that were not looked at one by one come from arrays."""
    checked: _Count
    """Candles of arrays that were decided one by one as well, and compared."""
    differing: _Count
    """Any: nothing of this answer and of those before it counts; arrays are not used again."""
    doubtful: _Count
    note: _Message
    """Why there are no arrays."""


class WireStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the script, or a part of one, and what it gave on the candle."""

    line: _Count
    depth: Annotated[int, msgspec.Meta(ge=0, le=MAX_STEP_DEPTH)]
    """0 for a line, more for a part of the row above with less."""
    text: Annotated[str, msgspec.Meta(max_length=MAX_STEP_TEXT)]
    value: Annotated[str, msgspec.Meta(max_length=MAX_STEP_VALUE)]
    """The last one; of a comparison both values and what is between them."""
    held: bool | None
    """Of a condition; None also where it was not looked at."""
    times: _Count
    """How often it was looked at; 0: not at all."""
    is_test: bool
    decides: bool
    """It belongs to what the results come from."""


class Explained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one evaluation worked out, line by line, and what came of it."""

    request: _Count
    condition: bool
    if_true: Annotated[str, msgspec.Meta(max_length=MAX_ACTION)]
    if_false: Annotated[str, msgspec.Meta(max_length=MAX_ACTION)]
    error: _Message
    """The script's own error, at which it ended; nothing where it did not."""
    warnings: _Warnings
    steps: Annotated[tuple[WireStep, ...], msgspec.Meta(max_length=MAX_STEPS)]
    left_out: _Count
    """Rows for which there was no room."""


Reply = Ready | Loaded | Result | Explained | Decided | Fault

_REPLIES: Final[dict[int, msgspec.json.Decoder[Any]]] = {
    READY: msgspec.json.Decoder(Ready),
    LOADED: msgspec.json.Decoder(Loaded),
    RESULT: msgspec.json.Decoder(Result),
    DECIDED: msgspec.json.Decoder(Decided),
    EXPLAINED: msgspec.json.Decoder(Explained),
    FAULT: msgspec.json.Decoder(Fault),
}
_TYPES: Final[dict[type, int]] = {
    Ready: READY, Loaded: LOADED, Result: RESULT, Decided: DECIDED, Explained: EXPLAINED,
    Fault: FAULT,
}  # fmt: skip
_ENCODE: Final = msgspec.json.Encoder().encode


def reply_frame(reply: Reply) -> bytes:
    """Return the frame of a reply (the worker's side).

    Where quotes and other scripts make it too long, the printed text is dropped and counted.
    """
    payload = _ENCODE(reply)
    if len(payload) > MAX_REPLY_BYTES and isinstance(reply, Result | Decided):
        dropped = reply.dropped_bytes + len(reply.printed.encode())
        payload = _ENCODE(msgspec.structs.replace(reply, printed="", dropped_bytes=dropped))
    return frame(_TYPES[type(reply)], payload)


def parse_reply(kind: int, payload: bytes) -> Reply:
    """Return a reply (the engine's side); raises FrameError unless it fits the schema."""
    decoder = _REPLIES.get(kind)
    if decoder is None:
        raise FrameError(f"unknown frame type {kind}")
    try:
        reply: Reply = decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FrameError(f"bad reply: {error}") from error
    return reply


def frame(kind: int, payload: bytes) -> bytes:
    """Return one frame."""
    return _HEAD.pack(len(payload), kind) + payload


class FrameReader:
    """Cuts a byte stream into frames of at most `max_bytes` of payload."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that are complete now as (type, payload).

        Raises FrameError as soon as a frame announces more than it may have.
        """
        buffer = self._buffer
        buffer += received
        frames = []
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, at)
            if length > self._max_bytes:
                raise FrameError(f"a frame of {length} bytes; at most {self._max_bytes}")
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            frames.append((kind, bytes(buffer[at + _HEAD.size : end])))
            at = end
        del buffer[:at]
        return frames

    def begun(self, kind: int, head_bytes: int) -> tuple[int, bytes] | None:
        """Return (length of the whole payload, what is here of it) of a frame that is not complete.

        Only where it is of that type and so many bytes of it have come, else None. It is the
        caller's then to read the rest; what comes after it begins with the next frame.
        """
        buffer = self._buffer
        if len(buffer) < _HEAD.size + head_bytes:
            return None
        length, found = _HEAD.unpack_from(buffer)
        if found != kind or length < head_bytes:
            return None
        payload = bytes(buffer[_HEAD.size :])
        buffer.clear()
        return length, payload

    @property
    def is_empty(self) -> bool:
        """True where no part of a frame waits for its rest."""
        return not self._buffer


class LoadOptions(msgspec.Struct, frozen=True):
    """How a script is loaded."""

    name: str
    max_awaits: int
    recursion: int


_OPTIONS: Final = msgspec.json.Decoder(LoadOptions)
_INPUTS: Final = msgspec.json.Decoder(dict[str, int | float])


def load_frame(request: int, soft_ms: int, options: LoadOptions, text: bytes) -> bytes:
    """Return the frame that loads a script's text."""
    encoded = _ENCODE(options)
    return frame(LOAD, _LOAD.pack(request, soft_ms, len(encoded)) + encoded + text)


def parse_load(payload: bytes) -> tuple[int, int, LoadOptions, bytes]:
    """Return (request, soft_ms, options, text)."""
    request, soft_ms, length = _LOAD.unpack_from(payload)
    start = _LOAD.size
    options = _OPTIONS.decode(payload[start : start + length])
    return request, soft_ms, options, payload[start + length :]


def inputs_frame(values: Mapping[str, float]) -> bytes:
    """Return the frame that sets inputs."""
    return frame(INPUTS, _ENCODE(dict(values)))


def parse_inputs(payload: bytes) -> dict[str, float]:
    """Return the values of the inputs; whole numbers stay whole."""
    return _INPUTS.decode(payload)


def pack_row(
    open_ms: int, open: float, high: float, low: float, close: float, volume: float
) -> bytes:
    """Return one candle as 48 bytes."""
    return CANDLE_ROW.pack(open_ms, open, high, low, close, volume)


def ping_frame(request: int) -> bytes:
    """Return the frame that asks for a sign of life."""
    return frame(PING, _NUMBER.pack(request))


def parse_ping(payload: bytes) -> int:
    """Return the request's number."""
    return int(_NUMBER.unpack(payload)[0])


def history_frame(coming: int = 0) -> bytes:
    """Return the frame that makes the worker forget all candles, and make room for others."""
    return frame(HISTORY, _NUMBER.pack(coming))


def parse_history(payload: bytes) -> int:
    """Return how many candles will come; 0 where that is not known."""
    return int(_NUMBER.unpack(payload)[0])


def candle_frames(candles: Candles, start: int) -> bytes:
    """Return the frames that carry the closed candles from index `start` on."""
    return b"".join(candle_parts(candles, start))


def candle_parts(candles: Candles, start: int) -> list[bytes | memoryview]:
    """Return the same in parts, of many candles without a copy of their columns."""
    count = len(candles) - start
    if count == 1:
        last = candles.candle(-1)
        row = pack_row(last.open_ms, last.open, last.high, last.low, last.close, last.volume)
        return [frame(CANDLES, row)]
    columns = [candles.open_ms, *(getattr(candles, name) for name in PRICE_COLUMNS)]
    if count < MANY_CANDLES:
        rows = np.stack([column[start:] for column in columns], axis=1, dtype="<f8")
        return [frame(CANDLES, rows.tobytes())]
    parts: list[bytes | memoryview] = []
    for first in range(start, len(candles), CANDLES_A_FRAME):
        for number, column in enumerate(columns):
            values = memoryview(column[first : first + CANDLES_A_FRAME]).cast("B")
            head = _HEAD.pack(_COLUMN.size + len(values), COLUMN)
            parts += (head + _COLUMN.pack(number, first), values)
    return parts


def parse_column(payload: bytes) -> tuple[int, int, memoryview]:
    """Return (column, index of its first candle, its values' bytes)."""
    number, first = _COLUMN.unpack_from(payload)
    return number, first, memoryview(payload)[_COLUMN.size :]


class AskedWays(IntFlag):
    """How candles are to be decided."""

    ARRAYS = 1
    """Over whole arrays, where the script can be lifted."""
    PROVE_ALL = 2
    """Each candle of arrays is decided one by one as well."""
    SHOW_LAST = 4
    """Text that is printed on the last candle comes with the answer."""
    PROVE_CHANGES = 8
    """Of the candles with a signal, only those are decided one by one at which it changes."""


class DecideRequest(NamedTuple):
    """Candles `first` <= index < `stop` to decide; `candle_ms` is what one may take, and after
    `slice_ms` the answer is due, both of CPU time."""

    request: int
    first: int
    stop: int
    candle_ms: int
    slice_ms: int
    ways: AskedWays


def decide_frame(asked: DecideRequest) -> bytes:
    """Return the frame that asks for decisions on many candles."""
    return frame(DECIDE, _DECIDE.pack(*asked))


def parse_decide(payload: bytes) -> DecideRequest:
    """Return what is asked for."""
    request, first, stop, candle_ms, slice_ms, ways = _DECIDE.unpack(payload)
    return DecideRequest(request, first, stop, candle_ms, slice_ms, AskedWays(ways))


def evaluate_frame(
    request: int,
    known: int,
    soft_ms: int,
    forming: bytes,
    balance: float,
    positions: Sequence[PositionView],
    *,
    kind: int = EVALUATE,
) -> bytes:
    """Return the frame that asks for one evaluation; `forming` is empty or one packed row.

    `kind`: EVALUATE, or EXPLAIN for one that tells what it works out.
    """
    listed = _ENCODE(list(positions)) if positions else b""
    head = _EVALUATE.pack(request, known, soft_ms, 1 if forming else 0, balance)
    return frame(kind, head + forming + listed)


def parse_evaluate(payload: bytes) -> tuple[int, int, int, bytes, float, list[dict[str, Any]]]:
    """Return (request, known, soft_ms, forming, balance, positions)."""
    request, known, soft_ms, has_forming, balance = _EVALUATE.unpack_from(payload)
    start = _EVALUATE.size
    end = start + (CANDLE_ROW.size if has_forming else 0)
    positions = msgspec.json.decode(payload[end:]) if len(payload) > end else []
    return request, known, soft_ms, payload[start:end], balance, positions
