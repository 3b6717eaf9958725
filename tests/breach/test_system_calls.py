"""Every system call, made once in a locked worker: what survives is what the list says."""

from __future__ import annotations

import platform
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from milo.script.worker.syscalls import RULES, Outcome
from tests.breach.staging import Stage, stage, users

linux_on_x86 = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the audit makes calls by their numbers on Linux on x86-64",
)

LIST = Path(__file__).parent / "system_calls.txt"
LAST = 500
NOTHING = (0,) * 6
# uretprobe and uprobe: kernels since 6.14 answer these two before they ask any filter, for the sake
# of tracers. Whoever is not traced gets nothing: SIGILL from the one, ENXIO from the other.
THE_KERNELS_OWN = {335: "signal 4", 336: "[Errno 6]"}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def written() -> dict[str, tuple[int | None, int | None, str]]:
    """Return the written list: name -> (number on x86-64, on aarch64, with no arguments)."""
    found = {}
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            name, x86, arm, outcome = line.split()
            found[name] = (_number(x86), _number(arm), outcome)
    return found


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


@pytest.fixture(scope="module")
def locked() -> Iterator[Stage]:
    with stage(users()[0]) as ready:
        yield ready


def outcome(locked: Stage, number: int, *arguments: int) -> str:
    """Make the call and return what became of it."""
    found = locked.call(number, *arguments)
    if (found["end"], found["number"]) == ("signal", signal.SIGSYS):
        return "killed"
    told = f"{found['end']} {found['number']} {found['refused']}"
    if number in THE_KERNELS_OWN:
        assert THE_KERNELS_OWN[number] in told
        return "killed"
    assert found["end"] in ("exit", "signal"), f"call {number} hung"
    if any("[Errno 1]" in text for text in found["refused"]):
        return "refused"
    return "allowed"


@linux_on_x86
def test_what_survives_is_what_the_written_list_says(locked: Stage) -> None:
    found = {number: outcome(locked, number, *NOTHING) for number in range(LAST + 1)}

    survived = {number: how for number, how in found.items() if how != "killed"}
    expected = {number: how for number, _, how in written().values() if how != "killed"}
    assert survived == expected


@linux_on_x86
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("read", (3, 0, 0), "allowed"),
        ("read", (4, 0, 0), "refused"),
        ("read", (-1, 0, 0), "refused"),
        ("write", (4, 0, 0), "allowed"),
        ("write", (3, 0, 0), "refused"),
        ("write", (2, 0, 0), "refused"),
        ("mmap", (0, 4096, 3, 0x22, -1, 0), "allowed"),
        ("mmap", (0, 4096, 0, 0x22, -1, 0), "allowed"),
        ("mmap", (0, 4096, 4, 0x22, -1, 0), "killed"),
        ("mmap", (0, 4096, 7, 0x22, -1, 0), "killed"),
        ("mmap", (0, 4096, 1, 0x02, 3, 0), "killed"),
        ("mmap", (0, 4096, 3, 0x21, -1, 0), "killed"),
        ("mmap", (0, 4096, 3, 0x23, -1, 0), "killed"),
        ("mmap", (0, 4096, 3, 0x2022, -1, 0), "killed"),
        ("mmap", (0, 4096, 3, 0x40022, -1, 0), "killed"),
        ("mprotect", (0, 0, 3), "allowed"),
        ("mprotect", (0, 0, 4), "killed"),
        ("mprotect", (0, 0, 7), "killed"),
        ("madvise", (0, 0, 4), "allowed"),
        ("madvise", (0, 0, 14), "allowed"),
        ("madvise", (0, 0, 12), "refused"),
        ("madvise", (0, 0, 100), "refused"),
        ("futex", (0, 1 | 128, 0), "allowed"),
        ("futex", (0, 9 | 128 | 256, 0), "allowed"),
        ("futex", (0, 6, 0), "refused"),
        ("futex", (0, 13 | 128, 0), "refused"),
        ("setitimer", (2, 0, 0), "allowed"),
        ("setitimer", (1, 0, 0), "refused"),
        ("clock_gettime", (2, 0), "allowed"),
        ("clock_gettime", (11, 0), "allowed"),
        ("clock_gettime", (-6, 0), "refused"),
        ("clock_gettime", (16, 0), "refused"),
        ("ioctl", (3, 0x541B, 0), "refused"),
        ("fcntl", (4, 0, 0), "refused"),
    ],
)
def test_arguments_decide_where_the_table_says_so(
    locked: Stage, name: str, arguments: tuple[int, ...], expected: str
) -> None:
    number = written()[name][0]
    assert number is not None

    assert outcome(locked, number, *arguments) == expected


def test_the_table_of_the_code_is_the_written_list() -> None:
    table = {rule.name: (rule.x86_64, rule.aarch64) for rule in RULES}

    assert table == {name: (x86, arm) for name, (x86, arm, _) in written().items()}
    for rule in RULES:
        if rule.outcome is Outcome.REFUSE:
            assert written()[rule.name][2] == "refused"
            assert not rule.checks


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.is_file():
        pytest.skip(f"no {header}: the kernel's headers are not installed")
    lines = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(), re.MULTILINE)
    numbers = {name: int(number) for name, number in lines}
    # The general header names these by their older siblings.
    numbers.setdefault("newfstatat", numbers.get("fstatat", -1))

    for rule in RULES:
        assert rule.number(machine) == numbers.get(rule.name), rule.name
