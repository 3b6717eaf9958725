"""Each layer alone: a probe that does harm without it does none with it, so none is decoration.

The base is a process of its own, started afresh, with two pipes; every row adds one layer to it.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator

import pytest

from milo.script.worker.landlock import version
from tests.breach.staging import EVERY_LOCK, Stage, stage, users

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="the probes make calls by their numbers on Linux on x86-64",
)

is_root = os.getuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root can stage this")
needs_landlock = pytest.mark.skipif(
    sys.platform == "linux" and not version(), reason="this kernel has no Landlock"
)
needs_other_user = pytest.mark.skipif(
    users()[0] == "runs" and is_root, reason="root has no limit of processes"
)
# What Landlock and the filter need of whoever is not root.
FIRST = ("no new privileges",)


@pytest.fixture(scope="module")
def open_engine() -> Iterator[Stage]:
    """An engine that anybody of its user may look into."""
    with stage(users()[0], is_hardened=False) as ready:
        yield ready


@pytest.mark.parametrize(
    ("probe", "base", "layer"),
    [
        ("memory: more than the budget", (), "limits"),
        ("files: append to the canary", (), "limits"),
        pytest.param("processes: fork", (), "limits", marks=needs_other_user),
        ("memory: much address space", (), "limits"),
        pytest.param("processes: run a program of root", (), "no new privileges", marks=needs_root),
        pytest.param("proc: write own code", (), "no dumps", marks=needs_root),
        pytest.param("files: read the key file", FIRST, "landlock", marks=needs_landlock),
        pytest.param("sockets: connect to a port", FIRST, "landlock", marks=needs_landlock),
        pytest.param("signals: signal the engine", FIRST, "landlock", marks=needs_landlock),
        pytest.param("proc: memory of the engine", FIRST, "landlock", marks=needs_landlock),
        ("files: read the key file", FIRST, "seccomp"),
        ("proc: memory of the engine", FIRST, "seccomp"),
        ("engine: process vm readv", FIRST, "seccomp"),
        ("sockets: ipv4 stream", FIRST, "seccomp"),
        ("processes: start a program", FIRST, "seccomp"),
        ("processes: start a thread", FIRST, "seccomp"),
        ("code: map memory that runs", FIRST, "seccomp"),
        ("code: make memory run", FIRST, "seccomp"),
        ("shared: memfd", FIRST, "seccomp"),
        ("signals: signal the engine", FIRST, "seccomp"),
        ("signals: outlive the engine", FIRST, "seccomp"),
        ("locks: processors of the engine", FIRST, "seccomp"),
        ("descriptors: dup", FIRST, "seccomp"),
    ],
)
def test_a_lock_alone_stops_what_works_without_it(
    open_engine: Stage, probe: str, base: tuple[str, ...], layer: str
) -> None:
    without = open_engine.run(probe, base)
    with_it = open_engine.run(probe, (*base, layer))

    assert without["harm"], without
    assert with_it["harm"] == []


@needs_root
def test_without_capabilities_root_cannot_read_what_nobody_may() -> None:
    with stage("runs", is_hardened=False) as root:
        without = root.run("locks: read what nobody may", ())
        with_it = root.run("locks: read what nobody may", ("no capabilities",))

    assert without["harm"]
    assert with_it["harm"] == []


@pytest.mark.parametrize(
    "probe",
    [
        "proc: memory of the engine", "proc: environment of the engine",
        "engine: process vm readv", "engine: process vm writev", "engine: ptrace seize",
        "engine: pidfd getfd",
    ],
)  # fmt: skip
@pytest.mark.skipif(users()[0] == "runs" and is_root, reason="root may look into everything")
def test_an_engine_closed_to_others_keeps_its_secrets_by_that_alone(
    open_engine: Stage, probe: str
) -> None:
    without = open_engine.run(probe, ())
    with stage(users()[0], is_hardened=True) as closed:
        with_it = closed.run(probe, ())

    assert without["harm"]
    assert with_it["harm"] == []


@pytest.mark.parametrize(
    ("start", "probe"),
    [
        ("environment", "start: own environment"),
        ("environment", "start: own environment as the kernel has it"),
        ("files", "descriptors: any file that was left open"),
        ("group", "signals: signal the group"),
    ],
)
def test_the_way_a_worker_is_started_stops_what_a_looser_start_lets_through(
    open_engine: Stage, start: str, probe: str
) -> None:
    with stage(users()[0], is_hardened=False, start=start) as loose:
        without = loose.run(probe, ())
    with_it = open_engine.run(probe, ())

    assert without["harm"]
    # In its own session a worker reaches itself alone.
    assert not any("secret" in harm or "arrived" in harm for harm in with_it["harm"])


def test_a_worker_that_was_forked_would_have_the_engines_memory(open_engine: Stage) -> None:
    without = open_engine.run("fork instead of start", ())
    with_it = open_engine.run("start: own memory", ())

    assert without["harm"]
    assert with_it["harm"] == []


def test_a_worker_with_a_file_too_many_refuses_to_serve() -> None:
    with stage(users()[0], start="files") as loose:
        found = loose.run("start: own environment", EVERY_LOCK)

    assert len(found["exposed"]) == 1
    assert found["exposed"][0].startswith("its open files are [0, 1, 2, 3, 4, ")
    assert found["number"] == 3
