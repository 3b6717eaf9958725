"""Names and parameters of the functions of a lifted script (layer 1)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from milo.script.lift_values import Function, Value
from milo.script.places import running_children

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def target_names(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment to `target` binds."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def local_names_of(function: _Function) -> frozenset[str]:
    """Return the names that a function assigns, its parameters included."""
    arguments = function.args
    names = {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}
    stack: list[ast.AST] = (
        [function.body] if isinstance(function, ast.Lambda) else list(function.body)
    )
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.NamedExpr):
            names.add(node.target.id)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(item.asname or item.name for item in node.names)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            # Its body is a scope of its own; its defaults are not.
            defaults = (*node.args.defaults, *node.args.kw_defaults)
            stack.extend(item for item in defaults if item is not None)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            stack.extend(_walrus_targets(node))
        else:
            stack.extend(running_children(node))
    return frozenset(names)


def _walrus_targets(node: ast.AST) -> Iterator[ast.AST]:
    """In a comprehension, := binds in the function around it."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.NamedExpr):
            yield inner.target


def arguments_of(
    function: Function, arguments: list[Value], options: dict[str, Value]
) -> dict[str, Value] | None:
    """Return the values of the parameters; None where Python would refuse the call."""
    names = [argument.arg for argument in function.arguments.args]
    only_named = [argument.arg for argument in function.arguments.kwonlyargs]
    if len(arguments) > len(names):
        return None
    given = dict(zip(names, arguments, strict=False))
    for name, value in options.items():
        if name in given or name not in (*names, *only_named):
            return None
        given[name] = value
    with_default = names[len(names) - len(function.defaults) :]
    for name, value in zip(with_default, function.defaults, strict=True):
        given.setdefault(name, value)
    for name, value in function.named_defaults.items():
        given.setdefault(name, value)
    return given if given.keys() == {*names, *only_named} else None
