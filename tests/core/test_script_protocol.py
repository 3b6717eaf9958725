"""Frames and schemas between engine and worker; the worker's side is hostile."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from milo.candles import PRICE_COLUMNS, Candles
from milo.script.history import History
from milo.script.limits import (
    MAX_ACTION,
    MAX_LABEL,
    MAX_MARK,
    MAX_MARKS,
    MAX_MESSAGE,
    MAX_PLOTS,
    MAX_PRINT_BYTES,
)
from milo.script.protocol import (
    COLUMN,
    COLUMN_HEAD_BYTES,
    FAULT,
    LOADED,
    MANY_CANDLES,
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    PING,
    READY,
    RESULT,
    AskedWays,
    DecideRequest,
    Fault,
    FrameError,
    FrameReader,
    Ready,
    Result,
    WirePlot,
    candle_frames,
    decide_frame,
    frame,
    parse_column,
    parse_decide,
    parse_reply,
    ping_frame,
    reply_frame,
)

RESULT_FIELDS: dict[str, Any] = {
    "request": 7,
    "condition": True,
    "if_true": "close",
    "if_false": "donothing",
    "printed": "",
    "dropped_bytes": 0,
    "warnings": [],
    "plots": [],
    "marks": [],
}


def test_reply_reads_back() -> None:
    replies = [
        Ready(request=0),
        Result(
            request=7,
            condition=True,
            if_true="close",
            if_false="donothing",
            printed="grün\n",
            dropped_bytes=0,
            warnings=("w",),
            plots=(WirePlot(name="RSI", pane="price", value=5.5),),
            marks=("m",),
        ),
        Fault(request=3, kind="script", message="no", line=2, column=1, end_column=4),
    ]
    reader = FrameReader(MAX_REPLY_BYTES)

    frames = reader.feed(b"".join(reply_frame(reply) for reply in replies))

    assert [parse_reply(kind, payload) for kind, payload in frames] == replies


@pytest.mark.parametrize("letter", ['"', "x", "\U0001f600", "\\"])
def test_reply_of_an_honest_worker_is_never_too_long(letter: str) -> None:
    size = MAX_PRINT_BYTES // len(letter.encode())
    reply = Result(
        request=7,
        condition=True,
        if_true=letter * MAX_ACTION,
        if_false=letter * MAX_ACTION,
        printed=letter * size,
        dropped_bytes=5,
        warnings=(letter * MAX_MESSAGE,),
        plots=tuple(
            WirePlot(name=letter * MAX_LABEL, pane=letter * MAX_LABEL, value=-1.2345678901234e-300)
            for _ in range(MAX_PLOTS)
        ),
        marks=(letter * MAX_MARK,) * MAX_MARKS,
    )

    ((kind, payload),) = FrameReader(MAX_REPLY_BYTES).feed(reply_frame(reply))

    read = parse_reply(kind, payload)
    assert isinstance(read, Result)
    assert len(read.printed.encode()) + read.dropped_bytes == len(reply.printed.encode()) + 5
    assert (read.if_true, read.plots, read.marks) == (reply.if_true, reply.plots, reply.marks)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 20))
def test_frames_are_cut_the_same_however_the_bytes_arrive(payloads: list[bytes], step: int) -> None:
    stream = b"".join(frame(index, payload) for index, payload in enumerate(payloads))
    reader = FrameReader(100)

    frames = []
    for start in range(0, len(stream), step):
        frames += reader.feed(stream[start : start + step])

    assert frames == list(enumerate(payloads))
    assert reader.is_empty


def test_frame_that_announces_too_much_is_refused_before_it_arrives() -> None:
    with pytest.raises(FrameError, match="4294967295 bytes"):
        FrameReader(MAX_REPLY_BYTES).feed(struct.pack("<IB", 2**32 - 1, RESULT))


@pytest.mark.parametrize(
    "changes",
    [
        {"condition": 1},
        {"condition": None},
        {"condition": "true"},
        {"request": -1},
        {"request": 2**40},
        {"request": True},
        {"if_true": 5},
        {"if_true": "x" * 201},
        {"printed": "x" * 16_385},
        {"dropped_bytes": -1},
        {"warnings": ["x"] * 41},
        {"warnings": "x"},
        {"plots": [{"name": "a", "pane": "b", "value": "1"}]},
        {"plots": [{"name": "a", "pane": "b", "value": None}]},
        {"plots": [{"name": "a" * 65, "pane": "b", "value": 1}]},
        {"plots": [{"name": "a", "pane": "b", "value": 1, "more": 2}]},
        {"marks": ["x"] * 17},
        {"extra": 1},
        {"marks": ...},
    ],
)
def test_reply_outside_the_schema_is_refused(changes: dict[str, Any]) -> None:
    fields = {key: value for key, value in (RESULT_FIELDS | changes).items() if value is not ...}

    with pytest.raises(FrameError):
        parse_reply(RESULT, json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (RESULT, b""),
        (RESULT, b"{"),
        (RESULT, b"[" * 50_000),
        (RESULT, b"\xff\xfe"),
        (RESULT, json.dumps(RESULT_FIELDS).encode().replace(b"true", b"NaN")),
        (LOADED, b'{"request":1}'),
        (READY, b"[]"),
        (FAULT, b'{"request":1,"kind":"harmless","message":""}'),
        (ord("Z"), b"{}"),
    ],
)
def test_bytes_that_are_no_reply_are_refused(kind: int, payload: bytes) -> None:
    with pytest.raises(FrameError):
        parse_reply(kind, payload)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_break_the_host_otherwise(noise: bytes) -> None:
    reader = FrameReader(MAX_REPLY_BYTES)
    try:
        for kind, payload in reader.feed(noise):
            parse_reply(kind, payload)
    except FrameError:
        return


def test_many_candles_go_over_column_by_column() -> None:
    count = MANY_CANDLES + 70_000
    times = np.arange(count, dtype=np.int64) * 60_000 + 1_767_225_600_000
    columns = [np.arange(count) * factor + 0.1 for factor in (1.0, 2.0, 3.0, 4.0, 5.0)]
    candles = Candles.from_columns(times, *columns)
    history = History()
    history.clear(count)

    for kind, payload in FrameReader(MAX_REQUEST_BYTES).feed(candle_frames(candles, 0)):
        assert kind == COLUMN
        history.put_column(*parse_column(payload))

    base = history.base()
    assert len(base) == count
    assert (base.open_ms == times).all()
    for name, column in zip(PRICE_COLUMNS, columns, strict=True):
        assert (base.column(name) == column).all()


@pytest.mark.parametrize("cut", [0, 9, 10, 11, 200_000])
def test_a_column_that_is_not_whole_yet_can_be_taken_out_to_be_read_in_place(cut: int) -> None:
    values = np.arange(30_000) * 1.5
    ping, column = ping_frame(1), candle_frames(_flat(values), 0)[: 5 + 5 + 8 * 30_000]
    reader = FrameReader(MAX_REQUEST_BYTES)

    complete = reader.feed(ping + column[:cut])
    begun = reader.begun(COLUMN, COLUMN_HEAD_BYTES)

    assert [kind for kind, _ in complete] == [PING]
    assert reader.begun(PING, 0) is None
    if cut < 10:
        assert begun is None
        assert [kind for kind, _ in reader.feed(column[cut:])] == [COLUMN]
    else:
        assert begun == (len(column) - 5, column[5:cut])
        assert reader.is_empty
        assert [kind for kind, _ in reader.feed(ping)] == [PING]


def _flat(values: NDArray[np.float64]) -> Candles:
    times = np.arange(len(values), dtype=np.int64)
    return Candles.from_columns(times, values, values, values, values, values)


def test_room_for_a_part_of_a_column_is_where_its_candles_are_read() -> None:
    history = History()
    values = np.arange(5.0)

    for number in range(6):
        column = np.arange(5) if number == 0 else values * number
        history.room(number, 0, 40)[:] = column.tobytes()

    assert len(history) == 5
    assert history.base().open_ms.tolist() == [0, 1, 2, 3, 4]
    assert history.base().column("volume").tolist() == [0.0, 5.0, 10.0, 15.0, 20.0]


@pytest.mark.parametrize(("number", "first"), [(0, 1), (6, 0), (-1, 0), (5, 3)])
def test_column_that_does_not_follow_is_refused(number: int, first: int) -> None:
    history = History()

    with pytest.raises(ValueError, match="does not follow"):
        history.put_column(number, first, memoryview(bytes(16)))


def test_question_about_many_candles_reads_back() -> None:
    asked = DecideRequest(7, 3, 900, 250, 100, AskedWays.ARRAYS | AskedWays.SHOW_LAST)

    assert parse_decide(decide_frame(asked)[5:]) == asked
