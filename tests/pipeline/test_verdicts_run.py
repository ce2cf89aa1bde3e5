"""A recipe whose rule gives verdicts on single candidates trains KTO on them and ends in a report."""

import pytest

from chexalign import artifact
from chexalign.cli import main
from chexalign.pairs.verdicts import verdict_table
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from tests.made_up import install, install_letters, tiny_checkpoint

pytestmark = [pytest.mark.pipeline]


@pytest.fixture
def letters(monkeypatch):
    install_letters(monkeypatch)


def test_verdicts_train_kto(letters, tmp_path, runs_folder, monkeypatch, capsys):
    install(tmp_path, monkeypatch)
    settings = (
        *(f"policy={{model: {tiny_checkpoint(tmp_path / 'policy')}}}", "sft=null", "workers=1", "threads=1"),
        *("data.split={prefer: 8, test: 4}", "sample.n=3", "sample.max_new_tokens=8", "evaluate.bootstrap=20"),
        "train={algorithm: kto, beta: 0.1, learning_rate: 1.0e-3, global_batch: 4}",
        "arms={single: {judge: letters, pairs: {rule: above_mean}}, twos: {judge: letters, pairs: {rule: best_worst}}}",
        "evaluate.metrics=[chexpert, rouge_l]",
    )
    given = [part for setting in settings for part in ("--set", setting)]
    assert main.main(["run", "quick", "--runs", str(runs_folder), *given]) == 0
    run = RunFolder(runs_folder / "quick")
    verdicts = verdict_table(run, "single").rows()
    assert len({v.desirable for v in verdicts}) == 2
    manifest = Manifest.load(run.policy("single"))
    assert manifest is not None
    assert manifest.rows == len(verdicts)
    assert artifact.read_log(run.policy("single"))
    assert "single" in run.report.read_text()
    assert main.main(["compare", str(run.root), "--format", "csv"]) == 0
    told = capsys.readouterr().out
    assert "single, desirable" in told
    assert "verdicts/single/part-00000.json" in told
