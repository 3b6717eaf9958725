"""Looking for secrets in whatever a run has left, in all the forms in which they may be there."""

from __future__ import annotations

import base64
import errno
from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path
from urllib.parse import quote


def forms_of(secret: str) -> Iterator[bytes]:
    """Yield a secret as itself, reversed, in hex, in percent and in base64 at any offset."""
    raw = secret.encode()
    yield raw
    yield raw[::-1]
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield raw.hex(":").encode()
    yield quote(secret, safe="").encode()
    yield secret.encode("utf-16-le")
    for offset in range(3):
        # The letters at both ends depend on the neighbours too.
        inner = base64.b64encode(bytes(offset) + raw)[4 if offset else 0 : -4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


class Needles:
    """Secrets by name, ready to be looked for."""

    def __init__(self, secrets: dict[str, Iterable[str]]) -> None:
        self.forms = {
            form: name
            for name, texts in secrets.items()
            for text in texts
            # Shorter ones are found in any file by chance.
            if len(text) >= 12
            for form in forms_of(text)
        }

    def found_in(self, content: bytes) -> set[str]:
        """Return the names of the secrets that are in there."""
        return {name for form, name in self.forms.items() if form in content}

    def found_below(self, folder: Path, *, leaving_out: frozenset[str] = frozenset()) -> set[str]:
        """Return `path: name` for each secret in each file below the folder."""
        return {
            f"{path.relative_to(folder)}: {name}"
            for path in files_below(folder)
            if path.name not in leaving_out
            for name in self.found_in(path.read_bytes())
        }


def files_below(folder: Path) -> list[Path]:
    """Return every file below the folder, hidden ones too."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def memory_of(pid: int) -> bytes | None:
    """Return what a process could write to in its memory; None where the system forbids it."""
    parts = []
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in maps.splitlines():
                place, rights = line.split()[:2]
                if "rw" in rights:
                    parts.append(_region(memory, *(int(part, 16) for part in place.split("-"))))
    except PermissionError:
        return None
    return b"\n".join(parts)


def _region(memory: RawIOBase, low: int, high: int) -> bytes:
    memory.seek(low)
    found = b""
    try:
        while part := memory.read(high - low - len(found)):
            found += part
    except OSError as error:
        # Given back between the look at the list and this one.
        if error.errno != errno.EIO:
            raise
    return found


def of_process(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID; nothing where nobody but root could read it."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except PermissionError:
        return b""


def children_of(pid: int) -> dict[int, str]:
    """Return every descendant of a process with its command line."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {
        child: of_process(child, "cmdline").replace(b"\0", b" ").decode() for child in found - {pid}
    }
