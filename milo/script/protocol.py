"""The words between engine and worker: frames on two pipes (layer 1, no I/O).

A frame is a little-endian u32 length, one type byte, and that many bytes. To the worker go trusted
binary frames. From the worker comes JSON that nobody trusts: at most 64 KiB, decoded by a fixed
schema, one answer for each request, with the request's number. Never pickle.

    to the worker    L load        u32 request, u32 soft CPU ms, u32 length of options (JSON),
                                   options {name, max_awaits, recursion}, the text's bytes
                     I inputs      JSON: the values that the user set (checked by the engine)
                     H history     forget all candles
                     C candles     closed candles, 48 bytes each (see milo.script.history)
                     E evaluate    u32 request, u32 closed candles known, u32 soft CPU ms,
                                   u8 1 = a forming candle follows, f64 available balance,
                                   [48 bytes], positions (JSON, nothing where there are none)
                     P ping        u32 request: answered with Y once all before it is done
    from the worker  Y ready       request 0 when it stands, with its locks; answers P
                     D loaded      answers L
                     R result      answers E
                     F fault       answers any request
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from milo.candles import PRICE_COLUMNS, Candles
from milo.script.history import ROW_BYTES
from milo.script.limits import (
    MAX_ACTION,
    MAX_INPUTS,
    MAX_LABEL,
    MAX_MARK,
    MAX_MARKS,
    MAX_MESSAGE,
    MAX_PLOTS,
    MAX_PRINT_BYTES,
    MAX_WARNINGS,
)
from milo.script.request import PositionView

MAX_REPLY_BYTES: Final = 64 * 1024
MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
CANDLES_A_FRAME: Final = 65_536

LOAD: Final = ord("L")
INPUTS: Final = ord("I")
HISTORY: Final = ord("H")
CANDLES: Final = ord("C")
EVALUATE: Final = ord("E")
PING: Final = ord("P")
READY: Final = ord("Y")
LOADED: Final = ord("D")
RESULT: Final = ord("R")
FAULT: Final = ord("F")

_HEAD: Final = struct.Struct("<IB")
_NUMBER: Final = struct.Struct("<I")
_LOAD: Final = struct.Struct("<III")
_EVALUATE: Final = struct.Struct("<IIIBd")
_ROW: Final = struct.Struct("<6d")


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


Reply = Ready | Loaded | Result | Fault

_REPLIES: Final[dict[int, msgspec.json.Decoder[Any]]] = {
    READY: msgspec.json.Decoder(Ready),
    LOADED: msgspec.json.Decoder(Loaded),
    RESULT: msgspec.json.Decoder(Result),
    FAULT: msgspec.json.Decoder(Fault),
}
_TYPES: Final[dict[type, int]] = {Ready: READY, Loaded: LOADED, Result: RESULT, Fault: FAULT}
_ENCODE: Final = msgspec.json.Encoder().encode


def reply_frame(reply: Reply) -> bytes:
    """Return the frame of a reply (the worker's side).

    Where quotes and other scripts make it too long, the printed text is dropped and counted.
    """
    payload = _ENCODE(reply)
    if len(payload) > MAX_REPLY_BYTES and isinstance(reply, Result):
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
    return _ROW.pack(open_ms, open, high, low, close, volume)


def ping_frame(request: int) -> bytes:
    """Return the frame that asks for a sign of life."""
    return frame(PING, _NUMBER.pack(request))


def parse_ping(payload: bytes) -> int:
    """Return the request's number."""
    return int(_NUMBER.unpack(payload)[0])


def history_frame() -> bytes:
    """Return the frame that makes the worker forget all candles."""
    return frame(HISTORY, b"")


def candle_frames(candles: Candles, start: int) -> bytes:
    """Return the frames that carry the closed candles from index `start` on."""
    count = len(candles) - start
    if count == 1:
        last = candles.candle(-1)
        row = pack_row(last.open_ms, last.open, last.high, last.low, last.close, last.volume)
        return frame(CANDLES, row)
    columns = [candles.open_ms.astype(np.float64)[start:]]
    columns += [getattr(candles, name)[start:] for name in PRICE_COLUMNS]
    rows = np.ascontiguousarray(np.stack(columns, axis=1), dtype="<f8")
    return b"".join(
        frame(CANDLES, rows[first : first + CANDLES_A_FRAME].tobytes())
        for first in range(0, count, CANDLES_A_FRAME)
    )


def evaluate_frame(
    request: int,
    known: int,
    soft_ms: int,
    forming: bytes,
    balance: float,
    positions: Sequence[PositionView],
) -> bytes:
    """Return the frame that asks for one evaluation; `forming` is empty or one packed row."""
    listed = _ENCODE(list(positions)) if positions else b""
    head = _EVALUATE.pack(request, known, soft_ms, 1 if forming else 0, balance)
    return frame(EVALUATE, head + forming + listed)


def parse_evaluate(payload: bytes) -> tuple[int, int, int, bytes, float, list[dict[str, Any]]]:
    """Return (request, known, soft_ms, forming, balance, positions)."""
    request, known, soft_ms, has_forming, balance = _EVALUATE.unpack_from(payload)
    start = _EVALUATE.size
    end = start + (ROW_BYTES if has_forming else 0)
    positions = msgspec.json.decode(payload[end:]) if len(payload) > end else []
    return request, known, soft_ms, payload[start:end], balance, positions
