"""Who may ask the chart's server, and what a browser may do with its answers.

The page is for browsers on this computer. Other web pages can make a browser send requests here,
under another name for this address (DNS rebinding) or from another origin; these rules refuse them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
KNOWN_METHODS: Final = SAFE_METHODS | {"POST"}
_DEFAULT_HTTP_PORT = 80
_FOREIGN = "not to be reached from another page: type this address, or use a bookmark"
_OWN_FETCHES = frozenset({"same-origin", "none"})

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The framework's default names its own and Python's version.
    "Server": "Milo",
}


@dataclass(frozen=True, slots=True)
class Denial:
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The names under which this server may be addressed, in lower case."""

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def for_port(cls, port: int, names: Sequence[str] = LOOPBACK_NAMES) -> AccessRules:
        """Return the rules of a server that listens at `port` under these names."""
        hosts = {f"{name}:{port}" for name in names}
        if port == _DEFAULT_HTTP_PORT:
            hosts |= set(names)
        return cls(frozenset(hosts), frozenset(f"http://{host}" for host in hosts))

    def denial(
        self,
        *,
        method: str,
        hosts: Sequence[str],
        origins: Sequence[str],
        fetch_sites: Sequence[str],
        is_socket: bool = False,
        has_bearer: bool = False,
    ) -> Denial | None:
        """Return why a request with these header values is refused; None where it may pass.

        A header that is not sent is an empty sequence; one that is sent twice is refused. What
        changes something, and a WebSocket, must say its origin: browsers do, and a program that is
        no browser sends a bearer token instead.
        """
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return Denial(421, "this server answers only under the name of this computer")
        if origins and (len(origins) != 1 or origins[0].lower() not in self.origins):
            return Denial(403, _FOREIGN)
        if fetch_sites and (len(fetch_sites) != 1 or fetch_sites[0] not in _OWN_FETCHES):
            return Denial(403, _FOREIGN)
        if method not in KNOWN_METHODS:
            return Denial(405, "only GET, HEAD and POST are known here")
        needs_origin = is_socket or method not in SAFE_METHODS
        if needs_origin and not origins and not has_bearer:
            return Denial(403, "a request of this kind must say its origin")
        return None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def access_middleware(rules: AccessRules) -> Middleware:
    """Return the middleware that lets only allowed requests reach the routes."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        denial = rules.denial(
            method=request.method,
            hosts=request.headers.getall(hdrs.HOST, []),
            origins=request.headers.getall(hdrs.ORIGIN, []),
            fetch_sites=request.headers.getall("Sec-Fetch-Site", []),
            is_socket=hdrs.UPGRADE in request.headers,
            has_bearer=bearer_of(request) is not None,
        )
        if denial is None:
            return await handler(request)
        response = web.json_response({"error": denial.reason}, status=denial.status)
        if denial.status == 405:
            response.headers[hdrs.ALLOW] = "GET, HEAD, POST"
        # What the client still wants to send is not read.
        response.force_close()
        return response

    return check


def bearer_of(request: web.Request) -> str | None:
    """Return the bearer token that a request carries."""
    kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the security headers on any answer (signal `on_response_prepare`)."""
    response.headers.update(SECURITY_HEADERS)
    if hdrs.CACHE_CONTROL not in response.headers:
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
