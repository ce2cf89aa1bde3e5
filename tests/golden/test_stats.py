"""F1, precision and recall equal scikit-learn's on stored tables, or differ as is said; averages equal the paper's."""

import json
from pathlib import Path

import numpy as np
import pytest

from chexalign.evaluate.length import relative_verbosity
from chexalign.ids import digest
from chexalign.stats import Bootstrap

FOLDER = Path(__file__).parent / "stats"
GOLDEN, PAPER = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("classification_report", "paper"))
LABELS, FIVE, CASES = GOLDEN["labels"], GOLDEN["five"], GOLDEN["cases"]
MEASURES = ("f1", "precision", "recall")
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def table(rows):
    return np.array([[int(c) for c in row] for row in rows])


def found(case):
    true, called = table(case["true"]), table(case["called"])
    bootstrap = Bootstrap([str(i) for i in range(len(true))], seed=1, resamples=10)
    report = bootstrap.f1_report(true, called, labels=LABELS, subsets=[FIVE], metric="m", policy="p", split="test")
    return true, called, {e.metric.removeprefix("m."): e.value for e in report}


@every_case
def test_the_stored_inputs_are_those_of_the_stored_values(case):
    assert digest({"true": case["true"], "called": case["called"]}) == case["inputs_digest"]


@every_case
@pytest.mark.parametrize("measure", MEASURES)
def test_each_label_and_the_micro_averages_equal_scikit_learn(case, measure):
    true, called, values = found(case)
    defined = {"f1": true, "recall": true, "precision": called}[measure].any(axis=0)
    for i, label in enumerate(LABELS):
        wanted = case["values"]["14"][label][measure]
        assert values[f"{measure}.{label}"] == (pytest.approx(wanted, abs=1e-12) if defined[i] else None)
    for size in ("14", "5"):
        wanted = case["values"][size]["micro avg"][measure]
        assert values[f"micro_{measure}_{size}"] == pytest.approx(wanted, abs=1e-12)


@every_case
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("size", "names"), [("14", LABELS), ("5", FIVE)])
def test_macro_averages_equal_scikit_learn_but_for_labels_without_the_measure(case, measure, size, names):
    true, called, values = found(case)
    defined = {"f1": true, "recall": true, "precision": called}[measure].any(axis=0)
    share = np.mean([defined[LABELS.index(name)] for name in names])
    ours, theirs = values[f"macro_{measure}_{size}"], case["values"][size]["macro avg"][measure]
    assert ours * share == pytest.approx(theirs, abs=1e-12)
    assert (share == 1) == (ours == pytest.approx(theirs, abs=1e-12))


@pytest.mark.parametrize("policy", PAPER["tasks"])
def test_the_averages_of_the_paper_follow_from_its_own_rows(policy):
    row = PAPER["tasks"][policy]
    bootstrap = Bootstrap([str(i) for i in range(len(row["accuracies"]))], seed=1, resamples=10)
    found = bootstrap.mean(row["accuracies"], metric="tasks", policy=policy, split="test")
    assert found.value == pytest.approx(row["average"], abs=0.05 + 1e-9)
    assert found.low is None  # six tasks are too few for an interval


def test_the_verbosity_of_the_paper_follows_from_its_mean_lengths():
    words = PAPER["words"]
    found = relative_verbosity(
        Bootstrap(["all"], seed=1), [words["dpo_green"]], [words["sft"]], policy="dpo", baseline="sft", split="test"
    )
    assert found.value == pytest.approx(words["ratio"], abs=0.005)
