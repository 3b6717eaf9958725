"""The action grammar: what is read, what is refused and why, and the builders."""

from __future__ import annotations

import contextlib
import random
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.model import (
    AmountKind,
    Direction,
    Distance,
    DistanceKind,
    EntryIntent,
    ExitIntent,
)
from milo.script.actions import close_action, entry_action, parse_action

PERCENT, ATR, PRICE = DistanceKind.PERCENT, DistanceKind.ATR, DistanceKind.PRICE


def entry(**parts: object) -> EntryIntent:
    known: dict[str, object] = {
        "direction": Direction.LONG,
        "amount": Decimal(1),
        "amount_kind": AmountKind.RISK,
        "leverage": Decimal(10),
    }
    return EntryIntent(**(known | parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("donothing", None),
        (" DoNothing ", None),
        ("close", ExitIntent()),
        ("CLOSE(25%)", ExitIntent(percent=Decimal(25))),
        ("close ( .5 % )", ExitIntent(percent=Decimal("0.5"))),
        ("close(100%)", ExitIntent(percent=Decimal(100))),
        ("long(1%risk@10x)", entry()),
        ("short(1%risk@10x)", entry(direction=Direction.SHORT)),
        ("long(5%margin@3x)", entry(amount=Decimal(5), amount_kind=AmountKind.MARGIN, leverage=3)),
        ("long(0.5%risk@1x)", entry(amount=Decimal("0.5"), leverage=Decimal(1))),
        (
            "long(1%risk@10x,sl=2%,rr=3)",
            entry(stop=Distance(Decimal(2), PERCENT), reward_ratio=Decimal(3)),
        ),
        (
            "long(1%risk@10x,rr=3,sl=2%)",
            entry(stop=Distance(Decimal(2), PERCENT), reward_ratio=Decimal(3)),
        ),
        (
            "long(1%risk@10x,sl=1.5atr,tp=70000)",
            entry(stop=Distance(Decimal("1.5"), ATR), target=Distance(Decimal(70000), PRICE)),
        ),
        (
            "\tLONG ( 1 % Risk @ 10 X ,\n sl = 2 ATR , tp = 6 % ) ",
            entry(stop=Distance(Decimal(2), ATR), target=Distance(Decimal(6), PERCENT)),
        ),
        ("long(100%risk@1.5x)", entry(amount=Decimal(100), leverage=Decimal("1.5"))),
    ],
)
def test_action_is_read_with_free_white_space_and_any_case(text: str, intent: object) -> None:
    assert parse_action(text) == intent


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it ends where 'long', 'short', 'close' or 'donothing' is expected"),
        ("buy", "'buy' is not one of long, short, close, donothing"),
        ("do nothing", "'do' is not one of"),
        ("donothing now", "'now' after its end"),
        ("long", "it ends where '(' is expected"),
        ("long()", "')' stands where the amount"),
        ("long(1%risk)", "')' stands where '@' is expected"),
        ("long(1risk@10x)", "'risk' stands where '%' is expected"),
        ("long(1%equity@10x)", "'%equity' instead of '%risk' or '%margin'"),
        ("long(1%risk@10)", "')' stands where 'x' after the leverage is expected"),
        ("long(1%risk@10y)", "the leverage must end with 'x'"),
        ("long(1%risk@10x", "it ends where ',' or ')' is expected"),
        ("long(1%risk@10x,)", "')' stands where 'sl', 'tp' or 'rr'"),
        ("long(1%risk@10x))", "')' after its end"),
        ("long(1%risk@10x,tp=5%,rr=3)", "'tp' and 'rr' both say where the target is"),
        ("long(1%risk@10x,sl=1%,sl=2%)", "'sl' is given twice"),
        ("long(1%risk@10x,stop=1%)", "'stop' is not one of sl, tp, rr"),
        ("long(1%risk@10x,sl=2pct)", "sl is in 'pct' instead of '%' or 'atr'"),
        ("long(1%risk@10x,rr=3%)", "'%' stands where ',' or ')' is expected"),
        ("long(1%risk@10x,sl=0%)", "sl=0 is not above 0"),
        ("long(0%risk@10x)", "risk of 0% is not above 0 and at most 100"),
        ("long(100.1%risk@10x)", "risk of 100.1% is not above 0 and at most 100"),
        ("short(200%margin@10x)", "margin of 200% is not above 0 and at most 100"),
        ("long(1%risk@0.5x)", "leverage 0.5x is below 1x"),
        ("close(0%)", "close of 0% is not above 0 and at most 100"),
        ("close(101%)", "close of 101% is not above 0 and at most 100"),
        ("close(50)", "')' stands where '%' is expected"),
        ("close()", "')' stands where the part to close"),
        ("long(-1%risk@10x)", "'-' has no meaning"),
        ("long(+1%risk@10x)", "'+' has no meaning"),
        ("long(1e2%risk@10x)", "'e' stands where '%' is expected"),
        ("long(nan%risk@10x)", "'nan' stands where the amount"),
        ("long(inf%risk@10x)", "'inf' stands where the amount"),
        ("long(1.%risk@10x)", "'.' has no meaning"),
        ("long(1,5%risk@10x)", "',' stands where '%' is expected"),
        ("long(1 0%risk@10x)", "'0' stands where '%' is expected"),
        ("long(1%risk@10x,sl=" + "1" * 41 + "%)", "a number of 41 digits is too long"),
        ("long(١%risk@10x)", "'١' has no meaning"),
        ("long(1%ris\u212a@10x)", "'\u212a' has no meaning"),
        ("long(1%risk@10x)\x00", "has no meaning"),
        ("long(1%risk@10x)" + " " * 300, "the action has 316 characters"),
    ],
)
def test_what_is_no_action_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_action(text)


def test_refusal_shows_the_text_without_what_steers_a_terminal() -> None:
    shown = "action 'long(1%risk@10x)?[31m?': '?' has no meaning in an action"

    with pytest.raises(ValueError, match=f"^{re.escape(shown)}$"):
        parse_action("long(1%risk@10x)\x1b[31m\u202e")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"risk": 1, "leverage": 10, "sl": "2%", "rr": 3}, "long(1%risk@10x,sl=2%,rr=3)"),
        ({"margin": 5, "leverage": 3}, "long(5%margin@3x)"),
        ({"risk": 0.5}, "long(0.5%risk@1x)"),
        ({"risk": 1, "sl": " 1.5ATR "}, "long(1%risk@1x,sl=1.5ATR)"),
        ({"risk": 1, "sl": 58_123.4, "tp": 70_000}, "long(1%risk@1x,sl=58123.4,tp=70000)"),
        ({"risk": 1e-7}, "long(0.0000001%risk@1x)"),
    ],
)
def test_long_builds_the_action(arguments: dict[str, object], text: str) -> None:
    assert entry_action(Direction.LONG, **arguments) == text


def test_close_builds_the_action() -> None:
    assert [close_action(), close_action(50), close_action(12.5)] == [
        "close(100%)",
        "close(50%)",
        "close(12.5%)",
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "long() needs either risk= or margin="),
        ({"risk": 1, "margin": 1}, "long() needs either risk= or margin="),
        ({"risk": "1"}, "risk must be a number, not '1'"),
        ({"risk": True}, "risk must be a number, not True"),
        ({"risk": float("nan")}, "risk must be a finite number, not nan"),
        ({"risk": 0}, "risk of 0% is not above 0"),
        ({"risk": -1}, "'-' has no meaning"),
        ({"risk": 1, "leverage": 0.5}, "leverage 0.5x is below 1x"),
        ({"risk": 1, "leverage": 10**30}, "leverage is too large"),
        ({"risk": 1, "sl": "2%,tp=3%"}, "sl must be like '2%', '1.5atr' or a price"),
        ({"risk": 1, "sl": "2pct"}, "sl must be like"),
        ({"risk": 1, "sl": [2]}, "sl must be a number"),
        ({"risk": 1, "tp": 3, "rr": 3}, "'tp' and 'rr' both"),
    ],
)
def test_wrong_arguments_of_long_are_a_value_error(
    arguments: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        entry_action(Direction.LONG, **arguments)


numbers = st.decimals("0.0001", 100, places=4, allow_nan=False, allow_infinity=False)
distances = st.none() | st.builds(Distance, numbers, st.sampled_from(DistanceKind))


def written(number: Decimal) -> str:
    return format(number, "f")


def written_distance(distance: Distance) -> str:
    suffix = "" if distance.kind is PRICE else distance.kind.value
    return written(distance.value) + suffix


@settings(deadline=None)
@given(
    direction=st.sampled_from(Direction),
    amount=numbers,
    kind=st.sampled_from(AmountKind),
    leverage=st.integers(1, 125),
    stop=distances,
    target=distances,
    ratio=st.none() | numbers,
    blank=st.sampled_from(["", " ", "\t", "\n  "]),
    is_upper=st.booleans(),
)
def test_every_entry_that_is_written_reads_back(
    direction: Direction,
    amount: Decimal,
    kind: AmountKind,
    leverage: int,
    stop: Distance | None,
    target: Distance | None,
    ratio: Decimal | None,
    blank: str,
    is_upper: bool,
) -> None:
    if target is not None:
        ratio = None
    parts = [direction.value, "(", written(amount), "%", kind.value, "@", str(leverage), "x"]
    for name, value in (("sl", stop), ("tp", target)):
        if value is not None:
            parts += [",", name, "=", written_distance(value)]
    if ratio is not None:
        parts += [",", "rr", "=", written(ratio)]
    text = blank.join([*parts, ")"])

    intent = parse_action(text.upper() if is_upper else text)

    assert intent == EntryIntent(
        direction=direction,
        amount=amount,
        amount_kind=kind,
        leverage=Decimal(leverage),
        stop=stop,
        target=target,
        reward_ratio=ratio,
    )


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("longshrtcealvmgik()%@x,=0123456789. ", max_size=60))
def test_any_text_is_read_or_refused_but_never_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_action(text)


def outcome(text: str) -> object:
    try:
        return parse_action(text)
    except ValueError:
        return ValueError


def test_the_usual_form_is_read_as_any_other_form() -> None:
    dice = random.Random(5)
    numbers = ("1", "2.25", "10", ".5", "100", "007", "0.0", "0.99", "100.01", "2.", "9" * 41)
    taken = 0
    for _ in range(4_000):
        usual = "".join(
            (
                dice.choice(("long", "short")),
                f"({dice.choice(numbers)}%{dice.choice(('risk', 'margin', 'x'))}",
                f"@{dice.choice(numbers)}x",
                dice.choice(("", ",sl={0}", ",sl={0}%", ",sl={0}atr", ",sl={0}at")),
                dice.choice(("", ",tp={1}", ",tp={1}%", ",tp={1}atr", ",rr={1}", ",rr={1}%")),
                dice.choice((")", ")", ")", "", "))")),
            )
        ).format(dice.choice(numbers), dice.choice(numbers))

        # A blank is no part of the usual form.
        assert outcome(usual) == outcome(f"{usual} "), usual
        taken += outcome(usual) is not ValueError

    assert taken > 100
