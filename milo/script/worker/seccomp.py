"""The kernel's filter of system calls: made from the table, and put in place (a room).

Classic BPF, as seccomp(2) takes it. The filter is forever: nothing that runs later can lift it.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable
from typing import Final

from milo.script.worker import kernel
from milo.script.worker.syscalls import RULES, Check, Outcome, Rule

_ARCHITECTURES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""AUDIT_ARCH_*: what the kernel says of the machine whose call it is."""
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER: Final = 1
_FOR_ALL_THREADS: Final = 1
_X32_CALLS: Final = 0x4000_0000
"""x86-64 numbers from here on are those of the x32 machine."""

_LOAD_WORD: Final = 0x20
_AND: Final = 0x54
_JUMP_IF_EQUAL: Final = 0x15
_JUMP_IF_GREATER_OR_EQUAL: Final = 0x35
_RETURN: Final = 0x06

_AT_NUMBER: Final = 0
_AT_ARCHITECTURE: Final = 4
_AT_ARGUMENTS: Final = 16
_ANSWERS: Final = {
    Outcome.ALLOW: 0x7FFF_0000,
    Outcome.REFUSE: 0x0005_0000 | errno.EPERM,
    Outcome.KILL: 0x8000_0000,
}

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(rules: Iterable[Rule] = RULES) -> None:
    """Lock this process to the table, for good.

    Raises OSError where the kernel has no such filters or refuses this one, and where there is no
    table for this machine (ENOSYS).
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
    code = b"".join(struct.pack("<HBBI", *step) for step in instructions(machine, rules))
    program = _Program(len(code) // 8, code)
    kernel.system_call(_SECCOMP[machine], _SET_MODE_FILTER, _FOR_ALL_THREADS, ctypes.byref(program))


def instructions(machine: str, rules: Iterable[Rule] = RULES) -> list[Instruction]:
    """Return the program for a machine: what no rule names is killed."""
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        _answer(Outcome.KILL),
        (_LOAD_WORD, 0, 0, _AT_NUMBER),
    ]
    if machine == "x86_64":
        program += [(_JUMP_IF_GREATER_OR_EQUAL, 0, 1, _X32_CALLS), _answer(Outcome.KILL)]
    for rule in rules:
        number = rule.number(machine)
        if number is not None:
            block = _block(rule)
            program += [(_JUMP_IF_EQUAL, 0, len(block), number), *block]
    return [*program, _answer(Outcome.KILL)]


def _block(rule: Rule) -> list[Instruction]:
    """Return what is done once the number has matched; always ends with an answer."""
    block: list[Instruction] = []
    for check in rule.checks:
        block += _check(check, rule.otherwise)
    return [*block, _answer(rule.outcome)]


def _check(check: Check, otherwise: Outcome) -> list[Instruction]:
    # The low half of a 64-bit word comes first on both machines.
    steps: list[Instruction] = [(_LOAD_WORD, 0, 0, _AT_ARGUMENTS + 8 * check.argument)]
    steps.append((_AND, 0, 0, check.mask))
    count = len(check.values)
    for index, value in enumerate(check.values):
        # Over the values that are left, and over the answer behind them.
        steps.append((_JUMP_IF_EQUAL, count - index, 0, value))
    return [*steps, _answer(otherwise)]


def _answer(outcome: Outcome) -> Instruction:
    return (_RETURN, 0, 0, _ANSWERS[outcome])
