"""The page's files, read once at start into an allow-list: no path is ever looked up later.

Modules are joined (`milo.charts.modules`) and sent without comments and spare white space; whoever
takes gzip gets it. Both are made at start.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ETag, hdrs, web

from milo.charts.modules import joined_modules
from milo.errors import ConfigError

# Named here, not asked from the system: a wrong entry in Windows' registry would break modules.
MIME_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
PREFIX: Final = "/static/"
ENTRIES: Final = ("chart.js", "page.js")
"""What the first picture needs, and what surrounds it."""
_OTHERS: Final = ("report/", "css/report.css")
"""What the page does not need: reports of backtests hold their own script."""
_LANGUAGES: Final = "i18n/"
_LEAST_PACKED: Final = 512


@dataclass(frozen=True, slots=True)
class StaticFile:
    body: bytes
    mime_type: str
    etag: str
    packed: bytes | None = None
    """With gzip, where that makes it smaller."""


def load_static_files(folder: Path) -> Mapping[str, StaticFile]:
    """Return the files below `folder` of a known type by relative path, `chart/data.js`.

    Links and hidden files are left out. Raises ConfigError where there is no `index.html`, a file
    cannot be read or a module imports what is not there.
    """
    try:
        bodies = dict(_bodies(folder))
    except OSError as error:
        raise ConfigError(f"cannot read the chart's files in {folder}: {error}") from error
    if "index.html" not in bodies:
        raise ConfigError(f"the chart's files are missing: no index.html in {folder}")
    texts = {name: body.decode() for name, body in bodies.items() if name.endswith(".js")}
    for name in texts:
        del bodies[name]
    entries = [name for name in ENTRIES if name in texts]
    if entries:
        texts = joined_modules(texts, entries, PREFIX)
    bodies |= {name: minified(text).encode() for name, text in texts.items()}
    return {name: _file_of(name, body) for name, body in sorted(bodies.items())}


def minified(text: str) -> str:
    """Return a module without its comments and with as little white space as is safe."""
    # Only who serves a page needs it.
    from rjsmin import jsmin

    return str(jsmin(text))


def _bodies(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_plain = path.is_file() and not path.is_symlink()
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        is_wanted = path.suffix in MIME_TYPES and not name.startswith(_OTHERS)
        if path.suffix == ".json" and not name.startswith(_LANGUAGES):
            is_wanted = False
        if not is_plain or is_hidden or not is_wanted:
            continue
        yield name, path.read_bytes()


def _file_of(name: str, body: bytes) -> StaticFile:
    packed = gzip.compress(body, 9, mtime=0) if len(body) >= _LEAST_PACKED else body
    return StaticFile(
        body,
        MIME_TYPES[Path(name).suffix],
        hashlib.sha256(body).hexdigest()[:16],
        packed if len(packed) < len(body) else None,
    )


def static_response(request: web.Request, file: StaticFile) -> web.Response:
    """Return the file, or 304 where the browser has it; it must ask each time (`no-cache`)."""
    takes_gzip = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower()
    is_packed = takes_gzip and file.packed is not None
    tag = f"{file.etag}-gzip" if is_packed else file.etag
    wanted = request.if_none_match or ()
    is_known = any(known.value in (tag, "*") for known in wanted)
    response = web.Response(
        status=304 if is_known else 200,
        body=None if is_known else file.packed if is_packed else file.body,
        content_type=file.mime_type,
        charset=None if is_known else "utf-8",
    )
    if is_packed and not is_known:
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    response.etag = ETag(tag)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    return response
