"""Nothing in an installed Milo runs raw code: the way in that these tests use is theirs alone."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from milo.script import protocol
from milo.script.protocol import frame
from milo.script.worker.process import Budget, WorkerFailure, WorkerProcess

PROJECT = Path(__file__).resolve().parents[2]
REQUESTS = set(b"LIHCKEBPX")
REPLIES = set(b"YDRMFW")
# Who may turn text into code, and run it: the compiler of checked scripts, and their runner.
MAKES_CODE = {
    ("milo/script/rewrite.py", "compile"),
    ("milo/script/runner.py", "FunctionType"),
    ("milo/script/worker/service.py", "__import__"),
    ("main.py", "importlib.import_module"),
}
WAYS = {
    "exec", "eval", "compile", "execfile", "__import__", "FunctionType", "CodeType",
    "types.FunctionType", "types.CodeType", "builtins.exec", "builtins.eval",
    "importlib.import_module", "import_module", "runpy.run_path", "runpy.run_module",
    "pickle.loads", "pickle.load", "marshal.loads", "marshal.load", "code.interact",
}  # fmt: skip


def product() -> list[Path]:
    """Return the Python files that an installation has."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.split()
    names = listed or [str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*.py")]
    kept = [name for name in names if name.startswith("milo/") or "/" not in name]
    return [PROJECT / name for name in kept]


def test_an_installation_holds_no_tests() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]

    assert settings["packages"]["find"]["include"] == ["milo*"]
    assert not any("test" in name for name in settings["py-modules"])
    assert len(product()) > 200


@pytest.mark.parametrize("path", product(), ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_module_knows_of_these_tests_or_runs_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(PROJECT))

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(module.split(".")[0] == "tests" for module in modules)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in WAYS or (name, called) in MAKES_CODE, f"line {node.lineno}"
    assert "tests/breach" not in text
    assert "tests.breach" not in text


def test_the_frame_types_are_those_of_the_protocols_page() -> None:
    page = protocol.__doc__ or ""
    source = Path(protocol.__file__).read_text(encoding="utf-8")

    constants = set(re.findall(r'^[A-Z]+: Final = ord\("(.)"\)$', source, re.MULTILINE))

    assert {ord(kind) for kind in constants} == REQUESTS | REPLIES
    row = re.compile(r"^ {4}(?:to the worker|from the worker)? +([A-Z]) [a-z]+ ", re.MULTILINE)
    assert set(row.findall(page)) == constants


def test_every_other_frame_type_is_an_error_to_the_worker() -> None:
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from milo.script.protocol import FrameError\n"
        "from milo.script.worker.service import Worker\n"
        "worker = Worker(os.open(os.devnull, os.O_WRONLY))\n"
        "for kind in range(256):\n"
        "    try:\n"
        "        worker.handle(kind, b'print(1)')\n"
        "    except FrameError:\n"
        "        print(kind)\n"
        "    except Exception:\n"
        "        pass\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(PROJECT)], capture_output=True, text=True, check=True
    )

    refused = {int(line) for line in done.stdout.split()}
    # A load, a question and a sign of life are known; what they were given here is not.
    assert set(range(256)) - refused <= REQUESTS
    assert not refused & {ord("L"), ord("C"), ord("H"), ord("P")}


def test_an_unknown_frame_ends_the_real_worker() -> None:
    budget = Budget(cpu_ms=None, wall_s=20)

    async def send() -> tuple[str, str]:
        process = WorkerProcess(memory_mb=256)
        await process.ask(0, b"", budget)
        with pytest.raises(WorkerFailure) as caught:
            await process.ask(1, frame(ord("X"), b"import os"), budget)
        return caught.value.text, await process.reap()

    text, told = asyncio.run(send())

    assert text == "the worker ended"
    assert told == "ended by itself (exit code 1)"
