"""Reports for evaluation: greedy unless a temperature is given, then drawn by study and seed alone."""

from __future__ import annotations

import pytest

from chexalign.data.templates import get_template
from chexalign.evaluate.numbers import Numbers, add_reports
from chexalign.evaluate.predict import PredictionsWorker
from chexalign.evaluate.reports import Truth, measure
from chexalign.ids import keyed_seed
from chexalign.policy.base import Decoding
from chexalign.policy.source import LocalSource
from chexalign.recipe import EvaluateSpec
from chexalign.recipe.load import load_recipe
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest
from chexalign.types import Prediction, Study
from chexalign.workflow.evaluation import Workflow
from tests.made_up import tiny_checkpoint
from tests.unit.test_sample_stage import SPLITS, EchoSource, StudiesWorker

N = SPLITS.count("prefer")


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    run_parts(run.studies, StudiesWorker(run.root), key=StageKey("studies", {}, {}, 0), n_parts=-(-len(SPLITS) // 3))
    return run


def predict(run, name="dpo", *, source, temperature=1.0, part_size=4, seed=7):
    """The texts that a policy of that name writes, by study."""
    worker = PredictionsWorker(
        run=run,
        name=name,
        source=source,
        split="prefer",
        template=get_template("findings@1"),
        decoding=Decoding(12, temperature),
        part_size=part_size,
        max_images=1,
        seed=seed,
    )
    key = StageKey("predictions", {}, {"temperature": temperature, "part_size": part_size}, seed)
    run_parts(run.predictions(name), worker, key=key, n_parts=-(-N // part_size))
    return {p.study_id: p.text for p in run.predictions(name).iter_rows()}


def test_draws_are_keyed_by_seed_and_study_and_by_no_policy(run):
    found = predict(run, source=EchoSource())
    assert len(found) == N
    assert all(text.endswith(f" {keyed_seed(7, 'prediction', study)}") for study, text in found.items())
    assert predict(run, "sft", source=EchoSource(), part_size=6) == found
    assert set(predict(run, source=EchoSource(), seed=8).values()).isdisjoint(found.values())


def test_a_temperature_gives_other_reports_and_the_same_ones_again(run, tmp_path):
    source = LocalSource(tiny_checkpoint(tmp_path / "policy"))
    drawn = predict(run, "one", source=source)
    assert predict(run, "two", source=source) == drawn
    greedy = predict(run, "three", source=source, temperature=0.0)
    assert predict(run, "four", source=source, temperature=0.0, seed=8) == greedy
    assert sum(drawn[study] != greedy[study] for study in drawn) > N // 2


def test_what_finished_runs_did_not_say_is_written_only_where_it_is_not_the_default():
    plain = load_recipe("demo")
    assert {"temperature", "interval"}.isdisjoint(plain.to_dict()["evaluate"])
    same = load_recipe("demo", ["evaluate.temperature=0", "evaluate.interval=percentile"])
    assert same.digest() == plain.digest()
    other = load_recipe("demo", ["evaluate.temperature=1", "evaluate.interval=bca"])
    assert other.to_dict()["evaluate"].items() >= {"temperature": 1.0, "interval": "bca"}.items()
    assert type(other).model_validate(other.to_dict()) == other


class Stub(Workflow):
    """A workflow whose SFT policy is there."""

    def sft(self):
        return Manifest("sft", "f", {}, {}, 0, 0, {}, "c", 0.0)

    def studies(self):
        return Manifest("studies", "f", {}, {}, 0, 0, {}, "c", 0.0)

    def _counts(self, split):
        return [N]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_recipe_s_temperature_reaches_the_worker_and_the_key(temperature, run, monkeypatch):
    seen = {}

    def look(table, worker, *, key, **_):
        seen.update(decoding=worker.decoding, seed=worker.seed, config=key.config["blocks"][0])
        return Manifest("predictions", "f", {}, {}, 0, 0, {}, "c", 0.0)

    monkeypatch.setattr("chexalign.workflow.evaluation.run_parts", look)
    Stub(load_recipe("demo", [f"evaluate.temperature={temperature}", "seed=5"]), run).predictions("sft")
    assert (seen["decoding"].temperature, seen["seed"]) == (temperature, 5)
    assert seen["config"].get("temperature") == (temperature or None)


@pytest.mark.parametrize("kind", ["percentile", "BCa"])
def test_all_numbers_of_reports_have_the_kind_of_interval_that_is_asked_for(kind):
    n = 30
    studies = [
        Study(f"s{i}", f"p{i}", (), None, f"The heart is enlarged{' now' * (i % 4)}.", None, (), "test", "made", "CC0")
        for i in range(n)
    ]
    truth, results = Truth.of(studies), []
    for name, more in (("sft", 0), ("dpo", 1)):
        texts = [f"The heart is {'enlarged' if i % 3 else 'normal'}{' so' * (i % 5 * more)}." for i in range(n)]
        rows = [Prediction(s.id, name, text, 5, "stop") for s, text in zip(studies, texts, strict=True)]
        results.append(measure(name, truth, rows, {"rouge_l": [(i * (7 + more) % 11) / 11 for i in range(n)]}))
    numbers, spec = Numbers(), EvaluateSpec(bootstrap=200, interval=kind.lower())
    add_reports(numbers, truth, results, spec=spec, judges=["rouge_l"], learned_from={"dpo": "rouge_l"}, seed=3)
    found = [e for e in numbers.estimates if "no BCa interval" not in e.method and e.low is not None]
    assert {"rouge_l", "words", "verbosity_vs_sft", "rouge_l.win_rate_vs_sft"} <= {e.metric for e in found}
    assert {e.method.split(" bootstrap")[0] for e in found} == {kind}
