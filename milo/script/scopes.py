"""Which names of a script come from outside, found without running it (layer 1)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from milo.script.places import Places, close_match, running_children
from milo.script.vocabulary import NAME_ADVICE

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(slots=True, eq=False)
class _Scope:
    """One namespace of the script: the module, a function, or a comprehension."""

    parent: _Scope | None
    is_comprehension: bool = False
    bound: set[str] = field(default_factory=set)
    loads: list[ast.Name] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    """Names that must be there though no expression reads them: `data += ...`, `del data`."""
    global_names: set[str] = field(default_factory=set)

    def chain(self) -> Iterator[_Scope]:
        scope: _Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


def free_names(tree: ast.Module, places: Places, known: frozenset[str]) -> frozenset[str]:
    """Return the names of `known` that the script reads.

    Raises ScriptFault, with the nearest known name, at the first name that is neither known nor
    assigned anywhere where it could be seen.
    """
    scopes = _scopes_of(tree)
    used: set[str] = set()
    unknown: list[tuple[ast.Name, _Scope]] = []
    for scope in scopes:
        used |= scope.touched
        for node in scope.loads:
            if any(node.id in outer.bound for outer in scope.chain()):
                # Assigned somewhere: still read from outside where the assignment comes later.
                used.add(node.id)
            elif node.id in known:
                used.add(node.id)
            else:
                unknown.append((node, scope))
    if unknown:
        node, scope = min(unknown, key=lambda item: (item[0].lineno, item[0].col_offset))
        raise places.fault(node, _unknown_text(node.id, scope, known))
    return frozenset(used & known)


def _unknown_text(name: str, scope: _Scope, known: frozenset[str]) -> str:
    if advice := NAME_ADVICE.get(name):
        return f"unknown name '{name}'; {advice}"
    visible = known.union(*(outer.bound for outer in scope.chain()))
    near = close_match(name, visible)
    return f"unknown name '{name}'" + (f"; did you mean '{near}'?" if near else "")


def _scopes_of(tree: ast.Module) -> list[_Scope]:
    module = _Scope(None)
    scopes = [module]
    stack: list[tuple[ast.AST, _Scope]] = [(tree, module)]
    while stack:
        node, scope = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = _Scope(scope)
            scopes.append(inner)
            stack.extend(_enter_function(node, scope, inner))
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            inner = _Scope(scope, is_comprehension=True)
            scopes.append(inner)
            stack.extend(_enter_comprehension(node, scope, inner))
        else:
            _note(node, scope, module)
            stack.extend((child, scope) for child in running_children(node))
    for scope in scopes:
        # `global x` somewhere: what is assigned there belongs to the module.
        module.bound |= scope.global_names & scope.bound
    return scopes


def _note(node: ast.AST, scope: _Scope, module: _Scope) -> None:
    """Record what one node binds or reads."""
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            scope.loads.append(node)
        elif isinstance(node.ctx, ast.Store):
            scope.bound.add(node.id)
        else:
            scope.touched.add(node.id)
    elif isinstance(node, ast.AugAssign):
        if isinstance(node.target, ast.Name):
            scope.touched.add(node.target.id)
    elif isinstance(node, ast.NamedExpr):
        # In a comprehension, := binds in the function around it.
        owner = next(outer for outer in scope.chain() if not outer.is_comprehension)
        owner.bound.add(node.target.id)
    elif isinstance(node, ast.ExceptHandler):
        if node.name is not None:
            scope.bound.add(node.name)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        scope.bound.update(item.asname or item.name for item in node.names)
    elif isinstance(node, ast.Global):
        scope.global_names.update(node.names)
        module.bound.update(node.names)


def _enter_function(
    node: _Function, scope: _Scope, inner: _Scope
) -> Iterator[tuple[ast.AST, _Scope]]:
    if not isinstance(node, ast.Lambda):
        scope.bound.add(node.name)
    arguments = node.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    listed += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    inner.bound.update(argument.arg for argument in listed)
    for default in (*arguments.defaults, *arguments.kw_defaults):
        if default is not None:
            yield default, scope
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    for part in body:
        yield part, inner


def _enter_comprehension(
    node: _Comprehension, scope: _Scope, inner: _Scope
) -> Iterator[tuple[ast.AST, _Scope]]:
    for index, generator in enumerate(node.generators):
        yield generator.iter, scope if index == 0 else inner
        yield generator.target, inner
        for condition in generator.ifs:
            yield condition, inner
    if isinstance(node, ast.DictComp):
        yield node.key, inner
        yield node.value, inner
    else:
        yield node.elt, inner
