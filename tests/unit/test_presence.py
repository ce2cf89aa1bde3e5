"""The stage that teaches the tiny decoder yes and no: both equally often, about every phantom, the tower untouched."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from chexalign import artifact
from chexalign.demo.presence import PresenceJob
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.demo.tower import PhantomsWorker, phantom_table
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest
from tests.compared_runs import finished
from tests.prepared import image, picture, study

CODES = (("normal",), ("Cardiomegaly",), ("Pleural Effusion/left",), ("normal",))
SPLITS = ("sft", "prefer", "test")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    rows = [
        study(n, SPLITS[n % 3], [image(folder.root, f"{n}.png", picture(n, 128))], codes=CODES[n % 4])
        for n in range(36)
    ]
    finished(folder.studies, rows)
    run_parts(phantom_table(folder), PhantomsWorker(folder, 1, 36), key=StageKey("phantoms", {}, {}, 0), n_parts=1)
    tokenizer = train_tokenizer(["Is there an effusion? Yes. No."])
    save_checkpoint(build_model(tokenizer, seed=1), build_processor(tokenizer), folder.pretrained("caption"))
    return folder


def job(run, n, seed=1):
    return PresenceJob(run, n, threads=1, key=StageKey("presence", {}, {"examples": n}, seed))


def test_both_answers_are_right_equally_often_and_no_evaluated_patient_is_asked_about(run):
    policy = HFPolicy(run.pretrained("caption"))
    examples = job(run, 8)._examples(policy, phantom_table(run).rows())
    answers = Counter(policy.tokenizer.decode(e.completions[0], skip_special_tokens=True).strip() for e in examples)
    assert answers["Yes."] == answers["No."] == len(examples) / 2 > 0
    about = Counter(key for e in examples for key in e.images)
    drawn = {p.key for p in phantom_table(run).rows()}
    assert sum(about[key] for key in drawn) == len(examples) / 2, "each is asked about its image and its phantom"
    held_out = {str(run.image_path(s.images[0])) for s in run.studies.iter_rows() if s.split == "test"}
    assert held_out.isdisjoint(about)


def test_the_decoder_changes_and_the_tower_does_not(run):
    job(run, 12).run()
    folder = run.pretrained("presence")
    manifest = Manifest.load(folder)
    assert manifest is not None
    assert (manifest.rows, manifest.dropped) == (12, {})
    before, after = (HFPolicy(run.pretrained(part)).model.state_dict() for part in ("caption", "presence"))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if "vision_tower" in name} <= same < before.keys()
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    job(run, 12).run()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert artifact.finished(folder, replace(job(run, 12).key, seed=2)) is None
