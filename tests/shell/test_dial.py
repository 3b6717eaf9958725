"""Dialling: what fails is named, and a cut ends whatever is waited for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from milo.clock import monotonic_s
from milo.ops.dial import Cut, Dialler, NotReached, ReadAhead


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found


@pytest.fixture
def dialler() -> Iterator[Dialler]:
    dialler = Dialler()
    yield dialler
    dialler.drop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def dial(dialler: Dialler, host: str, port: int, *, timeout_s: float = 5.0) -> socket.socket:
    return dialler.connect(host, port, is_secure=False, timeout_s=timeout_s)


def test_a_listening_server_is_reached(dialler: Dialler, listener: socket.socket) -> None:
    found = dial(dialler, "127.0.0.1", listener.getsockname()[1])

    assert found.getpeername() == listener.getsockname()
    assert found.gettimeout() == 5.0


def test_a_port_where_nobody_listens_is_refused(dialler: Dialler) -> None:
    with pytest.raises(NotReached, match="connection refused"):
        dial(dialler, "127.0.0.1", free_port())


def test_the_next_address_is_tried_where_the_first_refuses(
    dialler: Dialler, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    addresses = [(*kind, ("127.0.0.1", free_port())), (*kind, listener.getsockname())]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

    found = dial(dialler, "two-homes.example", 1)

    assert found.getpeername() == listener.getsockname()


def test_a_name_without_address_is_named(dialler: Dialler, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", find_nothing)

    with pytest.raises(NotReached, match=r"no address for stream\.example"):
        dial(dialler, "stream.example", 443)


def test_a_server_that_never_accepts_is_given_up_in_time(dialler: Dialler) -> None:
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

        with pytest.raises(NotReached, match="timed out"):
            dial(dialler, "127.0.0.1", full.getsockname()[1], timeout_s=0.3)


def test_a_look_up_that_hangs_is_cut(dialler: Dialler, monkeypatch: pytest.MonkeyPatch) -> None:
    is_asked, is_over = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        is_asked.set()
        is_over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    outcome: list[type[Exception]] = []

    def run() -> None:
        try:
            dial(dialler, "slow.example", 443)
        except (Cut, NotReached) as error:
            outcome.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert is_asked.wait(5)
    started_s = monotonic_s()

    dialler.cut()
    thread.join(5)
    is_over.set()

    assert outcome == [Cut]
    assert monotonic_s() - started_s < 1.0


def test_a_reader_is_woken_by_a_cut(dialler: Dialler, listener: socket.socket) -> None:
    found = dial(dialler, "127.0.0.1", listener.getsockname()[1])
    threading.Timer(0.05, dialler.cut).start()

    assert found.recv(1) == b""
    assert dialler.is_cut


def test_nothing_is_dialled_after_a_cut(dialler: Dialler, listener: socket.socket) -> None:
    dialler.cut()

    with pytest.raises(Cut):
        dial(dialler, "127.0.0.1", listener.getsockname()[1])


def test_reading_ahead_hands_out_the_pieces_that_are_asked_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = ReadAhead(ours)
        theirs.sendall(b"abcdefg")

        pieces = [reader.recv(2), reader.recv(3), reader.recv(9)]
        theirs.sendall(b"h")
        theirs.shutdown(socket.SHUT_WR)

        assert pieces == [b"ab", b"cde", b"fg"]
        assert [reader.recv(9), reader.recv(9)] == [b"h", b""]
