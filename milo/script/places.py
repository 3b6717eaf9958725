"""Where a syntax node stands in the text: lines and columns as people count them (layer 1)."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from milo.script.faults import ScriptFault

_Located = ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias | ast.ExceptHandler


@dataclass(frozen=True, slots=True)
class Place:
    """Line and columns from 1, in characters; None where the tree does not say."""

    line: int | None
    column: int | None
    end_column: int | None


class Places:
    """Turns Python's byte offsets into columns."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def of(self, node: ast.AST) -> Place:
        """Return the place of a node; of its first part where it has none itself."""
        found: ast.AST | None = node
        while found is not None and not hasattr(found, "lineno"):
            found = next(ast.iter_child_nodes(found), None)
        if not isinstance(found, _Located):
            return Place(None, None, None)
        line = found.lineno
        end = None
        if found.end_lineno == line and found.end_col_offset is not None:
            end = self._column(line, found.end_col_offset)
        return Place(line, self._column(line, found.col_offset), end)

    def attribute_of(self, node: ast.Attribute) -> Place:
        """Return the place of the name behind the dot."""
        if node.end_lineno is None or node.end_col_offset is None:
            return self.of(node)
        end = self._column(node.end_lineno, node.end_col_offset)
        return Place(node.end_lineno, max(1, end - len(node.attr)), end)

    def definition_of(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Place:
        """Return the place of the line with `def`."""
        return Place(node.lineno, self._column(node.lineno, node.col_offset), None)

    def fault(self, node: ast.AST, message: str) -> ScriptFault:
        """Return a fault at a node, to be raised."""
        return self.fault_at(self.of(node), message)

    @staticmethod
    def fault_at(place: Place, message: str) -> ScriptFault:
        return ScriptFault(
            message, line=place.line, column=place.column, end_column=place.end_column
        )

    def _column(self, line: int, offset: int) -> int:
        return column_of(self._lines, line, offset)


def running_children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that will run: annotations never do."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, ast.AST))


def column_of(lines: list[str], line: int, offset: int) -> int:
    """Return the column (from 1, in characters) of a UTF-8 byte offset in a line (from 1)."""
    if not 1 <= line <= len(lines):
        return offset + 1
    source = lines[line - 1]
    if source.isascii():
        return offset + 1
    return len(source.encode("utf-8")[:offset].decode("utf-8", "ignore")) + 1


def close_match(word: str, words: Iterable[str]) -> str | None:
    """Return the listed word that a person most likely meant; None where none is near."""
    listed = sorted(words)
    found = difflib.get_close_matches(word, listed, n=1, cutoff=0.7)
    if not found:
        folded = {item.lower(): item for item in listed}
        found = [folded[word.lower()]] if word.lower() in folded else []
    return found[0] if found else None
