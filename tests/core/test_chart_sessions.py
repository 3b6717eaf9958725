"""Who is let in to the chart: links, passwords, wrong tries, idle sessions."""

from __future__ import annotations

import pytest

from milo.web.sessions import IDLE_S, MOST_TRIES, PAUSE_S, Sessions


def link_of(sessions: Sessions) -> str:
    assert sessions.link_token is not None
    return sessions.link_token


def test_link_opens_one_session_once() -> None:
    sessions = Sessions()
    token = link_of(sessions)

    session = sessions.open_link(token, 0.0)

    assert session is not None
    assert session != token
    assert sessions.link_token is None
    assert sessions.open_link(token, 1.0) is None
    assert sessions.is_known(session, None, 2.0)


@pytest.mark.parametrize("cookie", [None, "", "x", "\ud800"])
def test_nobody_else_is_known(cookie: str | None) -> None:
    sessions = Sessions(password="right")

    assert not sessions.is_known(cookie, None, 0.0)
    assert not sessions.is_known(cookie, "wrong", 0.0)
    assert sessions.is_known(cookie, sessions.bearer, 0.0)


def test_idle_session_ends_and_a_used_one_stays() -> None:
    sessions = Sessions()
    session = sessions.open_link(link_of(sessions), 0.0)

    assert sessions.is_known(session, None, IDLE_S)
    assert sessions.is_known(session, None, 2 * IDLE_S)
    assert not sessions.is_known(session, None, 3 * IDLE_S + 1)
    assert not sessions.is_known(session, None, 3 * IDLE_S + 2)


@pytest.mark.parametrize("given", ["", "righ", "right ", "RIGHT", "\ud800", "x" * 100_000])
def test_only_the_password_logs_in(given: str) -> None:
    sessions = Sessions(password="right")

    assert sessions.log_in(given, 0.0) is None
    assert sessions.log_in("right", 0.0) is not None


def test_without_a_password_nothing_logs_in() -> None:
    assert Sessions().log_in("", 0.0) is None


def test_wrong_tries_close_the_door_for_a_while() -> None:
    sessions = Sessions(password="right")
    for _ in range(MOST_TRIES):
        assert sessions.wait_s(10.0) == 0.0
        assert sessions.log_in("wrong", 10.0) is None

    assert sessions.wait_s(10.0) == PAUSE_S
    assert sessions.log_in("right", 10.0 + PAUSE_S - 0.1) is None
    assert sessions.open_link(link_of(sessions), 10.0 + PAUSE_S - 0.1) is None
    assert sessions.log_in("right", 10.0 + PAUSE_S) is not None


def test_old_sessions_make_room_for_new_ones() -> None:
    sessions = Sessions(password="right")
    opened = [sessions.log_in("right", float(second)) for second in range(100)]

    known = [sessions.is_known(session, None, 100.0) for session in opened]

    assert known[-1]
    assert not known[0]
    assert sum(known) == 64
