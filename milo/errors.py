"""The errors of Milo, by what the caller can do about them (layer 0)."""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error that Milo raises on purpose; its text is one clear line for a user."""

    exit_code = 1


class ConfigError(EngineError):
    """Wrong use: a setting, an argument or a file must be changed. Exit code 2."""

    exit_code = 2


class ScriptError(EngineError):
    """A user's script is at fault; that script stops, nothing else does.

    `text` is the whole message, already with file, line, column, source line and caret where known;
    `message` is what is wrong, alone.
    """

    exit_code = 2

    def __init__(
        self,
        text: str,
        *,
        script: str = "",
        line: int | None = None,
        column: int | None = None,
        breach: bool = False,
        security: bool = False,
        prints: tuple[str, ...] = (),
        message: str = "",
    ) -> None:
        super().__init__(text)
        self.message = message or text
        self.script = script
        self.line = line
        self.column = column
        self.breach = breach
        """True where a budget (time, memory, awaits) was overrun and the worker was killed."""
        self.security = security
        """True where its process did what the language cannot make it do."""
        self.prints = prints
        """What the script printed before the error."""


class VenueError(EngineError):
    """Base of what a venue answers; `code` is the venue's own number, 0 where it gave none."""

    def __init__(self, text: str, *, code: int = 0, http_status: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.http_status = http_status


class Refused(VenueError):
    """The venue said no, and would again: do not retry."""


class Unauthorized(Refused):
    """Key, permission or environment is wrong: stop trading."""


class OrderNotFound(VenueError):
    """The venue does not know the order now; that is not proof that it never will."""


class GuardLost(Refused):
    """Not sent: the guard has not confirmed that it watches, so nothing may be opened."""


class Retryable(VenueError):
    """Nothing happened; retry after `retry_after_ms` (0: the caller's own back-off)."""

    def __init__(
        self, text: str, *, code: int = 0, http_status: int = 0, retry_after_ms: int = 0
    ) -> None:
        super().__init__(text, code=code, http_status=http_status)
        self.retry_after_ms = retry_after_ms


class RateLimited(Retryable):
    """429, 418 or an order-rate limit: every request but protective ones waits."""


class Busy(Retryable):
    """The venue is throttled or unavailable; the request failed for sure."""


class ClockSkew(Retryable):
    """Our timestamp was outside the venue's window: synchronise, sign again, retry once."""


class OutcomeUnknown(VenueError):
    """Sent, and no answer that tells the outcome: query by client id, never resend blindly."""


class ProtocolError(VenueError):
    """The venue sent what the protocol does not know: a missing field, an unknown state."""


class StreamGap(EngineError):
    """Events may have been lost: resynchronise from REST."""


class StoreError(EngineError):
    """The database or a file of ours cannot be read or written; the text says which and why."""


class InvariantBroken(EngineError):
    """A bug of ours: stop opening, keep stops, dump state."""
