"""The sections on mined questions: what was mined, why, and that a run without, or not yet, has a report as well."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from chexalign.evaluate.numbers import Numbers
from chexalign.present import mining_page
from chexalign.present.collect import MINING_TITLE, TITLE, collect
from chexalign.present.collect_mining import MOST_SHOWN, collect_mining, most_telling, not_evaluated
from chexalign.present.data import BASELINE, ReportData
from chexalign.present.html import render_report
from chexalign.present.metrics import metric_info
from chexalign.present.mining_blocks import image_blocks, mined_index, question_blocks
from chexalign.present.mining_data import Mining, WrongAnswers
from chexalign.present.mining_plots import calibration_plot, purity_plot
from chexalign.present.mining_words import rule_words, why
from chexalign.present.numbers import EstimateIndex
from chexalign.present.svg import policy_styles
from chexalign.recipe import Recipe
from chexalign.run_folder import RunFolder
from chexalign.types import Estimate, MinedItem
from tests.compared_runs import recipe as plain_recipe
from tests.mined_reports import ARMS, N_SEEDS, NASTY, SETS, mined_run, recipe
from tests.unit.test_present_html import report

POLICIES = [BASELINE, "sft_shuffled", *ARMS]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return mined_run(tmp_path_factory.mktemp("runs") / "mine")


@pytest.fixture(scope="module")
def made() -> Recipe:
    return recipe("mine")


@pytest.fixture(scope="module")
def mining(run: RunFolder, made: Recipe) -> Mining:
    found = collect_mining(run, made)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def html(run: RunFolder, made: Recipe) -> str:
    return render_report(collect(run, made, POLICIES))


def quick(data: ReportData) -> str:
    """The report without what takes long to draw."""
    assert data.mining is not None
    mining = dataclasses.replace(data.mining, purity=(), calibration=())
    return render_report(dataclasses.replace(data, estimates=[], more=Numbers(), mining=mining, cases=[]))


def item(name: str, rank: int, seed: str | None = "s", distance: float | None = 0.25) -> MinedItem:
    return MinedItem(name, "basic", seed, rank, distance, 0.9, right=False)


def test_a_recipe_that_only_mines_has_a_report(html):
    sections = re.findall(r'<section id="(\w+)"', html)
    assert sections[-6:] == ["tax", "types", "mining", "cases", "training", "method"]
    assert f"<title>{MINING_TITLE}</title>" in html
    claims = re.findall(r'class="claim (\w+)">.*?<p class="text">([^<]+)', html, re.DOTALL)
    assert ("yes", "dpo_mined: learning from the set mined makes answers more accurate.") in claims
    assert ("yes", "dpo_mined: the set teaches more than as many questions at random do.") in claims
    assert not any(text.startswith("sft_mined: the set teaches") for _, text in claims), "it learned in another way"
    assert "Synthetic images. Read this first." in html
    assert "after learning from the set random" in html


def test_every_text_of_a_question_is_escaped(html, run):
    assert NASTY not in html
    assert "<img" not in html
    assert [kind for kind in re.findall(r"<script([^>]*)>", html) if "application/json" not in kind] == [""]
    assert "http" not in re.sub(r'http-equiv="Content', "", html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert sorted(ids) == sorted(set(ids))


def test_the_tables_tell_what_was_counted(html, mining):
    assert mining.unfinished == []
    assert [made.select for made in mining.sets] == list(SETS)
    made = {one.select: one for one in mining.sets}
    assert (made["mined"].arms, made["random"].arms) == (["dpo_mined", "sft_mined"], ["dpo_random"])
    assert made["mined"].seeds == N_SEEDS // 2
    assert made["random"].wanted == {}
    assert made["confidence"].failed == made["confidence"].asked == N_SEEDS
    assert made["mined"].without_wrong is not None
    assert 0 < made["mined"].without_wrong < N_SEEDS
    assert "wanted 30 of 60, <b>short 2</b>" in html
    assert "3 failures have no confidence" in html
    rows = mining_page.count_rows(mining)
    assert [name for name, _, _ in rows][:3] == ["questions that SFT learned from", "asked again", "failed"]
    assert rows[0][2] == 240
    assert mining.wrong is not None
    assert sum(n for ways in mining.wrong.ways.values() for n in ways.values()) == len(mining.wrong.chosen_words)
    assert mining.wrong.turned_down == {"same_labels": 12, "too_long": 3}
    assert "<b>12</b> same labels" in html


def test_seeds_come_first_and_neighbors_have_their_share():
    seeds, near = [item(f"s{i}", 0) for i in range(100)], [item(f"n{i}", 1) for i in range(200)]
    shown = most_telling([*seeds, *near], 60)
    assert [row.question_id for row in shown[:3]] == ["s0", "s3", "s6"]
    assert [row.rank for row in shown] == [0] * 30 + [1] * 30
    assert [row.rank for row in most_telling([*seeds, *near[:5]], 60)] == [0] * 55 + [1] * 5
    assert [row.rank for row in most_telling([*seeds[:5], *near], 60)] == [0] * 5 + [1] * 55
    assert most_telling([*seeds[:2], *near[:1]], 60) == [*seeds[:2], *near[:1]]


def test_why_a_question_is_there():
    assert why(item("q", 0), "mined", "most_confident_wrong") == (
        "Seed: the policy is confidently wrong, with confidence 0.900."
    )
    assert why(item("q", 0), "confidence", "least_confident") == (
        "Seed: the policy is wrong and unsure, with confidence 0.900."
    )
    assert why(item("q", 3), "mined", "most_confident_wrong") == "Neighbor 3 of the seed s, at distance 0.250."
    assert why(item("q", 2, distance=None), "mined", "most_confident_wrong") == "Neighbor 2 of the seed s."
    assert why(item("q", 0), "similarity", "most_confident_wrong").startswith("Seed: drawn at random")
    assert why(item("q", 0, seed=None), "random", "most_confident_wrong") == "Drawn at random."


def test_the_rule_is_told_as_the_recipe_has_it(made):
    words = rule_words(made.mine)
    assert words["likeness"] == "q+e+d+v, the 10 nearest of each seed by exact search"
    assert words["seeds"] == f"{N_SEEDS} wrong answers, the surest first"
    assert made.mine is not None
    own = made.mine.model_copy(update={"likeness": {"question": 2.0, "image": -1.0}, "ask": 1500})
    assert rule_words(own)["likeness"].startswith("question 2, image -1,")
    assert rule_words(own)["asked"] == "1,500 of them, spread evenly"


def test_the_index_and_the_blocks_agree(mining):
    index, blocks = json.loads(mined_index(mining)), [json.loads(block) for block in question_blocks(mining)]
    images = [json.loads(block) for block in image_blocks(mining)]
    assert index["sets"] == list(SETS)
    for number in range(len(SETS)):
        assert 0 < sum(row[0] == number for row in index["items"]) <= MOST_SHOWN
    for _, _, question, seed, rank, text, origin, _ in index["items"]:
        assert (seed is None) == (text == "Drawn at random.")
        assert rank == 0 or index["ids"][seed] in text
        assert (blocks[question]["wrong"] or {"origin": None})["origin"] == origin
        assert index["told"][question] == blocks[question]["told"][1:]
    assert {len(block["images"]) for block in blocks} == {1, 2}
    assert ["current exam, frontal", "earlier exam, frontal"] in [[name for _, name in b["images"]] for b in blocks]
    assert max(place for block in blocks for place, _ in block["images"]) == len(images) - 1
    assert len(images) < len(blocks), "an image that questions share is there once"
    assert all(image[:2] == ["frontal", True] for image in images)


def test_the_rejected_text_is_marked_against_the_chosen_one(mining):
    blocks = {shown.question.id: json.loads(block) for shown, block in _with_blocks(mining)}
    found = next(b for b in blocks.values() if b["right"].startswith("Larger.") and b["wrong"])
    kinds = [kind for kind, _ in found["wrong"]["sentences"]]
    assert "added" in kinds
    nasty = next(b for b in blocks.values() if b["text"] == NASTY)
    assert nasty["text"] == NASTY


def _with_blocks(mining):
    return zip(mining.questions, question_blocks(mining), strict=True)


def test_no_text_ends_its_block(mining):
    for block in (mined_index(mining), *question_blocks(mining), *image_blocks(mining)):
        assert not set("<>&") & set(block)


def test_an_image_that_is_gone_is_counted(run, made, tmp_path):
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(run.root, copy.root)
    (copy.images / "00.png").unlink()
    found = collect_mining(copy, made)
    assert found is not None
    assert found.gone == 1
    assert any(len(shown.images) < len(shown.question.images) for shown in found.questions)
    assert "1 images could not be read" in quick(collect(copy, made, POLICIES))


def test_answers_are_compared_by_type(html, run, made):
    data = collect(run, made, POLICIES)
    index = EstimateIndex(data.estimates)
    groups = dict(mining_page.type_groups(data, index))
    assert mining_page.other_baselines(index) == ["dpo_random"]
    accuracy = {row.name: row for row in groups["Accuracy"]}
    assert list(accuracy)[:4] == ["all questions", "basic", "region", "compare"]
    mined, sft = accuracy["all questions"].cells[1], accuracy["all questions"].cells[0]
    assert (mined.cell.verdict, sft.cell.difference, sft.against) == ("better", None, ())
    assert [(name, says) for name, _, says in mined.against] == [("dpo_random", "better")]
    (hallucination,) = groups["Hallucination rate"]
    assert (hallucination.name, hallucination.info.better) == ("all questions", -1)
    assert "against dpo_random" in html
    gains = groups["Relative gain in accuracy"][0].cells[1]
    assert gains.cell.value is None
    assert gains.cell.difference is not None
    assert metric_info("vqa.all.relative_gain").group == "Types"
    for name in ("gains-by-type", "purity", "asked", "calibration-all", "calibration-region", "mined-words"):
        assert f'id="{name}-figure_1"' in html


def test_types_of_question_are_told_without_mining_too():
    rows = [
        Estimate("vqa.all.accuracy", policy, "test", 0.5, 0.4, 0.6, 0.9, 50, 40, "by hand") for policy in ("sft", "arm")
    ]
    gain = Estimate("vqa.all.accuracy", "arm", "test", 0.1, 0.05, 0.2, 0.9, 50, 40, "by hand", "sft")
    html = render_report(report(estimates=[*rows, gain]))
    assert '<section id="types"' in html
    assert '<section id="mining"' not in html
    assert "learned from as many questions drawn at random" not in html


def test_a_run_without_mining_says_nothing_of_it(run):
    assert collect_mining(run, plain_recipe("plain", ["rouge_l"])) is None
    html = render_report(report(estimates=[], cases=[], curves=[], pair_sets=[]))
    assert 'id="mined-index"' not in html
    assert 'href="#mining"' not in html
    assert TITLE != MINING_TITLE


@pytest.mark.parametrize("without", [("counterfactuals",), ("found", "mined"), ("answers", "found", *SETS)])
def test_what_is_not_finished_is_named_and_the_rest_goes_on(tmp_path: Path, made: Recipe, without: tuple[str, ...]):
    if "answers" in without:
        without = (*without, "counterfactuals", *ARMS)
    run = mined_run(tmp_path / "mine", without=without)
    data = collect(run, made, POLICIES)
    assert data.mining is not None
    places = {"answers": "mine/answers", "found": "mine/found.json", "counterfactuals": "mine/counterfactuals"}
    expected = {places.get(name, f"mine/sets/{name}") for name in without if name not in ARMS}
    assert set(data.mining.unfinished) == expected
    html = quick(data)
    assert "Mining is not finished." in html
    assert all(name in html for name in expected)
    if "answers" in without:
        assert not_evaluated(run, made) == list(ARMS)
        assert data.policies == [BASELINE]
        assert "Not evaluated yet, and not shown: dpo_mined, dpo_random" in html


def test_plots_of_nothing_are_none(mining):
    style = policy_styles([BASELINE])[BASELINE]
    empty = dataclasses.replace(mining.purity[0], curve=(), base_rate=None)
    assert purity_plot([empty], style, "q+e") is None
    assert calibration_plot([], "x") is None
    unknown = Estimate("vqa.all.ece", "sft", "train", None, None, None, 0.9, 0, 0, "no value: nothing to average")
    panels = mining_page.asked_panels(mining, {BASELINE: style})
    none = dataclasses.replace(panels[0], shown=dataclasses.replace(panels[0].shown, ece=unknown))
    assert calibration_plot([none], "x") is None


def test_lengths_of_no_pair_are_nothing():
    wrong = WrongAnswers({}, 0, {}, {}, [], [])
    assert (mining_page.length_sides(wrong), mining_page.longer(wrong), mining_page.origins(wrong)) == ([], {}, [])
    some = WrongAnswers({}, 3, {}, {"own": {"own": 2}}, [3, 5, 4], [3, 4, 6])
    assert mining_page.longer(some) == pytest.approx(
        {"chosen longer": 1 / 3, "as long": 1 / 3, "rejected longer": 1 / 3}
    )
    assert [(side.name, side.mean, side.median, side.most) for side in mining_page.length_sides(some)] == [
        ("chosen", 4.0, 4, 5),
        ("rejected", pytest.approx(13 / 3), 4, 6),
    ]
