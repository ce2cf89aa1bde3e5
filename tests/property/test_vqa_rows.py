"""Whatever stands in collections of questions: no crash, and every row becomes a question or is counted once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.data.tasks.chexbench import CheXbench
from chexalign.data.tasks.diff_vqa import DiffVQA
from chexalign.data.tasks.mimic_vqa import MimicVQA
from chexalign.data.tasks.rad_restruct import RadReStruct
from chexalign.data.tasks.reasoning import OpenIReasoning
from chexalign.data.tasks.slake import Slake
from chexalign.store import Table
from chexalign.types import Question
from tests import vqa_trees
from tests.trees import write_csv

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.sampled_from(
        ["", " ", "\x00", "\ud800", "../../x", "/etc/passwd", "a" * 300, "yes", "No.", "é\nü", "1e9", "NaN"]
    ),
    st.text(max_size=5),
    st.lists(st.sampled_from(["yes", "", None, 3, "\ud800", ["x"]]), max_size=3),
    st.dictionaries(st.sampled_from(["0", "object", "\x00"]), st.sampled_from(["a", None, {"0": 3}, []]), max_size=2),
)
few = settings(max_examples=40)


@st.composite
def spoiled(draw: st.DrawFn, row: Any) -> Any:
    """A row with some of its values replaced or left out, or junk in its place."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JUNK)
    places = list(row) if isinstance(row, dict) else list(range(len(row)))
    for place in draw(st.lists(st.sampled_from(places), max_size=3, unique=True)):
        if isinstance(row, dict) and draw(st.booleans()):
            row = {key: value for key, value in row.items() if key != place}
        else:
            row = row.copy()
            row[place] = draw(JUNK)
    return row


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def account(source: Any, root: Path) -> int:
    """How many rows there were by the account; all questions can be written."""
    rows, dropped = vqa_trees.questions(source, root / "images-made")
    Table(root / "questions", Question).write_part(0, rows, fingerprint="f")
    assert all(n > 0 for n in dropped.values())
    return len(rows) + sum(dropped.values())


@few
@given(st.lists(spoiled(vqa_trees.sample(1)), max_size=5), JUNK)
def test_chexbench(rows, junk):
    with folder() as root:
        source = CheXbench(
            root=vqa_trees.chexbench_tree(root, {"Fine-Grained Reasoning": rows, "View Classification": junk})
        )
        n_junk = len(junk) if isinstance(junk, list | dict) else 1
        assert account(source, root) == len(rows) + n_junk


@few
@given(st.lists(spoiled(vqa_trees.slake_row(1, 100)), max_size=5))
def test_slake(rows):
    with folder() as root:
        vqa_trees.slake_tree(root)
        vqa_trees.write_json(root / "train.json", rows)
        assert account(Slake(root=root), root) == len(rows) + 10


@few
@given(st.lists(spoiled(vqa_trees.restruct_report()[2]), max_size=5), JUNK)
def test_rad_restruct(rows, junk):
    with folder() as root:
        vqa_trees.restruct_tree(root, reports=6)
        vqa_trees.write_json(root / "data/radrestruct/train_qa_pairs/2.json", rows)
        vqa_trees.write_json(root / "data/radrestruct/train_qa_pairs/7.json", junk)
        n_junk = len(junk) if isinstance(junk, list) else 1
        assert account(RadReStruct(root=root), root) == 14 + len(rows) + n_junk


@few
@given(st.lists(spoiled(vqa_trees.mimic_row(1)), max_size=5))
def test_mimic_vqa(rows):
    with folder() as root:
        vqa_trees.mimic_vqa_tree(root, root / "jpg")
        vqa_trees.write_json(root / "train.json", rows)
        assert account(MimicVQA(root=root, images=root / "jpg"), root) == len(rows) + 8


CELL = st.one_of(
    st.sampled_from(
        ["", "nan", "50000001", "50000000", "50000001.0", "difference", "view", "train", "val", "yes", "a\x00"]
    ),
    st.text(max_size=4),
)


@few
@given(
    st.lists(st.lists(CELL, min_size=7, max_size=7), max_size=6),
    st.lists(st.lists(CELL, min_size=8, max_size=8), max_size=3),
    JUNK,
)
def test_diff_vqa(pairs, studies, junk):
    pairs = [[cell.replace("\r", " ") for cell in row] for row in pairs]
    with folder() as root:
        vqa_trees.diff_tree(root, root / "jpg", patients=1)
        text = (root / "mimic_all.csv").read_text()
        write_csv(root / "more.csv", vqa_trees.STUDY_COLUMNS, studies)
        (root / "mimic_all.csv").write_text(text + (root / "more.csv").read_text().partition("\n")[2])
        write_csv(root / "mimic_pair_questions.csv", vqa_trees.PAIR_COLUMNS, pairs)
        vqa_trees.write_json(
            root / "all_diseases.json", [junk, {"study_id": 50000001, "entity": junk, "no_entity": junk}]
        )
        source = DiffVQA(root=root, images=root / "jpg")
        assert account(source, root) - source.items()[1].get("malformed_study", 0) == len(pairs)


CODE = st.lists(
    st.sampled_from(["left", "right", "base", "apex", "Opacity", "Cardiomegaly", "", "é", "bilateral"]), max_size=4
)


@few
@given(st.lists(st.lists(CODE.map("/".join), max_size=3), max_size=8))
def test_reasoning(codes):
    with folder() as root:
        vqa_trees.coded_tree(root, dict(enumerate([["normal"], *codes], 1)))
        items, dropped = OpenIReasoning(root=root).items()
        reports = len(items) + sum(n for reason, n in dropped.items() if reason != "beyond_the_balance")
        assert reports == len(codes) + 1
        vqa_trees.questions(OpenIReasoning(root=root), root / "images-made")
