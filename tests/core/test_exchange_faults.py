"""Fault schedules: what is read, what is refused, and which fault meets which request when."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.errors import ConfigError
from milo.exchange.fault_schedule import NAMES, PROFILES, profile, read_schedule
from milo.exchange.faults import Fault, Faults, Outcome, Progress, kind_of
from milo.exchange.refusals import has_text, refusal

NEEDED = {
    "unknown_code": {"code": -1006},
    "refuse_code": {"code": -2019},
    "slow": {"delay_ms": 5},
    "clock_skew": {"skew_ms": -3},
    "funding": {"rate": 0.001},
}


def schedule(*faults: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"faults": list(faults)} | more).encode()


def read(*faults: dict[str, Any], **more: Any) -> list[Fault]:
    return list(read_schedule(schedule(*faults, **more), "f.json").make())


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_read(name: str) -> None:
    entry = {"id": 3, "name": name, "at_ms": 10} | NEEDED.get(name, {})

    (fault,) = read(entry)

    assert (fault.id, fault.name, fault.at_ms, fault.for_ms) == (3, name, 10, 0)


def test_faults_come_in_the_order_of_their_beginnings() -> None:
    entries = [{"id": n, "name": "ws_drop", "at_ms": at} for n, at in ((1, 30), (2, 10), (3, 10))]

    assert [fault.id for fault in read(*entries)] == [2, 3, 1]


GOOD = {"id": 1, "name": "slow", "at_ms": 0, "for_ms": 1, "delay_ms": 5}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not JSON"),
        (b"[]", "a fault schedule is"),
        (b'{"faults": 3}', "a fault schedule is"),
        (schedule(GOOD, seed=-1), "its seed"),
        (schedule(GOOD, seed=True), "its seed"),
        (schedule(GOOD, GOOD), "the same id"),
        (schedule(GOOD | {"name": "slwo"}), "no fault is called 'slwo'"),
        (schedule(GOOD | {"name": ["slow"]}), "no fault is called"),
        (b'{"faults": [7]}', "no fault is called 7"),
        (schedule(GOOD | {"code": 5}), "slow takes no code"),
        (schedule({"id": 1, "name": "slow", "at_ms": 0}), "needs delay_ms"),
        (schedule({"name": "ws_drop", "at_ms": 0}), "needs id"),
        (schedule({"id": 1, "name": "ws_drop"}), "needs at_ms"),
        (schedule(GOOD | {"on": "everything"}), "on must be one of"),
        (schedule(GOOD | {"on": ["stop"]}), "on must be one of"),
        (schedule(GOOD | {"count": 0}), "count must be"),
        (schedule(GOOD | {"at_ms": -1}), "at_ms must be"),
        (schedule(GOOD | {"at_ms": "5"}), "at_ms must be"),
        (schedule(GOOD | {"for_ms": 1.5}), "for_ms must be"),
        (schedule(GOOD | {"for_ms": True}), "for_ms must be"),
        (schedule(GOOD | {"after": "yes"}), "after must be true or false"),
        (schedule({"id": 1, "name": "refuse_code", "at_ms": 0, "code": -7}), "code must be"),
        (schedule({"id": 1, "name": "unknown_code", "at_ms": 0, "code": -2019}), "-1006 or -1007"),
        (schedule({"id": 1, "name": "funding", "at_ms": 0, "rate": 3}), "fraction"),
        (schedule({"id": 1, "name": "partial_fill", "at_ms": 0, "parts": 0}), "from 1 to"),
        (schedule({"id": 1, "name": "restart", "at_ms": 0, "for_ms": 9}), "takes no for_ms"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=r"^f\.json: ") as caught:
        read_schedule(content, "f.json")

    assert told in str(caught.value)


def test_two_schedules_that_differ_are_told_apart() -> None:
    contents = [schedule(GOOD), schedule(GOOD, seed=2), schedule(GOOD | {"at_ms": 1})]

    assert len({read_schedule(content, "f.json").identity for content in contents}) == 3


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_repeats_with_its_seed_and_holds_what_it_promises(name: str) -> None:
    first, again, other = (
        list(itertools.islice(profile(name, seed).make(), 400)) for seed in (1, 1, 2)
    )

    assert first == again
    assert {fault.name for fault in first} == set(PROFILES[name])
    assert [fault.at_ms for fault in first] == sorted(fault.at_ms for fault in first)
    assert (first != other) == (name != "none")
    assert len(first) == (0 if name == "none" else 400)


def test_what_a_profile_draws_could_stand_in_a_file() -> None:
    for fault in itertools.islice(profile("all", 3).make(), 300):
        entry = {
            key: getattr(fault, key)
            for key in Fault.__dataclass_fields__
            if getattr(fault, key) != Fault.__dataclass_fields__[key].default
        }
        entry |= {key: getattr(fault, key) for key in NEEDED.get(fault.name, {})}
        assert read(entry) == [fault]


ORDER_CODES = (
    -1000, -1001, -1002, -1003, -1006, -1007, -1008, -1015, -1016, -1021, -1022, -1102, -1104,
    -1106, -1111, -1116, -1121, -1122, -1130, -2008, -2010, -2011, -2013, -2014, -2015, -2017,
    -2018, -2019, -2021, -2022, -2023, -2025, -2027, -2028, -4003, -4004, -4005, -4014, -4015,
    -4023, -4028, -4045, -4050, -4051, -4060, -4061, -4062, -4087, -4088, -4105, -4106, -4107,
    -4109, -4116, -4117, -4118, -4120, -4130, -4131, -4137, -4138, -4140, -4141, -4142, -4161,
    -4164, -4189, -4202, -4400, -4401, -4403, -4509, -4531, -5021, -5022, -5027, -5028, -5041,
)  # fmt: skip


@pytest.mark.parametrize("code", ORDER_CODES)
def test_every_code_that_an_order_can_meet_has_its_text(code: int) -> None:
    assert has_text(code)
    assert refusal(code).code == code
    assert len(str(refusal(code))) > 8


@pytest.mark.parametrize(
    ("method", "path", "params", "kind"),
    [
        ("POST", "/fapi/v1/order", {}, "entry"),
        ("POST", "/fapi/v1/order", {"reduceOnly": "false"}, "entry"),
        ("POST", "/fapi/v1/order", {"reduceOnly": "TRUE"}, "close"),
        ("POST", "/fapi/v1/algoOrder", {"type": "STOP_MARKET"}, "stop"),
        ("POST", "/fapi/v1/algoOrder", {"type": "STOP"}, "stop"),
        ("POST", "/fapi/v1/algoOrder", {"type": "TAKE_PROFIT"}, "target"),
        ("DELETE", "/fapi/v1/allOpenOrders", {}, "cancel"),
        ("DELETE", "/fapi/v1/algoOrder", {}, "cancel"),
        ("DELETE", "/fapi/v1/listenKey", {}, "other"),
        ("POST", "/fapi/v1/leverage", {}, "other"),
        ("GET", "/fapi/v1/algoOrder", {}, "query"),
        ("GET", "/fapi/v1/openAlgoOrders", {}, "read"),
    ],
)
def test_requests_are_of_a_kind(method: str, path: str, params: dict[str, str], kind: str) -> None:
    assert kind_of(method, path, params, has_key=True) == kind
    assert kind_of(method, path, params, has_key=False) == ""


def fault(name: str, number: int = 1, at_ms: int = 100, for_ms: int = 50, **more: Any) -> Fault:
    return Fault(id=number, name=name, at_ms=at_ms, for_ms=for_ms, **more)


def turns(faults: Faults, now_ms: int) -> list[tuple[int, bool]]:
    return [(turn.fault.id, turn.is_begin) for turn in faults.advance(now_ms)]


def test_windows_open_at_their_time_and_close_at_their_end() -> None:
    faults = Faults([fault("ws_drop"), fault("ws_silence", 2, at_ms=120)])

    seen = [turns(faults, now_ms) for now_ms in (99, 100, 119, 120, 149, 150, 170, 999)]

    assert seen == [
        [], [(1, True)], [], [(2, True)], [], [(1, False)], [(2, False)], [],
    ]  # fmt: skip
    assert faults.next_ms() is None


def test_a_fault_that_began_and_ended_unseen_is_still_told_in_order() -> None:
    faults = Faults([fault("ws_drop"), fault("ws_drop", 2, at_ms=110, for_ms=5)])

    assert turns(faults, 1_000) == [(1, True), (2, True), (2, False), (1, False)]


def test_delays_add_up_and_one_fault_decides() -> None:
    faults = Faults(
        [
            fault("slow", 1, delay_ms=30),
            fault("slow", 2, delay_ms=40, after=True),
            fault("answer_lost", 3),
            fault("request_lost", 4),
        ]
    )
    faults.advance(100)

    decision = faults.decide("stop", 100)

    assert (decision.before_ms, decision.after_ms) == (30, 40)
    assert decision.outcome is Outcome.ANSWER_LOST
    assert decision.is_executed
    assert [hit.id for hit in decision.hits] == [1, 2, 3]


def test_a_fault_that_has_had_its_hits_ends_before_its_time() -> None:
    faults = Faults([fault("request_lost", on="stop", count=2)])
    faults.advance(100)

    outcomes = []
    for kind in ("stop", "entry", "stop", "stop"):
        outcomes.append(faults.decide(kind, 110).outcome is Outcome.REQUEST_LOST)
        ended = [turn.fault.id for turn in faults.take_used_up()]
        assert ended == ([1] if len(outcomes) == 3 else [])

    assert outcomes == [True, False, True, False]


def test_a_request_that_is_held_back_keeps_the_fault_from_being_over() -> None:
    faults = Faults([fault("slow", on="stop", delay_ms=70)])
    faults.advance(100)

    late = faults.decide("stop", 150)

    assert late.before_ms == 0
    assert faults.advance(219) == []
    assert turns(faults, 220) == [(1, False)]


@pytest.mark.parametrize(
    ("name", "values", "blocks"),
    [
        ("banned_418", {}, "all"),
        ("restart", {}, "all"),
        ("request_lost", {"on": "any"}, "all"),
        ("request_lost", {"on": "stop"}, "protective"),
        ("request_lost", {"on": "entry"}, "none"),
        ("answer_lost", {"on": "stop"}, "none"),
        ("unknown_503", {"on": "close", "executed": True}, "none"),
        ("unknown_503", {"on": "close"}, "protective"),
        ("refuse_code", {"on": "stop", "code": -1008}, "protective"),
        ("slow", {"on": "stop", "delay_ms": 9}, "protective"),
        ("slow", {"on": "stop", "delay_ms": 9, "after": True}, "none"),
        ("too_many_429", {}, "none"),
        ("ws_drop", {}, "none"),
    ],
)
def test_it_is_known_which_faults_keep_a_position_from_being_protected(
    name: str, values: dict[str, Any], blocks: str
) -> None:
    assert fault(name, **values).blocks == blocks


def test_after_a_restart_what_lasts_goes_on_and_what_was_missed_never_was() -> None:
    every = [
        fault("ws_drop", 1, at_ms=10, for_ms=10),  # over before
        fault("ws_drop", 2, at_ms=50, for_ms=500),  # lasts through the restart
        fault("ws_drop", 3, at_ms=60, for_ms=100),  # ends while down
        fault("ws_drop", 4, at_ms=120, for_ms=20),  # while down only
        fault("ws_drop", 5, at_ms=130, for_ms=500),  # begins while down, lasts
        fault("funding", 6, at_ms=140, for_ms=0),  # a moment while down
        fault("ws_drop", 7, at_ms=300, for_ms=10),  # later
    ]
    before = Faults(every)
    before.advance(100)

    after = Faults(every, Progress(told_ms=100, hits=dict(before.progress.hits)))
    told = [(turn.fault.id, turn.is_begin) for turn in after.resume(200)]

    assert sorted(told) == [(3, False), (5, True)]
    assert sorted(after.active) == [2, 5]
    assert turns(after, 300) == [(7, True)]


def test_a_fault_that_was_used_up_before_a_restart_stays_so() -> None:
    every = [fault("request_lost", for_ms=500, count=1)]
    before = Faults(every)
    before.advance(100)
    before.decide("entry", 100)
    before.take_used_up()

    after = Faults(every, before.progress)
    after.resume(200)

    assert after.decide("entry", 200).outcome is Outcome.NORMAL


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    steps=st.lists(st.integers(1, 5_000), min_size=1, max_size=40),
)
def test_every_beginning_has_one_end_whatever_the_steps(seed: int, steps: list[int]) -> None:
    faults = Faults(itertools.islice(profile("all", seed).make(), 30))
    now_ms, told = 0, []
    for step in [*steps, 10**6]:
        now_ms += step
        told += turns(faults, now_ms)
        faults.decide("entry", now_ms)
        told += [(turn.fault.id, False) for turn in faults.take_used_up()]

    begun = [number for number, is_begin in told if is_begin]
    assert begun == list(range(1, 31))
    assert sorted(number for number, is_begin in told if not is_begin) == begun
    for number in begun:
        assert told.index((number, True)) < told.index((number, False))
