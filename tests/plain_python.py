"""Scripts as plain CPython runs them: what the language promises to do the same."""

from __future__ import annotations

import ast
import asyncio
import builtins
import datetime
import math
import re
from pathlib import Path
from types import FunctionType
from typing import Any


def benign_scripts() -> dict[str, str]:
    """Return the programs of core/benign.scripts by name."""
    text = (Path(__file__).parent / "core" / "benign.scripts").read_text(encoding="utf-8")
    parts = re.split(r"^#: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def printed_by_cpython(text: str) -> str:
    """Run a text with every builtin and no rewriting; return what it prints."""
    lines: list[str] = []

    def record(*values: Any, sep: str = " ", end: str = "\n") -> None:
        lines.append(sep.join(str(value) for value in values) + end)

    names = {
        "__builtins__": builtins,
        "print": record,
        "math": math,
        "datetime": datetime.datetime,
        "timedelta": datetime.timedelta,
        "timezone": datetime.timezone,
    }
    tree = ast.parse(text)
    # Plain Python would evaluate annotations: this is the one difference that is meant.
    tree.body = [node for node in tree.body if not _is_bare_annotation(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Constant(None), node)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    code = compile(tree, "<plain>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = FunctionType(code, names)()
    if running is not None:
        asyncio.run(running)
    return "".join(lines)


def _is_bare_annotation(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is None
