"""The layers of docs/architecture.md, size limits and house rules, read from the syntax trees."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from milo.script.vocabulary import ATTRIBUTES

PROJECT = Path(__file__).resolve().parent.parent
ROOT_MODULES = frozenset(
    {
        "main", "api_client", "db_manager", "websocket_manager", "trade_manager",
        "script_engine", "script_executor", "indicators", "key_manager", "chart_handler",
    }
)  # fmt: skip
WORDS = frozenset(
    f"milo.{name}"
    for name in (
        "model", "events", "inbox", "commands", "errors", "money", "clock", "intervals", "ports",
        "activity", "config", "keyfile", "secret", "setting_values", "guard.words",
    )
)  # fmt: skip
# What touches the world. Everything else in milo is pure.
ROOMS = (
    "milo.store", "milo.script.worker", "milo.web", "milo.ops", "milo.cli", "milo.guard.run",
    "milo.guard.link",
    "milo.backtest.html",
)  # fmt: skip
EXCHANGE_ROOM = frozenset(
    f"milo.exchange.{name}"
    for name in (
        "__main__", "connections", "fault_progress", "free_running", "ledger", "market",
        "market_file", "pace", "playing", "process", "recorded_file", "replay", "server",
        "state_db", "state_dir", "stepping", "streams", "supervisor", "troubles",
    )
)  # fmt: skip
PURE_LIBRARIES = frozenset({"numpy", "talib", "msgspec", "RestrictedPython"})
IMPURE = frozenset(
    {
        "asyncio", "aiohttp", "sqlite3", "socket", "ssl", "threading", "multiprocessing",
        "subprocess", "time", "random", "websocket", "selectors", "tempfile", "signal", "os",
    }
)  # fmt: skip
WORDS_MAY = {"milo.config": {"os"}, "milo.clock": {"time"}}
# The script worker starts with nothing of our environment and sets its own.
ENVIRONMENT = frozenset({"milo.config", "milo.script.worker.boot"})
# Time zones, the processor time of another process, and a pause between two tries.
TIME_FOR_OTHER_USES = frozenset(
    {"milo.script.worker.boot", "milo.script.worker.process", "milo.store.connections"}
)
# main imports heavy things late; the worker preloads its own modules by name.
IMPORTS_BY_NAME = frozenset({"main", "milo.script.worker.service"})
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80
SUPERVISORS: frozenset[str] = frozenset()
"""Modules that may catch every Exception: none so far."""


def sources() -> list[Path]:
    found = [*PROJECT.glob("*.py"), *(PROJECT / "milo").rglob("*.py")]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def module_name(path: Path) -> str:
    parts = list(path.relative_to(PROJECT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


@functools.cache
def imports_of(path: Path) -> tuple[tuple[str, bool], ...]:
    """Return (module, is only for type checkers) for each import anywhere in the file."""
    return tuple(_imports(path, tree_of(path)))


def _imports(path: Path, tree: ast.Module) -> Iterator[tuple[str, bool]]:
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for_types.update(inner for part in node.body for inner in ast.walk(part))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in for_types
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module, node in for_types
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if (PROJECT / (inner.replace(".", "/") + ".py")).is_file():
                    yield inner, node in for_types


def layer(module: str) -> int:
    if module == "main":
        return 4
    if module in ROOT_MODULES:
        return 3
    if module in EXCHANGE_ROOM or any(is_within(module, room) for room in ROOMS):
        return 2
    return 0 if module in WORDS or module == "milo" else 1


def room(module: str) -> str:
    """Return the package that a room's module belongs to."""
    for name in (*ROOMS, "milo.exchange"):
        if is_within(module, name):
            return name
    return module


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def is_ours(module: str) -> bool:
    return is_within(module, "milo") or module in ROOT_MODULES


ALL = [pytest.param(path, id=module_name(path)) for path in sources()]


@pytest.mark.parametrize("path", ALL)
def test_imports_go_down_the_layers_only(path: Path) -> None:
    here = module_name(path)

    for imported, _ in imports_of(path):
        if not is_ours(imported) or imported == here:
            continue
        assert imported not in ROOT_MODULES, f"{here} imports the root module {imported}"
        assert layer(imported) <= layer(here), f"{here} imports {imported}, which lies above it"


@pytest.mark.parametrize("path", ALL)
def test_rooms_do_not_import_one_another_except_the_commands(path: Path) -> None:
    here = module_name(path)
    if layer(here) != 2 or is_within(here, "milo.cli"):
        return

    for imported, _ in imports_of(path):
        if is_ours(imported) and layer(imported) == 2:
            assert room(imported) == room(here), f"{here} imports the room of {imported}"


@pytest.mark.parametrize("path", ALL)
def test_the_words_need_only_the_standard_library(path: Path) -> None:
    here = module_name(path)
    if here not in WORDS:
        return

    for imported, _ in imports_of(path):
        top = imported.split(".")[0]
        assert is_ours(imported) or top in sys.stdlib_module_names, f"{here} imports {imported}"


@pytest.mark.parametrize("path", ALL)
def test_the_core_is_pure(path: Path) -> None:
    here = module_name(path)
    if layer(here) > 1:
        return

    allowed = WORDS_MAY.get(here, set())
    for imported, is_for_types in imports_of(path):
        top = imported.split(".")[0]
        if is_ours(imported) or is_for_types or top in allowed:
            continue
        assert top not in IMPURE, f"{here} imports {imported}"
        is_known = top in sys.stdlib_module_names or top in PURE_LIBRARIES
        assert is_known, f"{here} imports the library {imported}"


def test_the_exchange_never_imports_the_trading_core_that_it_judges() -> None:
    for path in sources():
        if is_within(module_name(path), "milo.exchange"):
            names = [name for name, _ in imports_of(path)]
            assert not any(is_within(name, "milo.orders") for name in names), path


@pytest.mark.parametrize("path", ALL)
def test_nobody_goes_around_the_layers_by_importing_modules_by_name(path: Path) -> None:
    here = module_name(path)

    for node in nodes_of(path):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            is_by_name = called in ("__import__", "importlib.import_module", "import_module")
            assert not is_by_name or here in IMPORTS_BY_NAME, f"line {node.lineno}: {called}"


def test_only_commands_and_main_know_what_a_command_line_is() -> None:
    for path in sources():
        here = module_name(path)
        if here == "main" or is_within(here, "milo.cli"):
            continue
        names = [name for name, _ in imports_of(path)]
        assert not any(is_within(name, "milo.cli") for name in names), path


def test_a_script_has_no_clock() -> None:
    assert not {"now", "utcnow", "today", "time_ns", "monotonic"} & ATTRIBUTES


@pytest.mark.parametrize("path", ALL)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in nodes_of(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", ALL)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    if text.strip():
        assert ast.get_docstring(tree_of(path)), path
    assert path.stem not in ("utils", "helpers", "misc", "common")


@pytest.mark.parametrize("path", ALL)
def test_nobody_catches_everything(path: Path) -> None:
    if module_name(path) in SUPERVISORS:
        return

    for node in nodes_of(path):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            caught = ast.unparse(node.type)
            reraises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            is_all = caught in ("Exception", "BaseException")
            assert not is_all or (caught == "BaseException" and reraises), (
                f"line {node.lineno} catches {caught}"
            )


@pytest.mark.parametrize("path", ALL)
def test_clock_and_environment_have_one_reader_each(path: Path) -> None:
    here = module_name(path)
    clocks = {
        "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
        "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    }  # fmt: skip

    for imported, _ in imports_of(path):
        assert imported != "time" or here == "milo.clock" or here in TIME_FOR_OTHER_USES
    for node in nodes_of(path):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            assert name not in clocks or here == "milo.clock", f"line {node.lineno}: {name}"
            is_environment = name in ("os.environ", "os.getenv")
            assert not is_environment or here in ENVIRONMENT, f"line {node.lineno}: {name}"
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "time"):
            taken = {alias.name for alias in node.names}
            hidden = {"environ", "getenv", "time", "time_ns", "monotonic", "monotonic_ns"}
            assert not taken & hidden, f"line {node.lineno} hides where {taken & hidden} is from"


@pytest.mark.parametrize("path", ALL)
def test_nothing_runs_at_import(path: Path) -> None:
    forbidden = {"open", "print", "exec", "eval"}

    for node in tree_of(path).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            pytest.fail(f"{path.name}:{node.lineno} calls {ast.unparse(node.value.func)} at import")
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            called = {
                ast.unparse(inner.func)
                for inner in ast.walk(node.value)
                if isinstance(inner, ast.Call)
            }
            assert not called & forbidden
