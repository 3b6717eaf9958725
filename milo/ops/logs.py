"""The log on standard error: one event, one line, whatever is in it."""

from __future__ import annotations

import logging
import re
import sys
import threading
from types import TracebackType
from typing import Final

from milo.shown import shown_line, shown_text

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_MARGIN: Final = "  | "
"""Before each line of a traceback, so that none can pass for an event."""
_SIGNATURE: Final = re.compile(r"(?i)((?:signature|listenKey)=)[^&\s\"'<>]+")


class LineFormatter(logging.Formatter):
    """Writes an event on one line and tracebacks behind a margin; signatures are left out.

    Nothing of ours logs a signature; a library's exception may hold the address of a request.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return shown_line(_unsigned(super().formatMessage(record)))

    def formatException(self, ei: object) -> str:
        return _with_margin(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _with_margin(super().formatStack(stack_info))


def set_up_logging(*, is_verbose: bool) -> None:
    """Log to standard error: errors, and with `is_verbose` what an operator would tell a friend."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO if is_verbose else logging.ERROR, handlers=[handler])
    sys.excepthook = _log_bug
    threading.excepthook = _log_bug_of_thread


def _log_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # The interpreter's own way of showing it lets the error's text do what it likes.
    logging.getLogger("milo").critical("unexpected_error", exc_info=(kind, error, trace))


def _log_bug_of_thread(given: threading.ExceptHookArgs) -> None:
    name = "?" if given.thread is None else given.thread.name
    error = given.exc_value or given.exc_type()
    logging.getLogger("milo").critical(
        "unexpected_error thread=%s",
        name,
        exc_info=(given.exc_type, error, given.exc_traceback),
    )


def _with_margin(text: str) -> str:
    return "\n".join(_MARGIN + line for line in shown_text(_unsigned(text)).split("\n"))


def _unsigned(text: str) -> str:
    return _SIGNATURE.sub(r"\1(hidden)", text)
