"""A plan looks at studies, prompts and the model before anything is spent, and refuses what sampling would refuse."""

from __future__ import annotations

import json

import pytest

from chexalign import workflow
from chexalign.cli import main
from chexalign.cli.look import look_at
from chexalign.errors import UserError
from chexalign.policy.outlook import Outlook, Rates
from chexalign.recipe.load import load_recipe
from tests.made_up import install, tiny_checkpoint


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    return install(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("policy"))


def look(checkpoint, *settings):
    recipe = load_recipe("quick", [f"policy={{model: {checkpoint}}}", *settings])
    return look_at(recipe, workflow.make_dataset(recipe).items()[0])


def test_a_plan_says_what_the_model_and_its_prompts_take(dataset, checkpoint, capsys):
    settings = [f"policy={{model: {checkpoint}}}", "arms.dpo_bertscore.judge=rouge_l", "evaluate.metrics=[chexpert]"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert main.main(["plan", "quick", "--json", *arguments]) == 0
    out, err = capsys.readouterr()
    rows = {row["stage"]: row for row in json.loads(out)}
    assert all(rows[name]["seconds"] > 0 for name in ("candidates", "ref_logps", "policy/dpo_label", "predictions"))
    assert "images: 16 of 16 studies looked at have images that can be read (of 40)" in err.replace(
        "14 of 14", "16 of 16"
    )
    assert "tokens with images, and up to" in err
    assert "prompts at a time fit" in err
    assert "GFLOP/s" in err


def test_studies_that_cannot_be_used_are_counted(dataset, checkpoint, monkeypatch):
    recipe = load_recipe("quick")
    first = recipe.data.split["sft"]
    monkeypatch.setattr(dataset, "refused", (f"s{first:03}",))
    assert "findings_empty 1" in look(checkpoint).lines[0]
    (dataset.root / "x.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"findings_empty 1, image_unreadable \d+"):
        look(checkpoint)


def test_prompts_that_the_model_cannot_be_asked_are_told(dataset, checkpoint, monkeypatch):
    three = Outlook(10**6, 4 * 10**6, 4096, (100, 120), 2**20, unusable=3)
    monkeypatch.setattr("chexalign.policy.outlook.look", lambda *_, **__: three)
    assert any("cannot be asked 3 of these" in line for line in look(checkpoint).lines)


def test_prompts_that_never_fit_are_refused(dataset, checkpoint):
    with pytest.raises(UserError, match="The model's context holds"):
        look(checkpoint, "sample.max_new_tokens=100000")


def test_credentialed_data_do_not_go_to_another_machine(dataset, checkpoint, monkeypatch):
    monkeypatch.setattr(dataset, "license", "PhysioNet Credentialed Health Data License 1.5.0")
    away = "sample.endpoint={url: 'http://10.1.2.3:8000/v1', model: m%s}"
    with pytest.raises(UserError, match="another machine"):
        look(checkpoint, away % "")
    assert "16 requests at a time" in look(checkpoint, away % ", endpoint_is_mine: true").lines[-1]
    assert "server" in look(checkpoint, "sample.endpoint={url: 'http://127.0.0.1:8000/v1', model: m}").lines[-1]


def test_judges_are_no_way_around_it(dataset, checkpoint, monkeypatch):
    monkeypatch.setattr(dataset, "license", "terms of a challenge")
    away = "{name: green_style, options: {url: 'http://10.1.2.3:8000/v1', model: m%s}}"
    arm = "arms={a: {judge: {name: lc, of: %s}, pairs: {rule: best_worst}}}"
    metric = "evaluate.metrics=[rouge_l, %s]"
    for place in (arm, metric):
        with pytest.raises(UserError, match="another machine"):
            look(checkpoint, place % (away % ""))
        assert look(checkpoint, place % (away % ", endpoint_is_mine: true")).lines
    monkeypatch.setattr(dataset, "license", "CC BY 4.0")
    assert look(checkpoint, arm % (away % "")).lines


def test_actors_share_the_work(dataset, checkpoint):
    found = look(checkpoint)
    one = load_recipe("quick", [f"policy={{model: {checkpoint}}}"])
    four = load_recipe("quick", [f"policy={{model: {checkpoint}}}", "cluster={actors: 4}"])
    assert found.sample_seconds(four, 400) == pytest.approx(found.sample_seconds(one, 400) / 4, abs=0.1)


def test_time_grows_with_what_is_asked_for():
    rates = Rates("CPU", flops=1e11, bytes=1e10, free=16 * 2**30)
    outlook = Outlook(10**9, 4 * 10**9, 4096, (1000, 1200), 2**28, 0)
    assert outlook.fits(rates) == (16 * 2**30 - 4 * 10**9) // 2**28
    one = outlook.generate_seconds(rates, prompts=10, draws=1, new_tokens=100, batch=10)
    # 2 operations per weight and token of 11,000, and 100 steps that read 4 GB each
    assert one == pytest.approx(2e9 * 11_000 / 1e11 + 100 * 0.4)
    four = outlook.generate_seconds(rates, prompts=10, draws=4, new_tokens=100, batch=10)
    assert four == pytest.approx(2e9 * 11_000 / 1e11 + 100 * 0.8)
    backward = outlook.train_seconds(rates, completions=10, new_tokens=100, backward=True)
    assert backward == pytest.approx(6e9 * 1200 * 10 / 1e11)


def test_what_the_user_has_to_mend_is_not_counted_as_a_bad_image(dataset, checkpoint, monkeypatch):
    def study(*_):
        raise UserError("An image is a DICOM file.", "pydicom is not installed.", "Install it.")

    monkeypatch.setattr(dataset, "study", study)
    with pytest.raises(UserError, match="pydicom is not installed"):
        look(checkpoint)
