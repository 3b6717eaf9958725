"""The page's files, read once at start into an allow-list: no path is ever looked up later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import ETag, hdrs, web

from milo.errors import ConfigError

# Named here, not asked from the system: a wrong entry in Windows' registry would break modules.
MIME_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    body: bytes
    mime_type: str
    etag: str


def load_static_files(folder: Path) -> Mapping[str, StaticFile]:
    """Return the files below `folder` of a known type by relative path, `chart/columns.js`.

    Links and hidden files are left out. Raises ConfigError where there is no `index.html` or a
    file cannot be read.
    """
    files: dict[str, StaticFile] = {}
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            is_plain = path.is_file() and not path.is_symlink()
            is_hidden = any(part.startswith(".") for part in name.split("/"))
            mime_type = MIME_TYPES.get(path.suffix)
            if not is_plain or is_hidden or mime_type is None:
                continue
            body = path.read_bytes()
            files[name] = StaticFile(body, mime_type, hashlib.sha256(body).hexdigest()[:16])
    except OSError as error:
        raise ConfigError(f"cannot read the chart's files in {folder}: {error}") from error
    if "index.html" not in files:
        raise ConfigError(f"the chart's files are missing: no index.html in {folder}")
    return files


def static_response(request: web.Request, file: StaticFile) -> web.Response:
    """Return the file, or 304 where the browser has it; it must ask each time (`no-cache`)."""
    wanted = request.if_none_match or ()
    is_known = any(tag.value in (file.etag, "*") for tag in wanted)
    response = web.Response(
        status=304 if is_known else 200,
        body=None if is_known else file.body,
        content_type=file.mime_type,
        charset=None if is_known else "utf-8",
    )
    response.etag = ETag(file.etag)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    return response
