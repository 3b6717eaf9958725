"""Raw code in the locked worker does no harm; without locks the same code does."""

from __future__ import annotations

import platform
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.breach.probes import PROBES
from tests.breach.staging import Stage, stage, users

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the probes make calls by their numbers on Linux on x86-64",
)

# Where the kernel has no 32-bit calls, the instruction itself is an error.
MAY_CRASH = {
    "machine: call of the 32 bit machine": signal.SIGSEGV,
    "processes: crash": signal.SIGSEGV,
}


@pytest.fixture(scope="module", params=users())
def locked(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stage(request.param) as ready:
        yield ready


def test_there_are_probes_of_every_kind() -> None:
    families = {probe.family for probe in PROBES.values()}

    assert len(PROBES) >= 200
    assert len(families) >= 14


@pytest.mark.parametrize("name", PROBES)
def test_probe_does_no_harm_inside_the_locks(locked: Stage, name: str) -> None:
    found = locked.run(name)

    assert found["harm"] == []
    assert found["exposed"] == []
    # It was ended by the filter, or was refused, or got nothing; a crash would prove nothing.
    deaths = {signal.SIGSYS, MAY_CRASH.get(name)}
    assert found["end"] == "exit" or found["number"] in deaths
    assert found["end"] != "exit" or found["number"] == 0


def test_without_locks_the_probes_do_harm() -> None:
    """No decoration: what is refused above works where nothing refuses it."""
    tame = [name for name, probe in PROBES.items() if probe.is_tame and not probe.for_root]

    with stage(users()[0], is_hardened=False) as bare:
        harmful = [name for name in tame if bare.run(name, ())["harm"]]

    # Containers forbid some of it by themselves.
    assert len(harmful) >= 100, f"only {len(harmful)} of {len(tame)} did harm"
    families = {PROBES[name].family for name in harmful}
    assert families >= {
        "files", "proc", "engine", "sockets", "processes", "signals", "shared", "code",
        "descriptors", "memory", "clocks",
    }  # fmt: skip


def test_the_worker_lives_on_after_a_probe_and_a_harmless_one_says_so(locked: Stage) -> None:
    before = locked.run("descriptors: close both pipes")
    after = locked.run("start: own environment")

    assert (before["end"], before["harm"]) == ("exit", [])
    assert (after["end"], after["number"], after["harm"]) == ("exit", 0, [])


def test_a_crash_of_the_interpreter_is_no_security_event(locked: Stage) -> None:
    found = locked.run("processes: crash")

    assert (found["end"], found["number"]) == ("signal", signal.SIGSEGV)
