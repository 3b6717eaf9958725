"""Who may ask the chart's server: Host, Origin, Sec-Fetch-Site and method."""

from __future__ import annotations

from typing import Any

import pytest

from milo.web.access import SECURITY_HEADERS, AccessRules

RULES = AccessRules.for_port(8080)


def status(
    *,
    method: str = "GET",
    hosts: tuple[str, ...] = ("localhost:8080",),
    origins: tuple[str, ...] = (),
    fetch_sites: tuple[str, ...] = (),
    is_socket: bool = False,
    has_bearer: bool = False,
) -> int:
    denial = RULES.denial(
        method=method,
        hosts=hosts,
        origins=origins,
        fetch_sites=fetch_sites,
        is_socket=is_socket,
        has_bearer=has_bearer,
    )
    return 200 if denial is None else denial.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LocalHost:8080"]
)
def test_names_of_this_computer_are_answered(host: str) -> None:
    assert status(hosts=(host,)) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("evil.test:8080",),
        ("localhost",),
        ("localhost:80801",),
        ("localhost:8080.evil.test",),
        ("localhost:8080@evil.test",),
        ("127.0.0.1:8080,evil.test",),
        ("0.0.0.0:8080",),
        ("127.1:8080",),
        ("localhost.:8080",),
        ("localhost:8080", "localhost:8080"),
        ("localhost:8080", "evil.test"),
    ],
)
def test_any_other_host_is_misdirected(hosts: tuple[str, ...]) -> None:
    assert status(hosts=hosts) == 421


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.test",
        "http://localhost:8081",
        "https://localhost:8080",
        "http://localhost",
        "http://localhost:8080.evil.test",
        "",
    ],
)
def test_another_origin_is_forbidden(origin: str) -> None:
    assert status(origins=(origin,)) == 403


def test_own_origin_is_allowed() -> None:
    assert status(origins=("http://127.0.0.1:8080",)) == 200


@pytest.mark.parametrize(
    ("site", "expected"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("", 403)],
)
def test_browser_says_where_a_request_comes_from(site: str, expected: int) -> None:
    assert status(fetch_sites=(site,)) == expected


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_only_reading_and_logging_in_are_possible(method: str) -> None:
    assert status(method=method, has_bearer=True) == 405


@pytest.mark.parametrize("asked", [{"method": "POST"}, {"is_socket": True}])
def test_what_must_say_its_origin(asked: dict[str, Any]) -> None:
    assert status(**asked) == 403
    assert status(**asked, origins=("http://evil.test",), has_bearer=True) == 403
    assert status(**asked, origins=("http://localhost:8080",)) == 200
    assert status(**asked, has_bearer=True) == 200


def test_default_port_may_be_left_out() -> None:
    rules = AccessRules.for_port(80)

    assert rules.denial(method="GET", hosts=["localhost"], origins=[], fetch_sites=[]) is None


def test_content_policy_allows_only_own_files_and_no_inline_code() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]

    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )
