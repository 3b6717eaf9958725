"""Sets an engine with its worker up for probes, as an unprivileged user where that is possible."""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 65534
MEMORY_MB = 64
EVERY_LOCK = (
    "limits", "no new privileges", "no dumps", "landlock", "no capabilities", "seccomp",
)  # fmt: skip


class Stage:
    """A running engine of `tests.breach.engine`; ask it for probes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, probe: str, locks: tuple[str, ...] = EVERY_LOCK) -> dict[str, Any]:
        """Run one probe in a child with these locks; return its end and all harm."""
        return self._ask({"probe": probe, "locks": locks})

    def call(self, number: int, *arguments: int) -> dict[str, Any]:
        """Make one system call in a child with every lock; return how that ended."""
        return self._ask({"probe": "", "locks": EVERY_LOCK, "call": (number, *arguments)})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        request["memory_mb"] = MEMORY_MB
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self.line()

    def line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the engine is gone"
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def stage(user: str, *, is_hardened: bool = True, start: str = "product") -> Iterator[Stage]:
    """Set the engine up as `nobody` or as whoever `runs` the tests, and take it down again."""
    is_nobody = user == "nobody"
    folder = Path(tempfile.mkdtemp(prefix="milo-breach-"))
    try:
        _furnish(folder, NOBODY if is_nobody else os.getuid())
        config = {
            "project": str(PROJECT),
            "paths": [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")],
            "folder": str(folder),
            "is_hardened": is_hardened,
            "start": start,
        }
        options: dict[str, Any] = {}
        if is_nobody:
            options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        python = interpreter_for_nobody() if is_nobody else sys.executable
        assert python is not None
        with subprocess.Popen(
            [python, "-I", str(PROJECT / "tests/breach/engine.py"), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"MILO_KEY_PASSWORD": _secret("ENVIRONMENT"), "PATH": "/usr/bin:/bin"},
            cwd=folder,
            start_new_session=True,
            **options,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(_secret("MEMORY") + "\n")
            process.stdin.flush()
            stage = Stage(process)
            assert "ready" in stage.line()
            yield stage
            process.stdin.close()
            process.wait(20)
    finally:
        shutil.rmtree(folder)


def users() -> list[str]:
    """Return as whom probes can run here: nobody (for root only) and who runs the tests."""
    return ["nobody", "runs"] if os.getuid() == 0 and interpreter_for_nobody() else ["runs"]


@functools.cache
def interpreter_for_nobody() -> str | None:
    """Return a Python of this version that an unprivileged user may start with our libraries."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    tried = "import sys; sys.path += [sys.argv[1], sys.argv[2]]; import numpy, msgspec, milo"
    system = shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin")
    for python in (sys.executable, system):
        if python is None:
            continue
        try:
            subprocess.run(
                [python, "-I", "-c", tried, sysconfig.get_path("purelib"), str(PROJECT)],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=True,
            )
        except (PermissionError, subprocess.CalledProcessError):
            continue
        return python
    return None


def python_with_libraries(folder: Path) -> Path:
    """Return a Python that anybody may start and that finds our libraries by itself."""
    base = interpreter_for_nobody()
    assert base is not None
    libraries = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(base).parent}\n")
    (libraries / "site-packages").mkdir(parents=True)
    (libraries / "site-packages" / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def _furnish(folder: Path, owner: int) -> None:
    """Lay out what a worker must not touch."""
    for name, text, mode in (
        ("canary", "sings", 0o644),
        ("keys.json", _secret("FILE"), 0o600),
        ("forbidden", _secret("FORBIDDEN"), 0o000),
    ):
        path = folder / name
        path.write_text(text)
        path.chmod(mode)
        os.chown(path, owner, -1)
    if os.getuid() == 0:
        (folder / "root-only").write_text(_secret("ROOT"))
        (folder / "root-only").chmod(0o600)
        shutil.copy("/bin/cat", folder / "setuid")
        (folder / "setuid").chmod(0o4755)
    os.chown(folder, owner, -1)
    folder.chmod(0o755)


def _secret(kind: str) -> str:
    return f"MILO-{kind}-{secrets.token_hex(16)}"
