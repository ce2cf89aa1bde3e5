"""Mining from end to end in small: one whole run, and copies of it that are mined again, killed and damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from chexalign import atomic
from chexalign.cli import main
from chexalign.cli.mine import STAGES
from chexalign.data.answers import matches
from chexalign.evaluate.stage import read_numbers
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest, Table

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(find_spec("torchxrayvision") is None, reason="torchxrayvision is not installed: no reports"),
]

ROOT = Path(__file__).resolve().parents[2]
NAME, SOURCE = "chexpo-quick", "openi-phantom-questions"
SPLIT = "{sft: 40, prefer: 4, validation: 4, test: 12}"
TRAIN = "algorithm: dpo, beta: 0.1, learning_rate: 2.0e-4, max_steps: 2, global_batch: 4"
MINED = {
    "dpo_mined": "{select: mined}",
    "dpo_random": "{select: random}",
    "dpo_confidence": "{select: confidence}",
    "dpo_similarity": "{select: similarity}",
    "sft_mined": "{select: mined, train: {algorithm: sft}}",
    "kto_mined": "{select: mined, train: {algorithm: kto, beta: 0.1}}",
    "orpo_mined": "{select: mined, train: {algorithm: orpo, lambda: 0.5}}",
}
SELECTS = ("mined", "random", "confidence", "similarity")
SMALL = [
    f"data.split={SPLIT}",
    "policy.tiny={vision_epochs: 1, language_epochs: 4, caption_epochs: 1, presence: 24, variants: 1}",
    "sft={epochs: 5, learning_rate: 2.0e-3, global_batch: 8}",
    f"questions.collections=[{{source: {SOURCE}, options: {{split: {SPLIT}}}, sft: 120, limit: 16}}]",
    *("questions.max_new_tokens=32", "mine.max_new_tokens=32", "mine.batch_size=20"),
    "mine.confidence={aggregate: geometric_mean, span: output}",
    *("mine.seeds=6", "mine.k=5", "mine.share=0.1", f"mine.train={{{TRAIN}}}"),
    f"mine.arms={{{', '.join(f'{name}: {arm}' for name, arm in MINED.items())}}}",
    "sample={n: 2, max_new_tokens: 16, part_size: 4}",
    f"arms={{dpo_judged: {{judge: rouge_l, pairs: {{rule: best_worst}}, train: {{{TRAIN}}}}}}}",
    "evaluate={metrics: [rouge_l], bootstrap: 50, max_new_tokens: 24}",
    *("threads=1", "workers=1"),
]
_SECONDS = 1200


def arguments(runs: Path, verb: str, *more: str) -> list[str]:
    settings = [part for item in (*SMALL, *more) for part in ("--set", item)]
    return [verb, "chexpo/quick", "--runs", str(runs), *settings]


def go(runs: Path, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chexalign.cli.main", *arguments(runs, verb, *more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)


def mine(runs: Path, *more: str) -> None:
    assert main.main([*arguments(runs, "mine"), *more]) == 0


def tables(run: RunFolder) -> dict[str, Table[Any]]:
    """Every table of mining, by the stage that makes it and its name."""
    return {
        "confidence answers": run.mine_answers,
        **{f"retrieve {select}": run.mined(select) for select in SELECTS},
        "counterfactual counterfactuals": run.counterfactuals,
        **{f"pairs {arm}": run.pairs(arm) for arm in MINED},
    }


def account(runs: Path) -> dict[str, Any]:
    """What mining made, clocks apart: rows and manifests of all tables, what was found, and the features."""
    run = RunFolder(runs / NAME)
    found: dict[str, Any] = {"found": atomic.read_json(run.mine_found)}
    for name, table in tables(run).items():
        manifest = Manifest.load(table.folder)
        assert manifest is not None, name
        found[name] = (table.rows(), manifest.fingerprint, manifest.content, manifest.dropped)
    for path in sorted(run.mine_features.iterdir()):
        found[path.name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    done = go(runs, "run")
    assert done.returncode == 0, done.stderr[-4000:]
    return runs


@pytest.fixture(scope="module")
def truth(whole: Path) -> dict[str, Any]:
    return account(whole)


@pytest.fixture
def mined(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run in which everything is mined, and no arm has learned yet."""
    runs = tmp_path / "runs"
    skipped = ("predictions", "metrics", "answers", "pretrain", "candidates", "scores", "*mined", "dpo_*", ".cache")
    keep = shutil.ignore_patterns(*skipped)

    def ignore(folder: str, names: list[str]) -> set[str]:
        return keep(folder, names) if Path(folder).name in ("policy", NAME) else set()

    shutil.copytree(whole / NAME, runs / NAME, ignore=ignore, symlinks=True)
    shutil.copytree(whole / NAME / "pretrain", runs / NAME / "pretrain")
    return runs


@pytest.fixture
def fresh(mined: Path) -> Path:
    """A copy of the run as SFT left it."""
    for folder in ("mine", "pairs"):
        shutil.rmtree(mined / NAME / folder)
    return mined


def times(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_stage_by_stage_gives_what_one_call_gives(fresh: Path, truth: dict[str, Any], capsys: Any) -> None:
    run = RunFolder(fresh / NAME)
    for n, stage in enumerate(STAGES, start=1):
        capsys.readouterr()
        mine(fresh, "--stage", stage, "--json")
        there = {name for name, table in tables(run).items() if Manifest.load(table.folder) is not None}
        assert there == {name for name in tables(run) if name.split()[0] in STAGES[:n]}
        told = json.loads(capsys.readouterr().out)
        assert {Path(folder).relative_to(run.root) for folder in told} == {
            tables(run)[name].folder.relative_to(run.root) for name in there
        }
    assert account(fresh) == truth
    before = times(fresh / NAME)
    mine(fresh)
    after = times(fresh / NAME)
    assert {name for name in after if after[name] != before.get(name)} <= {".lock"}


# Mines, and dies each time as so many more files are put in their place: before or after that, by turns.
DEADLY = """
import os, random, signal, sys
from pathlib import Path

import torch, transformers
from chexalign.cli import main

rng, real, kills = random.Random(20261122), Path.replace, 0
while True:
    last, before = rng.randint(4, 16), kills % 2 == 0
    if (child := os.fork()) == 0:
        made = 0

        def replace(self, target):
            global made
            of_mining = Path(target).parent.parent.name in ("mine", "sets", "pairs")
            made += of_mining or Path(target).name == "found.json"
            if made == last and before:
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, target)
            if made == last:
                os.kill(os.getpid(), signal.SIGKILL)

        Path.replace = replace
        os._exit(main.main(sys.argv[1:]))
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        break
    kills += 1
print("kills", kills)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_it_ends_in_the_same_tables(fresh: Path, truth: dict[str, Any]) -> None:
    command = [sys.executable, "-c", DEADLY, *arguments(fresh, "mine")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    kills = next(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("kills "))
    assert kills >= 4, "too few kills to prove anything"
    assert account(fresh) == truth
    assert not [p for p in (fresh / NAME / "mine").rglob("*") if p.name.startswith(".") or ".tmp" in p.name]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def test_what_is_damaged_stale_or_of_another_model_is_made_again(mined: Path, truth: dict[str, Any]) -> None:
    run = RunFolder(mined / NAME)
    flip(run.mine_answers.folder / "part-00001.parquet")
    flip(run.mine_features / "question.npy")
    other = atomic.read_json(run.mine_features / "image.json")
    atomic.write_json(run.mine_features / "image.json", other | {"model": "that of another policy"})
    (run.mine_features / "rationale.json").unlink()
    shutil.rmtree(run.mined("mined").folder)  # so that features are read
    run.counterfactuals.write_part(0, run.counterfactuals.rows()[:3], fingerprint="of another recipe")
    flip(run.pairs("dpo_random").folder / "part-00000.json")
    run.mine_found.write_text(json.dumps(truth["found"] | {"fingerprint": "of other sets"}))
    mine(mined)
    assert account(mined) == truth


def test_results_do_not_depend_on_workers(fresh: Path, truth: dict[str, Any]) -> None:
    done = go(fresh, "mine", "workers=2")
    assert done.returncode == 0, done.stderr[-4000:]
    assert account(fresh) == truth


def test_ctrl_c_ends_cleanly_and_it_goes_on(fresh: Path, truth: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "chexalign.cli.main", *arguments(fresh, "mine")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    first, end = RunFolder(fresh / NAME).mine_answers.folder / "part-00000.json", time.monotonic() + 120
    while not first.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    mine(fresh)
    assert account(fresh) == truth


def test_no_mined_question_is_of_a_patient_who_is_evaluated(whole: Path) -> None:
    run = RunFolder(whole / NAME)
    questions = {q.id: q for q in run.questions(SOURCE).iter_rows()}
    apart = {s.patient_id for s in run.studies.iter_rows() if s.split in ("validation", "test")}
    apart |= {q.patient_id for q in questions.values() if q.split != "train"}
    assert apart
    for select in SELECTS:
        items = run.mined(select).rows()
        assert len({item.question_id for item in items}) == len(items) == 12
        for item in items:
            assert questions[item.question_id].split == "train"
            assert questions[item.question_id].patient_id not in apart
            assert item.seed_id is None or questions[item.seed_id].patient_id not in apart
    asked = {answer.question_id for answer in run.mine_answers.iter_rows()}
    assert not {questions[i].patient_id for i in asked} & apart


def test_every_pair_has_a_right_and_a_wrong_answer(whole: Path) -> None:
    run = RunFolder(whole / NAME)
    questions = {q.id: q for q in run.questions(SOURCE).iter_rows()}
    texts = {id_: text for c in run.counterfactuals.iter_rows() for id_, text in texts_of(c)}
    for arm, select in {name: MINED[name].split()[1].strip(",}") for name in MINED}.items():
        pairs = run.pairs(arm).rows()
        assert pairs
        assert {p.prompt_id for p in pairs} <= {item.question_id for item in run.mined(select).iter_rows()}
        for pair in pairs:
            q = questions[pair.prompt_id]
            right, wrong = (
                matches(q.answer_type, texts[i], q.answers, q.options) for i in (pair.chosen_id, pair.rejected_id)
            )
            assert (right, wrong) == (True, False), (q.answer_type, q.options, q.answers)


def texts_of(row: Any) -> Sequence[tuple[str, str]]:
    return ((row.chosen_id, row.chosen), (row.rejected_id, row.rejected))


def test_every_arm_has_learned_and_is_compared(whole: Path) -> None:
    run = RunFolder(whole / NAME)
    sft = Manifest.load(run.policy("sft"))
    assert sft is not None
    policies = [*MINED, "dpo_judged"]
    trained = {name: Manifest.load(run.policy(name)) for name in policies}
    contents = {manifest.content for manifest in trained.values() if manifest is not None}
    assert len(contents | {sft.content}) == len(policies) + 1  # all differ, and from SFT
    numbers = read_numbers(run)
    by = {(e.metric, e.policy, e.baseline): e for e in numbers.estimates}
    for name in policies:
        assert by["vqa.all.accuracy", name, None].n == 16
        assert by["vqa.all.accuracy", name, "sft"].n == 16
        assert by["rouge_l", name, "sft"].n == 12
        if name != "dpo_random":
            assert ("vqa.all.accuracy", name, "dpo_random") in by
    relative = {(e.policy, e.baseline) for e in numbers.estimates if e.metric == "vqa.all.relative_gain"}
    assert {(name, "sft") for name in policies} <= relative
    assert {("dpo_mined", "dpo_random"), ("sft_mined", "dpo_random")} <= relative


def test_adapters_learn_from_mined_pairs_over_a_policy_of_one_s_own(whole: Path, tmp_path: Path) -> None:
    """The SFT policy is a folder, and what SFT learned from is what the recipe says that it did."""
    base = whole / NAME / "policy" / "sft"
    own = [
        f"policy={{model: {base}, max_images: 2, freeze: [vision], lora: {{r: 2, alpha: 4}}}}",
        *("sft=null", "arms={}", "mine.ask=40", "run=adapters", "mine.purity=[q+e]", "mine.likeness=q+e"),
        "mine.arms={dpo_mined: {select: mined}}",
    ]
    assert main.main(arguments(tmp_path, "train", *own)) == 0
    run = RunFolder(tmp_path / "adapters")
    assert len(run.mine_answers.rows()) == 40
    made, before = Manifest.load(run.policy("dpo_mined")), Manifest.load(base)
    assert made is not None
    assert before is not None
    assert made.rows == 12
    assert made.content != before.content
