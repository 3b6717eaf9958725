"""RestrictedPython as a second, independent veto at load time (layer 1).

Its transformer reads the text anew and may refuse it; what it produces is thrown away. Its guards
are not used at run time: they would repeat, for each step, what the allow-list of names decided
once. Where it refuses what `milo.script.language` let through, one of the two has a bug, and the
engine says so in its log. RestrictedPython calls itself no sandbox; here it is one layer of many.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any, Final, cast

from RestrictedPython.transformer import RestrictingNodeTransformer

from milo.script.faults import ScriptFault

_REPORTED: Final = re.compile(r"Line (?P<line>\d+): (?P<reason>.*)", re.DOTALL)


class Vetoed(ScriptFault):
    """Only RestrictedPython refused the script: a bug of one of the two checks."""


class _Policy(RestrictingNodeTransformer):
    """RestrictedPython's rules with the five exceptions that the language needs."""

    def visit_Await(self, node: ast.Await) -> Any:
        return self.node_contents_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return super().visit_FunctionDef(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        node.returns = None
        # The rules for `def` are those for `async def`: names, arguments, body.
        return super().visit_FunctionDef(cast(ast.FunctionDef, node))

    def visit_arg(self, node: ast.arg) -> Any:
        # Annotations are dropped before the script runs.
        node.annotation = None
        return super().visit_arg(node)

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        if node.is_async:
            self.error(node, "Async comprehensions are not allowed.")
        return super().visit_comprehension(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> Any:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        if isinstance(node.target, ast.Subscript):
            return self.node_contents_visit(node)
        return super().visit_AugAssign(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if isinstance(node.target, ast.Attribute):
            self.error(node, "Assignment of attributes is not allowed.")
        value = node.value or ast.Constant(None)
        plain = ast.Assign(targets=[node.target], value=value)
        return self.visit(ast.fix_missing_locations(ast.copy_location(plain, node)))


def veto(text: str) -> None:
    """Raise Vetoed where RestrictedPython refuses a text that the language check let through."""
    errors: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _Policy(errors, [], {}).visit(ast.parse(text))
        except RecursionError:
            errors.append("nested too deeply")
    if not errors:
        return
    match = _REPORTED.match(errors[0])
    reason = match["reason"] if match else errors[0]
    raise Vetoed(
        f"refused by the second check (RestrictedPython): {reason}",
        line=int(match["line"]) if match else None,
    )
