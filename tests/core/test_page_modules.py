"""The page's modules joined into one: what they say to each other stays the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from milo.charts.modules import import_order, joined_modules
from milo.errors import ConfigError

MODULES = {
    "page.js": (
        'import { twice as double, Box } from "./part/sum.js";\n'
        'import * as words from "./part/words.js";\n'
        'const later = import("./part/later.js");\n'
        "console.log(words.name, double(4), new Box(3).twice(), words.isReady);\n"
        "later.then((m) => console.log(m.text));\n"
    ),
    "part/sum.js": (
        'import { factor } from "./words.js";\n'
        "export function twice(x) {\n  return factor * x;\n}\n"
        "export class Box {\n  constructor(x) {\n    this.x = x;\n  }\n"
        "  twice() {\n    return twice(this.x);\n  }\n}\n"
    ),
    "part/words.js": (
        'export const name = "words";\nexport const factor = 2;\nexport const isReady = true;\n'
    ),
    "part/later.js": (
        'import { Box } from "./sum.js";\nimport { tail } from "./tail.js";\n'
        "export const text = `later ${new Box(5).twice()} ${new Box(1) instanceof Box} ${tail}`;\n"
    ),
    "part/tail.js": 'export const tail = "tail";\n',
}


def test_joined_modules_run_as_the_single_ones_do(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: modules are run by the browser tests only")

    outputs = []
    for number, texts in enumerate((MODULES, joined_modules(MODULES, ["page.js"], "./"))):
        folder = tmp_path / str(number)
        # Below the entry, `./` leads elsewhere: there the server's prefix is absolute.
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            up = "../" * name.count("/")
            path.write_text(text.replace('from "./page.js"', f'from "./{up}page.js"'))
        (folder / "package.json").write_text('{"type": "module"}')
        done = subprocess.run(
            [node, str(folder / "page.js")], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)

    assert outputs[0] == outputs[1] == "words 8 6 true\nlater 10 true tail\n"


def test_what_was_joined_passes_on_what_it_has_become() -> None:
    joined = joined_modules(MODULES, ["page.js"], "/static/")

    assert sorted(name for name in joined if name == "page.js" or name not in MODULES) == [
        "page.js"
    ]
    assert 'import("/static/part/later.js")' in joined["page.js"]
    assert 'from "/static/page.js"' in joined["part/later.js"]
    assert 'from "./tail.js"' in joined["part/later.js"]


def test_each_module_comes_behind_what_it_imports() -> None:
    assert import_order(MODULES, "page.js") == ["part/words.js", "part/sum.js", "page.js"]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"a.js": 'import { b } from "./b.js";\n'}, "imports b.js"),
        (
            {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'},
            "a.js -> b.js -> a.js",
        ),
    ],
)
def test_imports_that_cannot_be_joined_are_told(texts: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        import_order(texts, "a.js")
