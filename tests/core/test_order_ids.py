"""Client order ids: the same for the same thing, different for different ones, always legal."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from milo.orders.ids import Leg, client_id, is_ours, leg_of, run_id_of, signal_key

LEGAL = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    wall_ms=st.integers(0, 2**42),
    script=st.text(max_size=30),
    symbol=st.text(min_size=1, max_size=20),
    candle_ms=st.integers(0, 2**42),
    leg=st.sampled_from(Leg),
    attempt=st.integers(1, 9999),
)
def test_every_id_is_legal_and_says_whose_and_what_for(
    wall_ms: int, script: str, symbol: str, candle_ms: int, leg: Leg, attempt: int
) -> None:
    key = signal_key(script, symbol, candle_ms, "entry-long")

    made = client_id(run_id_of(wall_ms), key, leg, attempt)

    assert LEGAL.fullmatch(made)
    assert is_ours(made)
    assert leg_of(made) is leg


def test_the_same_signal_gives_the_same_id() -> None:
    ids = {client_id("run", signal_key("a", "BTCUSDT", 1, "entry-long"), Leg.ENTRY) for _ in "xx"}

    assert len(ids) == 1


def test_ids_differ_by_run_script_symbol_candle_kind_leg_and_attempt() -> None:
    keys = {
        signal_key("a", "BTCUSDT", 1, "entry-long"),
        signal_key("b", "BTCUSDT", 1, "entry-long"),
        signal_key("a", "ETHUSDT", 1, "entry-long"),
        signal_key("a", "BTCUSDT", 2, "entry-long"),
        signal_key("a", "BTCUSDT", 1, "entry-short"),
    }

    ids = {
        client_id(run, key, leg, attempt)
        for run in ("run1", "run2")
        for key in keys
        for leg in Leg
        for attempt in (1, 2, 3)
    }

    assert len(keys) == 5
    assert len(ids) == 2 * 5 * len(Leg) * 3


def test_run_ids_rise_with_time_and_keep_their_length() -> None:
    ids = [run_id_of(ms) for ms in (0, 1, 36, 1_767_225_600_000, 1_767_225_600_001)]

    assert ids == sorted(ids)
    assert {len(run_id) for run_id in ids} == {8}


def test_ids_of_others_are_not_ours() -> None:
    for name in ("web_1", "autoclose-17", "x-milo-1", ""):
        assert not is_ours(name)
        assert leg_of(name) is None


def test_an_id_of_ours_with_an_unknown_leg_has_none() -> None:
    assert leg_of("milo-run-key-z") is None
