"""The filter program does what the table says, on both machines, whatever a call's arguments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.script.worker.seccomp import instructions
from milo.script.worker.syscalls import RULES, Outcome, Rule

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ANSWERS = {0x7FFF0000: Outcome.ALLOW, 0x00050001: Outcome.REFUSE, 0x80000000: Outcome.KILL}
WORD = 2**64
numbers = st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1))
# Near the values that the table tests, with and without something in the upper half.
words = st.one_of(
    st.integers(0, 64),
    st.integers(0, WORD - 1),
    st.builds(lambda low, high: (high << 32 | low) % WORD, st.integers(0, 300), st.integers(0, 3)),
)
arguments = st.tuples(*[words] * 6)


def answer(machine: str, architecture: int, number: int, given: tuple[int, ...]) -> Outcome:
    """Run the program as the kernel does: an accumulator, forward jumps, one answer."""
    data = [number, architecture, 0, 0]
    for word in given:
        data += [word & 0xFFFFFFFF, word >> 32]
    program = instructions(machine)
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        match code:
            case 0x20:
                accumulator = data[operand // 4]
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x06:
                return ANSWERS[operand]
            case _:
                raise AssertionError(f"an instruction that is not used here: {code:#x}")


def expected(machine: str, number: int, given: tuple[int, ...]) -> Outcome:
    """Read the table as a person would."""
    rule = next((rule for rule in RULES if rule.number(machine) == number), None)
    if rule is None:
        return Outcome.KILL
    is_good = all(given[c.argument] & 0xFFFFFFFF & c.mask in c.values for c in rule.checks)
    return rule.outcome if is_good else rule.otherwise


def fitting(rule: Rule) -> tuple[int, ...]:
    """Return arguments that pass every check of a rule."""
    given = [0] * 6
    for check in rule.checks:
        given[check.argument] |= check.values[0]
    return tuple(given)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_row_gives_its_outcome_and_each_check_of_it_counts(rule: Rule, machine: str) -> None:
    number = rule.number(machine)
    if number is None:
        assert machine == "aarch64"
        return
    architecture, good = MACHINES[machine], fitting(rule)

    assert answer(machine, architecture, number, good) is rule.outcome
    for check in rule.checks:
        for value in check.values:
            fits = (*good[: check.argument], value, *good[check.argument + 1 :])
            if expected(machine, number, fits) is rule.outcome:
                assert answer(machine, architecture, number, fits) is rule.outcome
        wrong = (*good[: check.argument], 0xFFFFFFFF, *good[check.argument + 1 :])
        assert answer(machine, architecture, number, wrong) is rule.otherwise


@pytest.mark.parametrize("machine", MACHINES)
@given(number=numbers, given=arguments)
@settings(deadline=None, derandomize=True, max_examples=400)
def test_any_call_gets_what_the_table_says(
    machine: str, number: int, given: tuple[int, ...]
) -> None:
    assert answer(machine, MACHINES[machine], number, given) is expected(machine, number, given)


@pytest.mark.parametrize("machine", MACHINES)
@given(architecture=st.integers(0, 2**32 - 1), number=numbers)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_calls_of_another_machine_end_the_process(
    machine: str, architecture: int, number: int
) -> None:
    if architecture != MACHINES[machine]:
        assert answer(machine, architecture, number, (3,) * 6) is Outcome.KILL


def test_calls_of_the_32_bit_and_the_x32_machine_end_the_process() -> None:
    i386 = 0x40000003

    for rule in RULES:
        assert rule.x86_64 is not None
        for number in (rule.x86_64, rule.x86_64 | 0x40000000):
            assert answer("x86_64", i386, number, fitting(rule)) is Outcome.KILL
        x32 = rule.x86_64 | 0x40000000
        assert answer("x86_64", MACHINES["x86_64"], x32, fitting(rule)) is Outcome.KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_one_that_the_kernel_takes(machine: str) -> None:
    program = instructions(machine)

    assert len(program) <= 4096
    for at, (code, if_true, if_false, _) in enumerate(program):
        assert 0 <= if_true < 256
        assert 0 <= if_false < 256
        if code in (0x15, 0x35):
            assert at + 1 + max(if_true, if_false) < len(program)


def test_no_number_stands_twice() -> None:
    for machine in MACHINES:
        numbers = [rule.number(machine) for rule in RULES if rule.number(machine) is not None]
        assert len(set(numbers)) == len(numbers)
