"""The package keeps its shape: imports point one way, every module imports, nothing grows too long."""

from __future__ import annotations

import ast
import graphlib
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import chexalign

ROOT = Path(chexalign.__file__).parent

# A module imports only from levels above its own, and from its own package; docs/architecture.md says why.
LEVELS: list[set[str]] = [
    {"", "types", "ids", "errors"},
    {
        *("atomic", "processes", "progress", "store", "spread", "stage", "stats", "privacy"),
        *("artifact", "cleaning", "recipe", "registry", "run_folder", "run_open"),
    },
    {"engines"},
    {"data", "policy", "judges", "pairs", "losses"},
    {"sample", "train", "evaluate", "audit"},
    {"mine"},
    {"demo", "present"},
    {"workflow", "compare"},
    {"sweep", "cards"},
    {"cli"},
]
CORE = LEVELS[0] | LEVELS[1]  # single modules, which may import each other, without a cycle
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

FILES = sorted(ROOT.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 80


def module_name(path: Path) -> str:
    parts = ("chexalign", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def part(module: str) -> str:
    """The first name under the package: "train" for chexalign.train.fit, "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module of ours that the tree imports, at the top, in functions and for type checking alike."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write absolute imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "chexalign":
                yield name if name in MODULES else name.rpartition(".")[0]


IMPORTS = {name: set(imported(ast.parse(path.read_text()))) - {name} for name, path in MODULES.items()}


def wrong(importer: str, target: str) -> str | None:
    """What is wrong with one import, or None."""
    here, there = part(importer), part(target)
    if here == there or (here in CORE and there in CORE and LEVEL[there] <= LEVEL[here]):
        return None
    if LEVEL[there] < LEVEL[here]:
        return None
    return f"{importer} imports {target}: " + ("a sibling" if LEVEL[there] == LEVEL[here] else "the wrong way")


def test_every_part_has_a_level():
    assert {part(name) for name in MODULES} - LEVEL.keys() == set(), "give the new module a level in LEVELS"


def test_imports_point_one_way_and_siblings_do_not_import_each_other():
    pairs = [(importer, target) for importer, targets in IMPORTS.items() for target in targets]
    assert [problem for pair in pairs if (problem := wrong(*pair))] == []


def test_there_is_no_import_cycle():
    graphlib.TopologicalSorter(IMPORTS).prepare()


@pytest.mark.parametrize(
    ("importer", "target", "verdict"),
    [
        ("chexalign.judges.lexical", "chexalign.data.mesh", "a sibling"),
        ("chexalign.types", "chexalign.store", "the wrong way"),
        ("chexalign.losses.dpo", "chexalign.train.fit", "the wrong way"),
        ("chexalign.train.fit", "chexalign.losses.dpo", None),
        ("chexalign.train.fit", "chexalign.train.order", None),
        ("chexalign.store", "chexalign.atomic", None),
    ],
)
def test_the_rule_itself(importer, target, verdict):
    found = wrong(importer, target)
    assert (found is None) == (verdict is None)
    assert verdict is None or str(found).endswith(verdict)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name):
    importlib.import_module(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_too_long(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: n for f in functions if (n := (f.end_lineno or 0) - f.lineno + 1) > MAX_FUNCTION_LINES}
    assert long == {}
