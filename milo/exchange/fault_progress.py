"""How far a fault schedule has come, in a file of the state folder, for a restart to go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from milo.clock import wall_fine_ms
from milo.errors import StoreError
from milo.exchange.faults import Progress

FILE_NAME = "faults.json"


@dataclass(slots=True, kw_only=True)
class _Kept:
    identity: str
    began_ms: float
    """Wall ms at which the schedule began."""
    progress: Progress = field(default_factory=Progress)
    restart_id: int = 0
    """The restart that is under way; 0 for none."""
    down_ms: int = 0


class ProgressFile:
    """The file; written in one step each time something begins or ends."""

    def __init__(self, path: Path, kept: _Kept) -> None:
        self._path = path
        self._kept = kept

    @classmethod
    def opened(cls, folder: Path, identity: str, *, is_fresh: bool) -> ProgressFile:
        """Return the file of that schedule as it was left, or begin the schedule now.

        A file that is damaged or belongs to another schedule is begun anew. Raises StoreError.
        """
        path = folder / FILE_NAME
        kept = None if is_fresh else _read(path)
        if kept is None or kept.identity != identity:
            kept = _Kept(identity=identity, began_ms=wall_fine_ms())
        file = cls(path, kept)
        file.save()
        return file

    @property
    def began_ms(self) -> float:
        return self._kept.began_ms

    @property
    def progress(self) -> Progress:
        return self._kept.progress

    def note_restart(self, fault_id: int, down_ms: int) -> None:
        """Remember which fault ends the process, for the one that follows it."""
        self._kept.restart_id, self._kept.down_ms = fault_id, down_ms

    def take_restart(self) -> int:
        """Return the restart that this process has come back from, once; 0 for none."""
        fault_id, self._kept.restart_id = self._kept.restart_id, 0
        return fault_id

    def save(self) -> None:
        """Write the file. Raises StoreError."""
        partial = self._path.with_suffix(".part")
        try:
            partial.write_bytes(msgspec.json.encode(self._kept))
            partial.replace(self._path)
        except OSError as error:
            raise StoreError(f"cannot write {self._path}: {error.strerror}") from error


def down_ms_of(folder: Path) -> int:
    """Return how long the exchange that has just gone stays away, in wall ms."""
    kept = _read(folder / FILE_NAME)
    return 0 if kept is None else kept.down_ms


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None
