"""Policies as they are, each evaluated by a recipe without arms, and then compared on the same studies."""

import csv
import io

import pytest

from chexalign.cli import main
from chexalign.evaluate.stage import read_estimates
from chexalign.run_folder import RunFolder
from tests.made_up import install, tiny_checkpoint

pytestmark = [pytest.mark.pipeline]


def test_checkpoints_are_evaluated_without_training_and_compared(tmp_path, runs_folder, monkeypatch, capsys):
    install(tmp_path, monkeypatch)
    checkpoint = tiny_checkpoint(tmp_path / "policy")
    for name, temperature in (("greedy", 0), ("drawn", 1)):
        settings = (
            *(f"run={name}", f"policy={{model: {checkpoint}}}", "sft=null", "arms={}", "workers=1"),
            *("data.split={test: 24}", "evaluate.max_new_tokens=8", "evaluate.bootstrap=20"),
            *("evaluate.metrics=[chexpert, rouge_l]", f"evaluate.temperature={temperature}"),
        )
        given = [part for setting in settings for part in ("--set", setting)]
        assert main.main(["plan", "quick", *given]) == 0
        assert main.main(["run", "quick", "--runs", str(runs_folder), *given]) == 0
    run = RunFolder(runs_folder / "greedy")
    assert {e.policy for e in read_estimates(run)} == {"sft", "sft_shuffled", "reference"}
    assert not run.candidates.folder.exists()
    assert run.report.is_file()
    texts = [
        [p.text for p in RunFolder(runs_folder / name).predictions("sft").iter_rows()] for name in ("greedy", "drawn")
    ]
    assert len(texts[0]) == 24
    assert texts[0] != texts[1]
    capsys.readouterr()
    assert main.main(["compare", str(run.root), str(runs_folder / "drawn"), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {"greedy", "drawn"} <= {row["row"].split("/")[0] for row in rows}
