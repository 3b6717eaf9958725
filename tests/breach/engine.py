"""A process as the engine is: secrets in memory, environment and a file, open ears, a worker.

`python -I engine.py CONFIG` (JSON: project, paths, folder, is_hardened, start). The first line of
its input is the secret of its memory; each further one asks for a probe, and is answered by one
line with all the harm that was done: what the probe says, and what is seen from here.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

PATIENCE_S = 40.0


class Engine:
    """Holds what a worker must not get, and tells whether it did."""

    def __init__(self, config: dict[str, Any], secret: str) -> None:
        self.folder = Path(config["folder"])
        self.start = config["start"]
        self.paths = os.pathsep.join(config["paths"])
        self.memory = ctypes.create_string_buffer(secret.encode())
        self.secrets = [
            secret,
            os.environ["MILO_KEY_PASSWORD"],
            (self.folder / "keys.json").read_text(),
        ]
        self.signals: list[int] = []
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda caught, _: self.signals.append(caught))
        self.ears = self._listen()
        self.before = self._own_state()
        self.files = self._files()
        self.worker = self._start_worker()

    def about(self) -> dict[str, Any]:
        return {
            "engine": os.getpid(),
            "engine_group": os.getpgrp(),
            "folder": str(self.folder),
            "port": self.ears[0].getsockname()[1],
            "abstract": f"\0milo-breach-{os.getpid()}",
            "secret_at": [ctypes.addressof(self.memory), len(self.memory) - 1],
        }

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have one probe run and return how it ended and what harm it did."""
        request["about"] = self.about() | {"memory_mb": request["memory_mb"]}
        os.write(self.worker[1], json.dumps(request).encode() + b"\n")
        lines = self._answer()
        harm = [line["harm"] for line in lines if "harm" in line]
        told = json.dumps(lines)
        harm += [f"it told {secret}" for secret in self.secrets if secret in told]
        # A call alone is asked for its own end only.
        harm += [] if "call" in request else self._seen()
        end = next((line for line in lines if "end" in line), {"end": "lost", "number": 0})
        if end["end"] == "lost":
            harm.append("the worker's own process is gone")
            self.worker = self._start_worker()
        refused = [line["refused"] for line in lines if "refused" in line]
        exposed = [line["exposed"] for line in lines if "exposed" in line]
        return end | {"harm": harm, "refused": refused, "exposed": exposed}

    def _answer(self) -> list[dict[str, Any]]:
        """Return the lines up to the end of the probe; fewer where the worker is gone."""
        received = b""
        while not received.endswith(b"\n") or b'"end"' not in received:
            if not select.select([self.worker[2]], [], [], PATIENCE_S)[0]:
                break
            piece = os.read(self.worker[2], 65_536)
            if not piece:
                break
            received += piece
        return [json.loads(line) for line in received.splitlines() if line.startswith(b"{")]

    def _seen(self) -> list[str]:
        """Return the harm that shows outside of the worker, and undo it."""
        harm = [f"signal {number} arrived" for number in self.signals]
        self.signals.clear()
        for ear in self.ears:
            try:
                if ear.type == socket.SOCK_DGRAM:
                    ear.recv(10)
                else:
                    ear.accept()[0].close()
            except BlockingIOError:
                continue
            harm.append(f"somebody came to {ear.getsockname()!r}")
        if self._files() != self.files:
            harm.append("files are not as they were")
            self._restore()
        if self._own_state() != self.before:
            harm.append("the engine is not as it was")
            self.before = self._own_state()
        left = self._left_over()
        harm += [f"process {pid} was left" for pid in left]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return harm

    def _left_over(self) -> list[int]:
        """Return the processes of the worker's session, but for the worker itself."""
        found = []
        worker = self.worker[0].pid
        for name in os.listdir("/proc"):
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if name.isdigit() and int(fields[3]) == worker and int(name) != worker:
                found.append(int(name))
        return found

    def _own_state(self) -> list[Any]:
        status = Path("/proc/self/status").read_text()
        tracer = next(line for line in status.splitlines() if line.startswith("TracerPid"))
        return [
            tracer,
            os.sched_getscheduler(0),
            Path("/proc/self/oom_score_adj").read_text(),
            self.memory.raw,
        ]

    def _files(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(self.folder.iterdir()):
            about = path.lstat()
            found[path.name] = (about.st_mode, about.st_uid, about.st_nlink, about.st_mtime_ns)
        found["text"] = self._text(self.folder / "canary")
        return found

    @staticmethod
    def _text(path: Path) -> str | None:
        try:
            return path.read_text()
        except OSError:
            return None

    def _restore(self) -> None:
        for path in self.folder.iterdir():
            if path.name not in self.files:
                path.rmdir() if path.is_dir() else path.unlink()
        (self.folder / "canary").write_text("sings")
        (self.folder / "keys.json").chmod(0o600)
        self.files = self._files()

    def _listen(self) -> list[socket.socket]:
        stream = socket.create_server(("127.0.0.1", 0))
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(stream.getsockname())
        named, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        named.bind(str(self.folder / "socket"))
        abstract.bind(f"\0milo-breach-{os.getpid()}")
        named.listen()
        abstract.listen()
        ears = [stream, datagram, named, abstract]
        for ear in ears:
            ear.setblocking(False)
        return ears

    def _start_worker(self) -> tuple[Any, int, int]:
        """Start the worker as the product does, but for what the config loosens."""
        from milo.script.worker import spawn

        loosened = {
            "product": {},
            "environment": {"env": dict(os.environ)},
            "files": {"close_fds": False},
            "group": {"start_new_session": False},
        }[self.start]
        popen = spawn.subprocess.Popen

        def start(*arguments: Any, **options: Any) -> Any:
            if self.start == "files":
                key_file = os.open(self.folder / "keys.json", os.O_RDONLY)
                for fd in (*options.pop("pass_fds"), key_file):
                    os.set_inheritable(fd, True)
            return popen(*arguments, **options | loosened)

        spawn.BOOT = Path(__file__).parent / "boot.py"
        spawn.subprocess = types.SimpleNamespace(Popen=start, DEVNULL=-3)
        try:
            started = spawn.spawn(256, self.paths)
        finally:
            spawn.subprocess = sys.modules["subprocess"]
        return started.process, started.to_worker, started.from_worker


def main() -> None:
    config = json.loads(sys.argv[1])
    sys.path[:0] = [config["project"]]
    sys.path += config["paths"]
    if config["is_hardened"]:
        from milo.ops.hardening import harden

        problem = harden()
        assert not problem, problem
    engine = Engine(config, sys.stdin.readline().strip())
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if request["probe"] == "fork instead of start":
            print(json.dumps(forked(engine)), flush=True)
        else:
            print(json.dumps(engine.run(request)), flush=True)


def forked(engine: Engine) -> dict[str, Any]:
    """What a worker would find in its memory if it were a fork of the engine."""
    from tests.breach import probes

    into, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(out, (probes.memory_of("self") or "nothing").encode())
        os._exit(0)
    os.waitpid(child, 0)
    found = os.read(into, 1000).decode()
    return {"harm": [found] if engine.secrets[0] in found else []}


if __name__ == "__main__":
    main()
