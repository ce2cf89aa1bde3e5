"""What README, CONTRIBUTING and docs/ say is true of the code: links, names, commands and examples."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import chexalign
from chexalign.cli.main import VERBS
from chexalign.judges.base import TextPair
from chexalign.judges.length_control import LengthControlledJudge
from chexalign.recipe.load import find_recipe, load_recipe
from chexalign.registry import Entry, Registry

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(chexalign.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
README, ARCHITECTURE = TEXTS[ROOT / "README.md"], TEXTS[ROOT / "docs" / "architecture.md"]
MADE_BY_A_RUN = ("runs/", "images/", "pretrain/", "policy/", "scores/", "pairs/", "predictions/", "metrics/")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def fences(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that headings make."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_relative_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found.read_text(encoding="utf-8")), target


@every_page
def test_commands_exist(page):
    verbs = set(re.findall(r"\bchexalign ([a-z]+)\b(?=[ `\n-])", "\n".join(code(TEXTS[page]))))
    assert verbs <= VERBS.keys()
    targets = set(re.findall(r"\bmake (?:[A-Z_]+=(?:\"[^\"]*\"|\S+) )*([a-z-]+)", "\n".join(code(TEXTS[page]))))
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets <= set(rules)


def code(text: str) -> list[str]:
    """Everything in backticks, in fences and in indented blocks."""
    inline = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    indented = re.findall(r"^ {4}(.+)$", text, re.MULTILINE)
    return inline + fences(text, "sh") + indented


@every_page
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:src|tests|bench|docs|recipes|results)/[\w./-]*)`", TEXTS[page]):
        assert (ROOT / name).exists() or name.endswith("demo.json"), name  # which is measured last


@every_page
def test_recipes_and_their_values_are_valid(page):
    for line in "\n".join(code(TEXTS[page])).splitlines():
        if found := re.match(r"chexalign (?:run|explain|plan) ([a-z/]+)((?: --set \S+)*)$", line.strip()):
            load_recipe(find_recipe(found[1]), re.findall(r"--set (\S+)", found[2]))


@every_page
def test_nothing_names_a_machine_s_paths(page):
    assert re.search(r"/(work|home|root|tmp|Users)/", TEXTS[page]) is None


def test_the_architecture_names_every_part_of_the_package():
    parts = [p.name if p.is_file() else f"{p.name}/" for p in PACKAGE.iterdir() if not p.name.startswith("_")]
    parts = [p for p in parts if p.endswith(".py") or (PACKAGE / p / "__init__.py").is_file()]
    assert [p for p in sorted(parts) if f"`{p}`" not in ARCHITECTURE] == []


def test_the_architecture_names_nothing_that_is_not_there():
    named = re.findall(r"^\| (?:\d+ )?\| (.+?) \|", ARCHITECTURE, re.MULTILINE)
    names = [name for cell in named for name in re.findall(r"`([\w/.]+)`", cell)]
    assert len(names) > 20
    assert [name for name in names if not (PACKAGE / name).exists()] == []


def test_the_levels_of_the_architecture_are_those_that_are_enforced():
    source = ast.parse((Path(__file__).parent / "test_layout.py").read_text(encoding="utf-8"))
    levels = next(n for n in source.body if isinstance(n, ast.AnnAssign) and getattr(n.target, "id", "") == "LEVELS")
    assert levels.value is not None
    enforced = {name: i for i, names in enumerate(eval_sets(levels.value), start=1) for name in names if name}
    level, written = 0, {}
    for number, cell in re.findall(r"^\| (?:(\d+) )?\| (.+?) \|", ARCHITECTURE, re.MULTILINE):
        level = int(number) if number else level
        written |= {name.strip("/").removesuffix(".py"): level for name in re.findall(r"`([\w/.]+)`", cell)}
    assert written == enforced


def eval_sets(node: ast.expr) -> list[set[str]]:
    """The value of a literal list of sets, starred tuples unpacked."""
    assert isinstance(node, ast.List)
    return [{n.value for n in ast.walk(item) if isinstance(n, ast.Constant)} for item in node.elts]


def test_the_twelve_lines_of_the_readme_are_twelve_and_a_whole_recipe(tmp_path):
    block = next(b for b in fences(README, "sh") if b.startswith("cat > first.yaml"))
    assert len(block.splitlines()) == 12
    recipe = tmp_path / "first.yaml"
    recipe.write_text("\n".join(block.splitlines()[1:-2]))
    assert load_recipe(recipe).run == "first"


def test_the_judge_of_the_readme_runs(tmp_path, monkeypatch):
    (tmp_path / "acme_laterality.py").write_text(fences(README, "python")[0])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    entries = [Entry("judges", "laterality", "acme_laterality:LateralityJudge", "acme")]
    judge = Registry("judges", entries).get("laterality")()
    pairs = [
        TextPair("Small left effusion.", "Left effusion."),
        TextPair("Small right effusion.", "Left effusion."),
        TextPair("Clear.", "Clear lungs."),
    ]
    found = judge.score(pairs)
    assert [j.value for j in found] == [1.0, 0.0, None]
    assert found[2].status == "refused"
    assert [j.value for j in LengthControlledJudge(of=judge).score(pairs)] == [1.0 / 1.5, 0.0, None]


def test_the_readme_lists_the_judges_losses_and_rules_that_there_are():
    table = README[README.index("## What it does") : README.index("## Results")]
    there = {row.split("|")[1].strip(): row.split("|")[2] for row in table.splitlines() if row.startswith("|")}
    assert set(re.findall(r"`(\w+)`", there["judges"])) == set(Registry("judges").names())
    assert set(re.findall(r"`(\w+)`", there["pairs"])) == set(Registry("pair_rules").names())
    algorithms = [name.lower().replace("-", "_") for name in there["algorithms"].strip().split(", ")]
    assert sorted(algorithms) == sorted(["sft", *Registry("losses").names()])


def test_the_size_of_the_tiny_policy_is_as_written():
    from chexalign.demo.tiny import VOCABULARY, build_model, train_tokenizer

    tokenizer = train_tokenizer(["the lungs are clear"])
    tokenizer.add_tokens([f"token{i}" for i in range(VOCABULARY - len(tokenizer))])
    millions = sum(p.numel() for p in build_model(tokenizer, seed=0).parameters()) / 1e6
    for page in ("README.md", "docs/demo.md"):
        assert re.search(rf"\b{millions:.1f}\s+million parameters", TEXTS[ROOT / page])
