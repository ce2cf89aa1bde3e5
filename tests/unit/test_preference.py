"""Preference training of one arm from the tables of a run folder, with the tiny policy and random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chexalign import ids
from chexalign.artifact import read_log
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.errors import UserError
from chexalign.losses.make import make_loss
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.recipe.blocks import TrainSpec
from chexalign.run_folder import SFT, RunFolder
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.train.examples import encode
from chexalign.train.mismatch import mismatched
from chexalign.train.pair_rows import completions_of, pair_rows, pair_targets
from chexalign.train.preference import PreferenceJob
from chexalign.train.ref_logps import RefLogpsWorker, ref_table, requests_of
from chexalign.types import Candidate, ImageRef, Pair, Prompt, Study

TEXTS = [
    "The heart is not enlarged. Both lungs are clear.",
    "There is a small effusion on the left side.",
    "A line ends in the upper vein.",
]
N = 6
SEED = 11
SPECS = {
    "dpo": {"algorithm": "dpo", "beta": 0.1},
    "lc_dpo": {"algorithm": "lc_dpo", "beta": 0.1, "alpha": 0.01},
    "ipo": {"algorithm": "ipo", "tau": 0.5},
    "kto": {"algorithm": "kto", "beta": 0.1},
    "orpo": {"algorithm": "orpo", "lambda": 0.5},
}


def spec(name: str, **more: Any) -> TrainSpec:
    return TrainSpec(**{"learning_rate": 1e-3, "epochs": 1, "global_batch": 4, **SPECS[name], **more})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(TEXTS, vocabulary=320)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), folder)
    return folder


@dataclass
class Fixed:
    """Rows that are there already."""

    rows: list[Any] = field(default_factory=list)

    def setup(self) -> None:
        pass

    def part(self, index: int) -> PartResult[Any]:
        return PartResult(self.rows)


def write(table: Table[Any], rows: list[Any]) -> None:
    run_parts(table, Fixed(rows), key=StageKey("given", {}, {"rows": [str(r) for r in rows]}, 0), n_parts=1)


def pair(i: int, prompt: int | None = None) -> Pair:
    """Text 1 before text 0 for even prompts, text 2 before text 1 for odd ones."""
    p = f"p{i if prompt is None else prompt}"
    a, b = (1, 0) if i % 2 == 0 else (2, 1)
    return Pair(f"pair{i}", p, f"{p}-{a}", f"{p}-{b}", 0.5, 1, "j@1", "rule")


def make_run(root: Path, checkpoint: Path, pairs: list[Pair], texts: list[str] = TEXTS) -> RunFolder:
    run = RunFolder(root)
    run.images.mkdir(parents=True)
    (root / "policy").mkdir()
    run.policy(SFT).symlink_to(checkpoint)
    studies = []
    for i in range(N):
        path = run.images / f"{i}.png"
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
        image = ImageRef(f"images/{i}.png", ids.file_sha256(path), "frontal", 128, 128, synthetic=True)
        studies.append(Study(f"s{i}", f"q{i}", (image,), None, TEXTS[0], None, (), "prefer", "made", "CC0-1.0"))
    write(run.studies, studies)
    write(run.prompts, [Prompt(f"p{i}", f"s{i}", "findings", f"Findings {i}:", "t@1") for i in range(N)])
    drawn = [(i, t) for i in range(N) for t in range(len(texts))]
    write(run.candidates, [Candidate(f"p{i}-{t}", f"p{i}", texts[t], 5, None, "stop", t, "sft") for i, t in drawn])
    write(run.pairs("arm"), pairs)
    return run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> RunFolder:
    """A run with six pairs and the reference log-probs of every text for every prompt; each arm has its own name."""
    pairs = [pair(i) for i in range(N)]
    run = make_run(tmp_path_factory.mktemp("runs") / "run", checkpoint, pairs)
    wanted = [(f"p{i}", f"p{j}-{t}") for i in range(N) for j in range(N) for t in range(len(TEXTS))]
    worker = RefLogpsWorker(run, requests_of(wanted), 2, weights="w")
    run_parts(ref_table(run), worker, key=StageKey("ref_logps", {}, {}, 0), n_parts=worker.n_parts)
    return run


def job(run: RunFolder, name: str, arm: str = "arm", **more: Any) -> PreferenceJob:
    values: dict[str, Any] = {
        "run_folder": run,
        "arm": arm,
        "train": spec(name),
        "compute": None,
        "frozen": ("vision",),
        "max_images": 2,
        "max_tokens": 512,
        "threads": 1,
        "key": StageKey("train", {}, {"name": name}, SEED),
    }
    return PreferenceJob(**(values | more))


@pytest.mark.parametrize("name", SPECS)
def test_every_algorithm_leaves_a_checkpoint_and_its_account(name: str, shared: RunFolder) -> None:
    write(shared.pairs(name), shared.pairs("arm").rows())
    job(shared, name, name).run()
    folder = shared.policy(name)
    manifest = Manifest.load(folder)
    assert manifest is not None
    assert (manifest.rows, manifest.dropped) == (N, {})
    assert manifest.extra["checks"]["prefix_sharing"]["shared"] is True
    assert not (folder / "steps").exists()
    expected = {"dpo": math.log(2), "ipo": 1 / (4 * 0.5**2), "kto": 0.5}
    if name in expected:
        assert read_log(folder)[0]["loss"] == pytest.approx(expected[name], abs=1e-4)
    before, after = (HFPolicy(f).model.state_dict() for f in (shared.policy(SFT), folder))
    changed = {key for key, value in after.items() if not value.equal(before[key])}
    assert changed
    assert not any("vision_tower" in key for key in changed)


def test_a_finished_arm_is_left_alone(shared: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shared.pairs("twice"), shared.pairs("arm").rows())
    job(shared, "dpo", "twice").run()
    monkeypatch.setattr("chexalign.train.preference.fit", lambda *a, **k: pytest.fail("it trained again"))
    job(shared, "dpo", "twice").run()


# From tables to rows --------------------------------------------------------------------------------------------------


def test_completions_of_a_pair() -> None:
    pairs = [pair(i) for i in range(4)]
    assert completions_of(pairs, mismatch_seed=None)[:2] == [("p0-1", "p0-0"), ("p1-2", "p1-1")]
    with_kl = completions_of(pairs, mismatch_seed=3)
    assert [c[:2] for c in with_kl] == completions_of(pairs, mismatch_seed=None)
    assert [c[2] for c in with_kl] == mismatched(pairs, seed=3)


def test_targets_hold_the_ask_and_the_texts_in_order(shared: RunFolder) -> None:
    pairs = shared.pairs("arm").rows()
    targets = pair_targets(shared, pairs, max_images=2, mismatch_seed=None)
    assert [t.id for t in targets] == [p.id for p in pairs]
    assert targets[1].texts == (TEXTS[2], TEXTS[1])
    assert targets[1].ask.prompt == "Findings 1:"
    assert targets[1].ask.images == (shared.images / "1.png",)
    assert pair_targets(shared, pairs, max_images=0, mismatch_seed=None)[1].ask.images == ()


def test_rows_take_the_log_prob_of_their_own_prompt_and_candidate(shared: RunFolder) -> None:
    """That of a mismatched completion is as an answer to this prompt, not to its own."""
    pairs, loss = shared.pairs("arm").rows(), make_loss(spec("kto"))
    policy = HFPolicy(shared.policy(SFT))
    examples = encode(policy, pair_targets(shared, pairs, max_images=2, mismatch_seed=SEED))
    rows = pair_rows(shared, pairs, examples, loss, seed=SEED)
    refs = {(r.prompt_id, r.candidate_id): r.sum_logp for r in ref_table(shared).iter_rows()}
    for p, row, other in zip(pairs, rows, mismatched(pairs, seed=SEED), strict=True):
        assert row.ref == (
            refs[p.prompt_id, p.chosen_id],
            refs[p.prompt_id, p.rejected_id],
            refs[p.prompt_id, other],
        )
    assert [row.ref for row in pair_rows(shared, pairs, examples, make_loss(spec("orpo")), seed=SEED)] == [()] * N


# Bad input ------------------------------------------------------------------------------------------------------------


def assert_refused(run: RunFolder, name: str, told: str, **more: Any) -> None:
    """Three lines without a word of a report, and no checkpoint begun."""
    with pytest.raises(UserError, match=told) as caught:
        job(run, name, **more).run()
    assert len(str(caught.value).splitlines()) == 3
    assert not any(word in str(caught.value) for word in ("heart", "effusion", "vein"))
    assert not list(run.policy("arm").glob("*"))


def test_equal_texts_are_refused_by_name(tmp_path: Path, checkpoint: Path) -> None:
    run = make_run(tmp_path / "run", checkpoint, [pair(0), pair(1)], [TEXTS[0], TEXTS[1], TEXTS[1]])
    assert_refused(run, "dpo", "The pair pair1 has the same text")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_completion_is_refused_by_name(text: str, tmp_path: Path, checkpoint: Path) -> None:
    run = make_run(tmp_path / "run", checkpoint, [pair(0), pair(1)], [TEXTS[0], TEXTS[1], text])
    assert_refused(run, "orpo", "A completion of pair1 is empty")


def test_kto_needs_pairs_of_several_prompts(tmp_path: Path, checkpoint: Path) -> None:
    run = make_run(tmp_path / "run", checkpoint, [pair(0, prompt=2), pair(1, prompt=2)])
    assert_refused(run, "kto", "All preferences are on answers to the same prompt")


def test_pairs_that_do_not_fit_leave_nothing_to_train_on(tmp_path: Path, checkpoint: Path) -> None:
    run = make_run(tmp_path / "run", checkpoint, [pair(0), pair(1)])
    assert_refused(run, "dpo", "The arm arm has no rows to train on", max_tokens=20)


def test_a_missing_image_is_refused_by_its_path(tmp_path: Path, checkpoint: Path) -> None:
    run = make_run(tmp_path / "run", checkpoint, [pair(0), pair(1)])
    (run.images / "1.png").unlink()
    assert_refused(run, "orpo", r"images/1\.png is missing")


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    from chexalign.recipe.blocks import ComputeSpec

    run = make_run(tmp_path / "run", checkpoint, [pair(0), pair(1)])
    assert_refused(run, "orpo", "global batch of 4 cannot be cut", compute=ComputeSpec(per_device_batch=3))


def test_reference_log_probs_of_another_policy_stop_training(
    shared: RunFolder, tmp_path: Path, checkpoint: Path
) -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=320)
    other = tmp_path / "other"
    save_checkpoint(build_model(tokenizer, seed=4), build_processor(tokenizer), other)
    run = make_run(tmp_path / "run", other, [pair(i) for i in range(N)])
    write(ref_table(run), ref_table(shared).rows())
    with pytest.raises(UserError, match=r"those of the reference policy|that equals its reference"):
        job(run, "dpo").run()
    assert Manifest.load(run.policy("arm")) is None


def test_long_pairs_are_dropped_and_counted(shared: RunFolder) -> None:
    write(shared.pairs("long"), shared.pairs("arm").rows())
    pairs = shared.pairs("arm").rows()
    policy = HFPolicy(shared.policy(SFT))
    lengths = sorted(e.longest for e in encode(policy, pair_targets(shared, pairs, max_images=2, mismatch_seed=None)))
    assert lengths[0] < lengths[-1]
    job(shared, "dpo", "long", max_tokens=lengths[-1] - 1).run()
    manifest = Manifest.load(shared.policy("long"))
    assert manifest is not None
    too_long = sum(n == lengths[-1] for n in lengths)
    assert (manifest.rows, manifest.dropped) == (N - too_long, {"longer_than_the_context": too_long})
