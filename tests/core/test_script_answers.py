"""What the engine takes from a worker's answers: known names, finite numbers, clean actions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.intervals import INTERVALS
from milo.script.actions import parse_action
from milo.script.answers import Forged, checked_action, checked_header
from milo.script.limits import LARGEST_INPUT, MAX_ACTION
from milo.script.protocol import Loaded, WireInput
from milo.script.text import clean
from milo.ta import INDICATORS

HONEST = Loaded(
    request=1,
    timeframe="1h",
    coin="가격1000PEPEUSDT",
    indicators=tuple(spec.name for spec in INDICATORS),
    inputs=(WireInput(name="größe", default=LARGEST_INPUT, low=-1, high=None),),
    warnings=("line 1: a\x1b[2J\nwarning",),
)


def header_of(**changes: Any) -> Any:
    return checked_header(
        msgspec.structs.replace(HONEST, **changes), name="my", text_sha256="0" * 64
    )


def test_honest_header_is_taken_as_it_is() -> None:
    header = header_of()

    assert (header.name, header.timeframe, header.coin) == ("my", "1h", "가격1000PEPEUSDT")
    assert header.indicators == HONEST.indicators
    assert [(i.name, i.default, i.low, i.high) for i in header.inputs] == [
        ("größe", LARGEST_INPUT, -1, None)
    ]
    assert header.warnings == ("line 1: a?[2J warning",)


@pytest.mark.parametrize("timeframe", [None, *INTERVALS])
def test_every_interval_is_a_timeframe(timeframe: str | None) -> None:
    assert header_of(timeframe=timeframe).timeframe == timeframe


@settings(deadline=None)
@given(st.text(max_size=8))
def test_coin_is_letters_and_digits_or_forged(coin: str) -> None:
    try:
        header = header_of(coin=coin)
    except Forged:
        return

    assert coin
    assert header.coin == coin == clean(coin)
    assert not set(coin) & set(" /&?=.%#\\\"'<>;:+-_")


@pytest.mark.parametrize(
    "item",
    [
        WireInput(name="n", default=LARGEST_INPUT * 2, low=None, high=None),
        WireInput(name="n", default=1, low=2, high=None),
        WireInput(name="n", default=1, low=None, high=0),
        WireInput(name="n", default=1, low=None, high=10**400),
        WireInput(name="1n", default=1, low=None, high=None),
        WireInput(name="n n", default=1, low=None, high=None),
    ],
)
def test_input_that_no_script_can_declare_is_forged(item: WireInput) -> None:
    with pytest.raises(Forged):
        header_of(inputs=(item,))


PARTS = st.sampled_from(
    [
        "long", "SHORT", "close", "donothing", "(", ")", "1", "50", ".5", "%", "risk", "margin",
        "@", "10", "x", ",", "sl", "tp", "rr", "=", "2", "atr", " ", "\t", "\r\n", "\n",
        "\u212a", "\u0661", "\x00", "\u00a0", "\u2028", "1e5", "inf", "-",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(PARTS, max_size=24).map("".join),
    st.text(max_size=40),
    st.tuples(
        st.sampled_from(["", " ", "\n", "\t" * 90]), st.sampled_from(["", "\r\n", "\x0b"])
    ).map(lambda ends: f"{ends[0]}long ( 1%risk{ends[0]}@10x, sl=2% ){ends[1]}"),
)


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_action_that_is_taken_reads_again_as_the_same_on_one_clean_line(text: str) -> None:
    try:
        action = checked_action(text)
    except ValueError as error:
        told = str(error)
    else:
        told = action
        assert parse_action(action) == parse_action(text)
        assert action.isascii()
        assert action == action.strip()
        assert len(action) <= MAX_ACTION

    assert told == clean(told)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("\t" * 90 + "long ( 1%risk@10x, sl=2% )\r\n", "long ( 1%risk@10x, sl=2% )"),
        ("CLOSE\n", "CLOSE"),
        (" donothing\t", "donothing"),
    ],
)
def test_white_space_of_an_action_becomes_single_spaces(text: str, action: str) -> None:
    assert checked_action(text) == action
