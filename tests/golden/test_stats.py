"""F1, precision and recall equal scikit-learn's classification_report on stored tables, or differ as is said."""

import json
from pathlib import Path

import numpy as np
import pytest

from chexalign.ids import digest
from chexalign.stats import Bootstrap

GOLDEN = json.loads((Path(__file__).parent / "stats" / "classification_report.json").read_text())
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
