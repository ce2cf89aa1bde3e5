"""F1 reports: the same numbers as the single methods, precision and recall by hand, and what is refused."""

import numpy as np
import pytest

from chexalign.stats import Bootstrap
from chexalign.stats.f1 import Counts, LabelSets, macro, micro, per_label

N = 200
LABELS = [f"label {i}" for i in range(14)]
FIVE = LABELS[2:7]
ABOUT = {"metric": "chexbert", "policy": "dpo", "split": "test"}
AGAINST = ABOUT | {"baseline": "sft"}

# Three labels by hand: tp 2, 1, 0; true 3, 1, 0; called 2, 2, 1.
TRUE = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
PREDICTED = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]])


@pytest.fixture(scope="module", params=["percentile", "bca"])
def bootstrap(request):
    return Bootstrap([f"p{i // 2}" for i in range(N)], seed=1, resamples=200, interval=request.param)


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    true = rng.random((N, 14)) < np.linspace(0.02, 0.4, 14)
    return true, *(np.where(rng.random(true.shape) < share, ~true, true) for share in (0.1, 0.2))


def by_hand(measure):
    counts = Counts.summed(TRUE.astype(float), PREDICTED.astype(float), lambda x: x.sum(axis=0, keepdims=True))
    return per_label(counts, measure)[0], micro(counts, measure)[0], macro(counts, measure)[0]


@pytest.mark.parametrize(
    ("measure", "labels", "micro_", "macro_"),
    [
        ("f1", [2 * 2 / 5, 2 * 1 / 3, np.nan], 2 * 3 / (4 + 5), (2 * 2 / 5 + 2 * 1 / 3) / 2),
        ("precision", [2 / 2, 1 / 2, 0 / 1], 3 / 5, (1 + 1 / 2 + 0) / 3),
        ("recall", [2 / 3, 1 / 1, np.nan], 3 / 4, (2 / 3 + 1) / 2),
    ],
)
def test_measures_by_hand(measure, labels, micro_, macro_):
    found = by_hand(measure)
    assert found[0] == pytest.approx(labels, nan_ok=True)
    assert found[1:] == (pytest.approx(micro_), pytest.approx(macro_))


def test_a_report_holds_what_the_single_methods_give(bootstrap, tables):
    true, called, _ = tables
    report = {e.metric: e for e in bootstrap.f1_report(true, called, labels=LABELS, subsets=[FIVE], **ABOUT)}
    single = [
        *bootstrap.f1(true, called, **ABOUT),
        *bootstrap.f1(true[:, 2:7], called[:, 2:7], **ABOUT),
        *bootstrap.label_f1(true, called, labels=LABELS, **ABOUT),
    ]
    assert [report[e.metric] for e in single] == single
    assert len(report) == 3 * (2 + 2 + 14) + 1  # and the average of both sets


def test_a_report_of_differences_holds_what_the_single_method_gives(bootstrap, tables):
    report = {e.metric: e for e in bootstrap.f1_report_difference(*tables, labels=LABELS, subsets=[FIVE], **AGAINST)}
    for columns in (slice(None), slice(2, 7)):
        for wanted in bootstrap.f1_difference(*(table[:, columns] for table in tables), **AGAINST):
            assert report[wanted.metric] == wanted
    assert {e.baseline for e in report.values()} == {"sft"}


def test_a_difference_is_that_of_the_two_reports(bootstrap, tables):
    true, called, base = tables
    mine, theirs = ([e.value for e in bootstrap.f1_report(true, p, labels=LABELS, **ABOUT)] for p in (called, base))
    gaps = bootstrap.f1_report_difference(true, called, base, labels=LABELS, **AGAINST)
    assert [e.value for e in gaps] == pytest.approx(list(np.subtract(mine, theirs)), abs=1e-12)


def test_each_resample_gives_what_the_repeated_rows_give(tables):
    true, called, _ = tables
    bootstrap = Bootstrap([f"p{i // 2}" for i in range(N)], seed=4, resamples=30)
    report = {e.metric: e for e in bootstrap.f1_report(true, called, labels=LABELS, **ABOUT)}
    rows = [np.repeat(np.arange(N), w.astype(int)) for w in bootstrap.weights]
    hits, t, c = (np.array([x[r].sum(axis=0) for r in rows]) for x in (true & called, true, called))
    with np.errstate(invalid="ignore"):
        wanted = {
            "micro_precision_14": hits.sum(1) / c.sum(1),
            "micro_recall_14": hits.sum(1) / t.sum(1),
            "macro_recall_14": np.nanmean(hits / t, axis=1),
            "precision.label 9": hits[:, 9] / c[:, 9],
        }
    for name, draws in wanted.items():
        estimate = report[f"chexbert.{name}"]
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.nanquantile(draws, [0.05, 0.95])), abs=1e-12)


def test_a_report_says_which_labels_are_left_out_and_how_many_cases_there_are():
    rows = 10
    true, called = (np.tile(table, (rows, 1)) for table in (TRUE, PREDICTED))
    bootstrap = Bootstrap([str(i) for i in range(len(true))], seed=1, resamples=50)
    report = bootstrap.f1_report(true, called, labels=["x", "y", "z"], subsets=[["x", "y"]], **ABOUT)
    told = {e.metric.removeprefix("chexbert."): e for e in report}
    assert told["macro_f1_3"].method.endswith("; 1 of 3 labels have no true case and are left out")
    assert told["macro_f1_2"].method.endswith("seed 1")
    assert told["f1.x"].method.endswith("; 30 true cases")
    assert told["recall.z"].value is None
    assert told["precision.z"].value == 0


@pytest.mark.parametrize(
    ("subsets", "message"),
    [([["x", "q"]], "'q' is not among the labels"), ([["x"], ["y"]], "differ in size"), ([[]], "none be empty")],
)
def test_unfit_label_sets_are_refused(subsets, message):
    with pytest.raises(ValueError, match=message):
        LabelSets(("x", "y", "z"), tuple(tuple(names) for names in subsets))


def test_as_many_labels_as_columns_are_needed():
    bootstrap = Bootstrap(list("abcd"), seed=1)
    with pytest.raises(ValueError, match="2 labels for 3 columns"):
        bootstrap.f1_report(TRUE, PREDICTED, labels=["x", "y"], **ABOUT)
    with pytest.raises(ValueError, match="2 labels for 3 columns"):
        bootstrap.f1_report_difference(TRUE, PREDICTED, PREDICTED, labels=["x", "y"], **AGAINST)


def test_a_statistic_of_sums_is_computed_on_every_resample(bootstrap):
    rng = np.random.default_rng(5)
    x = rng.random(N)
    y = 2 * x + rng.normal(0, 0.1, N)

    def slope(s):
        n, sx, sy, sxx, sxy = s.T
        return (n * sxy - sx * sy) / (n * sxx - sx**2)

    found = bootstrap.of_sums([np.ones(N), x, y, x * x, x * y], slope, metric="slope", policy="dpo", split="test")
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0])
    rows = [np.repeat(np.arange(N), w.astype(int)) for w in bootstrap.weights]
    draws = [np.polyfit(x[r], y[r], 1)[0] for r in rows]
    plain = bootstrap.using("percentile").of_sums([np.ones(N), x, y, x * x, x * y], slope, **ABOUT)
    assert (plain.low, plain.high) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])))
    holed = np.where(np.arange(N) < 4, np.nan, x)
    assert bootstrap.of_sums([holed, y], lambda s: s[:, 0] / s[:, 1], **ABOUT).n == N - 4
