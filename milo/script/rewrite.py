"""From a checked tree to code: what the language drops, replaces and counts (layer 1).

Annotations vanish, imports become assignments from the virtual modules, each `await` is counted,
and the few operations with which a short text makes a huge value go through `milo.script.guards`.
Helper names begin with two underscores, which no script can write.
"""

from __future__ import annotations

import ast
import warnings
from types import CodeType
from typing import Final

from milo.script.language import syntax_fault
from milo.script.limits import MAX_WARNINGS

PREFIX: Final = "__milo_"
"""Begins every name that only rewritten code may use."""

_GUARDED: Final[dict[type[ast.operator], str]] = {
    ast.Mult: "mul",
    ast.Pow: "pow",
    ast.LShift: "lshift",
    ast.Mod: "mod",
}
GUARDED_METHODS: Final = frozenset(
    {"join", "ljust", "rjust", "center", "zfill", "replace", "expandtabs"}
)
"""Methods with which a short text makes a long one."""


def compile_script(tree: ast.Module, file_name: str) -> tuple[CodeType, list[str]]:
    """Return the code of a checked script, and Python's own warnings about it.

    The code is a coroutine's where the script awaits at its top level. The tree is changed.
    Raises ScriptFault for what only the compiler sees, like `return` outside a function.
    """
    rewritten = ast.fix_missing_locations(_Rewriter().visit(tree))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            code = compile(
                rewritten,
                file_name,
                "exec",
                flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
                dont_inherit=True,
                optimize=0,
            )
        except SyntaxError as error:
            raise syntax_fault(error) from None
    notes = [f"line {item.lineno}: {item.message}" for item in caught]
    return code, notes[:MAX_WARNINGS]


def _load(helper: str) -> ast.Name:
    return ast.Name(PREFIX + helper, ast.Load())


def _call(helper: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(func=_load(helper), args=list(arguments), keywords=[])


class _Rewriter(ast.NodeTransformer):
    """Recursive, which is safe: the language check has bounded the depth."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.copy_location(self._declaration(node.target), node)
        plain = ast.Assign(targets=[node.target], value=node.value)
        return self.generic_visit(ast.copy_location(plain, node))

    @staticmethod
    def _declaration(target: ast.expr) -> ast.stmt:
        """`x: int` gives x no value, but makes it the function's own name."""
        if not isinstance(target, ast.Name):
            return ast.Pass()
        never = ast.Assign(targets=[target], value=ast.Constant(None))
        return ast.If(test=ast.Constant(False), body=[never], orelse=[])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.AST]:
        return [
            self._binding(node, item.asname or item.name, _load(item.name)) for item in node.names
        ]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.AST]:
        module = str(node.module)
        return [
            self._binding(
                node,
                item.asname or item.name,
                ast.Attribute(_load(module), item.name, ast.Load()),
            )
            for item in node.names
        ]

    @staticmethod
    def _binding(node: ast.stmt, name: str, value: ast.expr) -> ast.AST:
        return ast.copy_location(
            ast.Assign(targets=[ast.Name(name, ast.Store())], value=value), node
        )

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        node.value = ast.copy_location(_call("await", node.value), node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        helper = _GUARDED.get(type(node.op))
        if helper is None or _is_float(node.left):
            return node
        if helper != "mod" and _is_float(node.right):
            # A text takes a float behind its %, but cannot be multiplied by one.
            return node
        return ast.copy_location(_call(helper, node.left, node.right), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        helper = _GUARDED.get(type(node.op))
        if helper is None or (helper != "mod" and _is_float(node.value)):
            return node
        target = node.target
        if isinstance(target, ast.Name):
            value = _call("i" + helper, ast.Name(target.id, ast.Load()), node.value)
            plain: ast.stmt = ast.Assign(targets=[target], value=value)
        else:
            assert isinstance(target, ast.Subscript)
            # Container, key and old value first, then the new operand: Python's own order.
            loaded = ast.Starred(_call("load", target.value, _key(target.slice)), ast.Load())
            plain = ast.Expr(_call("store", ast.Constant("i" + helper), loaded, node.value))
        return ast.copy_location(plain, node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr not in GUARDED_METHODS:
            return node
        return ast.copy_location(_call("method", node.value, ast.Constant(node.attr)), node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        self.generic_visit(node)
        spec = node.format_spec
        if not isinstance(spec, ast.JoinedStr):
            return node
        if all(isinstance(part, ast.Constant) for part in spec.values):
            return node
        # A width that is computed: checked when it is known.
        value = _call("format", node.value, spec, ast.Constant(node.conversion))
        plain = ast.FormattedValue(value=value, conversion=-1, format_spec=None)
        return ast.copy_location(plain, node)


def _is_float(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, float)


def _key(node: ast.expr) -> ast.expr:
    if not isinstance(node, ast.Slice):
        return node
    parts = (node.lower, node.upper, node.step)
    return _call("slice", *(part or ast.Constant(None) for part in parts))
