"""Pairs of mined questions are counted, exported, compared and described like those of reports."""

from __future__ import annotations

import json
import re
import stat

import pyarrow.parquet as pq
import pytest

from chexalign.cards.write import cards
from chexalign.cli import main
from chexalign.compare.comparison import compare_runs
from chexalign.compare.long_form import rows
from chexalign.compare.side import open_sides
from chexalign.errors import UserError
from chexalign.mine.export import export_mined
from chexalign.mine.pair_audit import mined_audit
from chexalign.pairs.export_formats import FORMATS
from chexalign.recipe.load import load_recipe
from chexalign.sweep.trials import choose
from tests.compared_runs import ARM, SOURCE, recipe
from tests.mined_answers import LICENSE, MINE, mined_run
from tests.recipes import MINING, writer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return mined_run(tmp_path_factory.mktemp("runs") / "mined")


def test_a_question_without_a_wrong_answer_is_counted_and_lengths_are_told(run):
    audit = run.pairs("dpo_mined").info(0).extra["audit"]
    assert (audit["n_prompts"], audit["n_pairs"], audit["dropped"]) == (4, 3, {"no_wrong_answer": 1})
    assert [pair.id for pair in run.pairs("dpo_mined").iter_rows()] == ["q0", "q1", "q2"]
    assert audit["chosen"]["words"] == {"mean": 4.0, "median": 4.0, "sd": 0.0}
    assert audit["rejected"]["words"]["mean"] == pytest.approx((7 + 4 + 1) / 3)
    assert audit["delta_words"]["mean"] == pytest.approx(0.0)
    assert (audit["chosen_longer_words"], audit["equal_words"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert audit["origins"] == {"own": 1, "rules": 2}
    assert audit["edits"] == {"negation": 1, "own": 1, "side": 1}
    assert audit["kinds"] == {"basic": 2, "region": 1}
    assert (audit["n_patients"], audit["most_pairs_of_a_patient"]) == (2, 2)


def test_no_pairs_have_no_fractions():
    audit = mined_audit([], {}, {"no_wrong_answer": 2})
    assert (audit.n_prompts, audit.n_pairs, audit.chosen.words.mean, audit.words_excess) == (2, 0, None, None)
    assert (audit.equal_words, audit.most_pairs_of_a_patient) == (None, None)


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_has_the_question_its_images_and_both_answers(run, tmp_path, format):
    to = tmp_path / "out"
    manifest = export_mined(run, SOURCE, run.pairs("dpo_mined"), to, format=format, max_images=2)
    if format.startswith("trl"):
        found = pq.read_table(to / "train.parquet").to_pylist()
        assert "Is it 0?" in found[0]["prompt"][0]["content"]
        assert "yes" in found[0]["prompt"][0]["content"]
        assert found[0]["images"] == [{"bytes": None, "path": str((run.root / "images/0.png").absolute())}]
    else:
        found = [json.loads(line) for line in (to / "train.jsonl").read_text().splitlines()]
    assert len(found) == manifest.rows == (6 if format == "trl-unpaired" else 3)
    assert manifest.extra["licenses"] == [LICENSE]
    assert manifest.inputs.keys() == {"pairs/dpo_mined"}
    assert stat.S_IMODE((to / "README.md").stat().st_mode) == 0o600
    told = (to / "README.md").read_text()
    assert "# Preferences on answers about chest X-rays" in told
    assert "| questions left out | no_wrong_answer 1 |" in told
    assert f"License of the studies: {LICENSE}" in told
    assert "normalized" not in told
    assert "Is it" not in told


def test_json_lines_say_what_an_answer_was_edited_by(run, tmp_path):
    export_mined(run, SOURCE, run.pairs("dpo_mined"), tmp_path / "out", format="jsonl", max_images=2)
    row = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[1])
    assert (row["chosen"], row["rejected"]) == ("Yes. It is there.", "No. It is gone.")
    assert (row["answers"], row["rejected_answers"], row["edit"], row["origin"]) == (
        ["yes"],
        ["no"],
        "negation",
        "rules",
    )
    assert (row["study_id"], row["patient_id"], row["rule"]) == ("s1", "p0", "mined.rules.negation")
    assert "reference" not in row


def test_the_command_exports_a_mined_arm(run, tmp_path, capsys):
    arguments = ["export", str(run.recipe), "--runs", str(run.root.parent), "--to", str(tmp_path / "out")]
    assert main.main([*arguments, "--arm", "sft_mined", "--format", "jsonl"]) == 0
    assert "3 rows" in capsys.readouterr().out
    assert main.main(arguments) == 2
    assert "the arms of the recipe are dpo_mined, sft_mined" in capsys.readouterr().err


def test_tables_of_a_comparison_have_mined_arms(run):
    side = open_sides([run.root])[0]
    assert side.policies == ["sft", "dpo_mined", "sft_mined"]
    assert [side.algorithm(name) for name in side.policies] == ["sft", "dpo", "sft"]
    found = compare_runs([run.root])
    grids = {grid.number: grid for grid in found.grids}
    first = {line.system: [cell.text for cell in line.cells] for line in grids["1"].lines}
    assert first["dpo_mined"][:3] == ["dpo", "right answers", "set mined"]
    assert first["sft_mined"][:4] == ["sft", "right answers", "set mined", "–"]
    eight = {line.system: line.cells for line in grids["8"].lines}
    assert eight["dpo_mined, rejected"][0].why.endswith("they have no score")
    words = eight["dpo_mined, chosen"][3].estimate
    assert (words.value, words.n, words.n_clusters, words.split) == (4.0, 3, 2, "train")
    assert {line.system for line in grids["3"].lines} == {"sft", "dpo_mined", "sft_mined"}
    assert list(rows(found))


def test_cards_say_what_a_mined_arm_learned_from(run):
    found = cards(run.root)
    assert list(found) == [f"{arm}-{what}.md" for arm in MINE["arms"] for what in ("model", "preferences")] + [
        "data.md"
    ]
    for text in (found["dpo_mined-model.md"], found["dpo_mined-preferences.md"]):
        plain = re.sub(r"\[\^\d+\]", "", text)
        assert "## What it learned from" in plain
        assert "Set: `mined`, questions that the SFT policy fails, taken as `most_confident_wrong`, and" in plain
        assert (
            "Found among: 40 questions that SFT learned from; the SFT policy was asked 20 of them and failed 6."
            in plain
        )
        assert "Taken: basic 4; there were too few of: region 2." in plain
        assert "Wrong answers by origin: own 1, rules 2." in plain
        assert "9 proposals were looked at for all sets, rejected too_long 5." in plain
        assert f"- {LICENSE}: 40 rows of `questions/{SOURCE}`" in plain
        assert "| `mine/counterfactuals` | 3 | none |" in plain
        assert "| `pairs/dpo_mined` | 3 | no_wrong_answer 1 |" in plain
        assert "It is there" not in plain
        assert "candidates" not in plain
        for number in re.findall(r"\[\^(\d+)\]", text):
            assert re.search(rf"^\[\^{number}\]: ", text, re.M)
    assert re.search(r"\| all questions: accuracy\[\^\d+\] \| 0\.500 .*\| 40 / 20 \|", found["dpo_mined-model.md"])
    assert "gained over that of `sft` and relative to it: +0.500 [+0.400, +0.800]" in found["dpo_mined-model.md"]
    assert "gained over" not in found["sft_mined-model.md"]
    assert "Only the right answers were learned" in found["sft_mined-model.md"]
    assert "Only the right answers were learned" not in found["dpo_mined-model.md"]
    assert next(iter(cards(run.root, "sft_mined"))) == "sft_mined-model.md"


def test_every_footnote_of_a_mined_arm_names_a_file_that_is_there(run):
    for text in cards(run.root, "dpo_mined").values():
        for file in set(re.findall(r"^\[\^\d+\]: `(.+?)`: ", text, re.M)):
            assert list(run.root.glob(file)), file


def test_a_sweep_of_a_mined_arm_is_refused(run, tmp_path):
    mining = load_recipe(writer(tmp_path)(text=MINING), ["data.split.validation=20"])
    with pytest.raises(UserError, match="no arm that learns from candidates") as caught:
        choose(mining, None, None)
    assert len(str(caught.value).splitlines()) == 3
    both = recipe("both", ["green"], mine=MINE, questions={"collections": [{"source": SOURCE, "sft": 40}]})
    both = both.model_validate(
        both.to_dict() | {"data": {"source": "x", "split": {"prefer": 4, "test": 3, "validation": 3}}}
    )
    with pytest.raises(UserError, match="--arm dpo_mined") as caught:
        choose(both, "dpo_mined", None)
    assert ARM in caught.value.fix
    chosen = choose(both, ARM, None)
    assert chosen.baseline.mined_arms() == {}


@pytest.mark.parametrize("verb", ["sample", "judge"])
def test_verbs_of_candidates_are_refused_where_nothing_learns_from_them(verb, run, capsys, monkeypatch):
    monkeypatch.setattr("chexalign.cli.checks.check_names", lambda recipe: None)
    assert main.main([verb, str(run.recipe), "--runs", str(run.root.parent)]) == 2
    err = capsys.readouterr().err
    assert "has no arm that learns from candidates" in err
    assert "chexalign mine" in err
