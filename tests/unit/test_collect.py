"""What a report takes from a run: its cases and their images, curves, stages, and what trainings warned of."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign import artifact
from chexalign.evaluate.reports import PolicyResults
from chexalign.judges.chexpert import LABELS
from chexalign.present import collect, collect_cases, collect_run
from chexalign.recipe.judges import JudgeSpec
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey
from chexalign.store import Manifest
from chexalign.types import ImageRef, Prediction, Study
from tests.scored_runs import finished

N = 30
KEY = StageKey("train", {}, {}, 11)


def study(number: int) -> Study:
    return Study(f"s{number:02}", f"p{number:02}", (), None, "The lungs are clear.", None, (), "test", "hand", "none")


STUDIES = [study(i) for i in range(N)]


def results(name: str, values: list[float], called: tuple[str, ...] = ()) -> PolicyResults:
    labels = np.zeros((N, len(LABELS)), dtype=bool)
    labels[:, [LABELS.index(label) for label in called]] = True
    return PolicyResults(name, labels, {"chexpert": np.array(values), "words": np.full(N, 4.0)})


def written(run: RunFolder, *policies: str) -> RunFolder:
    for policy in policies:
        finished(run.predictions(policy), [Prediction(s.id, policy, f"Clear, {policy}.", 3, "stop") for s in STUDIES])
    return run


def test_every_study_is_a_case_in_its_order(tmp_path: Path):
    run = written(RunFolder(tmp_path), "sft", "arm")
    before, after = results("sft", [0.0] * N), results("arm", [1.0] * (N - 1) + [float("nan")], ("Edema", "No Finding"))
    cases, gone = collect_cases.collect_cases(run, STUDIES, [before, after], ["chexpert"], threads=2)
    assert [case.study_id for case in cases] == [s.id for s in STUDIES]
    assert gone == 0
    assert cases[0].texts == {"sft": "Clear, sft.", "arm": "Clear, arm."}
    assert cases[0].labels == {"sft": [], "arm": ["Edema"]}
    assert cases[0].scores["arm"] == {"chexpert": 1.0, "words": 4.0}
    assert np.isnan(cases[-1].scores["arm"]["chexpert"])


def test_images_are_small_gray_jpegs_and_missing_ones_are_counted(tmp_path: Path):
    run = written(RunFolder(tmp_path), "sft")
    Image.linear_gradient("L").resize((900, 600)).convert("RGB").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refs = [ImageRef(name, "0" * 64, "frontal", 600, 900, synthetic=True) for name in ("a.png", "broken.png", "no.png")]
    studies = [dataclasses.replace(study, images=(ref,)) for study, ref in zip(STUDIES, refs, strict=False)]
    images, gone = collect_cases.all_images(run, studies, threads=2)
    assert gone == 2
    assert [len(found) for found in images] == [1, 0, 0]
    with Image.open(BytesIO(images[0][0].jpeg)) as opened:
        assert (opened.format, opened.mode, opened.size) == ("JPEG", "L", (256, 171))


def test_images_that_would_not_fit_are_stored_smaller():
    assert collect_cases.fits([10_000, 12_000], 100, budget=1_500_000)
    assert not collect_cases.fits([10_000, 12_000], 100, budget=1_400_000)
    assert collect_cases.fits([], 0, budget=1)


@pytest.mark.parametrize(("budget", "side"), [(10**6, 256), (30_000, 192), (1, 64)])
def test_the_size_of_images_follows_from_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget, side):
    monkeypatch.setattr(collect_cases, "_IMAGE_BYTES", budget)
    noise = np.random.default_rng(0).integers(0, 256, (500, 500), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    ref = ImageRef("a.png", "0" * 64, "frontal", 500, 500)
    images, _ = collect_cases.all_images(
        RunFolder(tmp_path), [dataclasses.replace(STUDIES[0], images=(ref, ref))], threads=1
    )
    with Image.open(BytesIO(images[0][0].jpeg)) as opened:
        assert opened.size == (side, side)


def test_the_findings_of_a_text_leave_no_finding_apart():
    row = np.array([label in ("No Finding", "Edema", "Cardiomegaly") for label in LABELS])
    assert collect_cases.findings(row) == ["Cardiomegaly", "Edema"]


def test_a_labeler_is_told_with_what_it_counts_as_positive():
    plain, strict = JudgeSpec(name="chexbert"), JudgeSpec(name="chexbert", options={"uncertain": "negative"}, label="s")
    assert collect.labelers([plain, JudgeSpec(name="rouge_l"), strict]) == {
        "chexbert": "an uncertain label counts as positive; texts are cleaned before labeling",
        "chexbert-s": "an uncertain label counts as negative; texts are cleaned before labeling",
    }


def test_curves_are_the_logged_numbers_by_step(tmp_path: Path):
    run = RunFolder(tmp_path)
    folder = run.policy("dpo_label")
    folder.mkdir(parents=True)
    log = [{"step": 1, "loss": 0.69, "accuracy": 0.0}, {"step": 2, "loss": 0.6, "lr": 1e-4}]
    artifact.finish(folder, KEY, rows=2, seconds=1.0, log=log)
    loss, accuracy = collect_run.training_curves(run)
    assert (loss.stage, loss.name, tuple(loss.x), tuple(loss.y)) == ("dpo_label", "loss", (1, 2), (0.69, 0.6))
    assert (accuracy.name, tuple(accuracy.x)) == ("accuracy", (1,))


def test_stages_are_told_with_their_drops_and_processes(tmp_path: Path):
    run = RunFolder(tmp_path)
    for folder, parts, dropped in ((run.studies.folder, 3, {"no_image": 2}), (run.pairs("a").folder, 1, {})):
        folder.mkdir(parents=True)
        Manifest("s", "f", {}, {}, 1, 10, dropped, "c", 1.5, parts=parts, extra={"workers": 2}).save(folder)
    studies, pairs = collect_run.stage_rows(run)
    assert (studies.name, studies.rows, studies.dropped, studies.worker) == (
        "studies",
        10,
        {"no_image": 2},
        "2 processes",
    )
    assert (pairs.name, pairs.worker, pairs.seconds) == ("pairs/a", "", 1.5)


def test_a_run_without_trainings_and_stages_has_none(tmp_path: Path):
    assert collect_run.training_curves(RunFolder(tmp_path)) == []
    assert collect_run.stage_rows(RunFolder(tmp_path)) == []


def test_what_trainings_warned_of_is_told(tmp_path: Path):
    run = RunFolder(tmp_path)
    checks = {
        "warned": {"prefix_sharing": {"shared": True}, "warnings": {"length_drift": "margins follow length"}},
        "slow": {"prefix_sharing": {"shared": False, "reason": "its attention takes no mask"}, "warnings": {}},
        "fine": {"prefix_sharing": {"shared": True}, "warnings": {}},
    }
    for name, found in checks.items():
        run.policy(name).mkdir(parents=True)
        artifact.finish(run.policy(name), KEY, rows=1, seconds=1.0, extra={"checks": found})
    assert collect_run.training_notes(run, [*checks, "missing"]) == [
        "While warned was trained: margins follow length.",
        "slow was trained without sharing prompts: its attention takes no mask.",
    ]
