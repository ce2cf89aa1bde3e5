"""Frozen records that cross stage borders; every table of a run folder holds one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Role = Literal["current", "prior"]
View = Literal["frontal", "lateral", "unknown"]
Finish = Literal["stop", "length"]
ScoreStatus = Literal["ok", "unparsed", "refused", "error"]
QuestionKind = Literal["basic", "region", "compare"]  # one image, a place marked on one, two exams
AnswerType = Literal["verify", "choose", "query", "open"]  # yes or no, one of the options, any of a set, free words
Scoring = Literal["generation", "likelihood"]  # what was written, or which option is the most probable
EvidenceKind = Literal["label", "box", "code", "study"]
Aggregate = Literal["mean", "geometric_mean", "minimum"]  # how probabilities of tokens become one number
Span = Literal["answer", "output"]  # of which tokens: those of the short answer, or all
Origin = Literal["own", "rules", "llm"]  # of a wrong answer: the policy's own, or an edit of the right one by whom
EditKind = Literal["own", "answer", "negation", "finding", "side", "severity", "location", "attribute", "change"]


def _need(condition: bool, record: str, message: str) -> None:
    if not condition:
        raise ValueError(f"{record}: {message}")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image of a study: where its file is, and the hash of its bytes."""

    path: str  # relative paths are relative to the run folder
    sha256: str
    view: View
    height_px: int
    width_px: int
    role: Role = "current"
    synthetic: bool = False

    def __post_init__(self) -> None:
        _need(self.height_px > 0 and self.width_px > 0, "ImageRef", "size must be positive")


@dataclass(frozen=True, slots=True)
class Study:
    """One examination: its images and the radiologist's text about them."""

    id: str
    patient_id: str
    images: tuple[ImageRef, ...]
    indication: str | None
    reference: str  # the radiologist's findings, the text that judges compare with
    impression: str | None
    codes: tuple[str, ...]  # human codes, e.g. MeSH "Cardiomegaly/mild"
    split: str
    source: str
    license: str

    def __post_init__(self) -> None:
        _need(bool(self.id), "Study", "id is empty")
        _need(bool(self.reference.strip()), "Study", f"{self.id} has an empty reference")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer rests on: a label, a labeled box on an image, a human code, or another study."""

    kind: EvidenceKind
    text: str  # the label, the code or the study's id
    present: bool = True  # whether the finding is there
    image: int | None = None  # which of the question's images the box is on
    box: tuple[float, ...] = ()  # left, top, right, bottom, as fractions of the image's width and height

    def __post_init__(self) -> None:
        _need((self.kind == "box") == bool(self.box), "Evidence", "a box has four bounds, and nothing else has any")
        if self.box:
            left, top, right, bottom = self.box
            _need(0 <= left < right <= 1 and 0 <= top < bottom <= 1, "Evidence", "the box is not inside the image")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the images of one exam, or of two, with its right answers."""

    id: str
    patient_id: str
    study_id: str
    task: str  # what it tests, such as "view" or "vqa"
    part: str  # the part of the task that accuracy is told for, such as a label or a kind of question
    kind: QuestionKind
    answer_type: AnswerType
    text: str
    options: tuple[str, ...]  # the answers to choose from; empty for free ones
    answers: tuple[str, ...]  # all that are right together; empty where nothing is
    images: tuple[ImageRef, ...]
    split: str
    source: str
    license: str
    rationale: str | None = None
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        _need(bool(self.id and self.text.strip()), "Question", f"{self.id} has an empty text or id")
        wrong = set(self.answers) - set(self.options) if self.options else ()
        _need(not wrong, "Question", f"{self.id} has an answer that is none of its options")
        _need(self.answer_type != "choose" or len(self.options) > 1, "Question", f"{self.id} leaves nothing to choose")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a policy is asked about one study."""

    id: str
    study_id: str
    task: str
    text: str
    template: str  # name@version


@dataclass(frozen=True, slots=True)
class Candidate:
    """One report that a policy wrote for one prompt."""

    id: str
    prompt_id: str
    text: str
    n_tokens: int  # completion tokens, end token included
    sum_logp: float | None  # under the sampling policy at temperature 1, nats
    finish: Finish
    draw: int
    sampler: str


@dataclass(frozen=True, slots=True)
class Score:
    """What one judge says of one candidate; an unscored candidate has value None, never 0."""

    candidate_id: str
    judge: str  # name@version
    value: float | None
    parts: tuple[tuple[str, float], ...] = ()
    status: ScoreStatus = "ok"
    reason: str | None = None
    notes: tuple[tuple[str, str], ...] = ()  # what the judge said in words, such as the sentences that it found wrong

    def __post_init__(self) -> None:
        _need(
            (self.value is None) == (self.status != "ok"), "Score", "value must be None exactly when status is not ok"
        )
        _need(self.value is None or math.isfinite(self.value), "Score", "value must be finite")


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference: the judge puts `chosen` above `rejected` for the same prompt."""

    id: str
    prompt_id: str
    chosen_id: str
    rejected_id: str
    margin: float  # score of chosen minus score of rejected
    delta_words: int  # words of chosen minus words of rejected
    judge: str
    rule: str

    def __post_init__(self) -> None:
        _need(self.chosen_id != self.rejected_id, "Pair", f"{self.id} prefers a candidate to itself")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An unpaired preference for KTO: one candidate, desirable or not."""

    candidate_id: str
    prompt_id: str
    desirable: bool
    weight: float
    judge: str
    rule: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """The report that a policy writes for a study at evaluation."""

    study_id: str
    policy: str
    text: str
    n_tokens: int
    finish: Finish


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy answers to a question; `read` and `right` are None where the answer cannot be read."""

    question_id: str
    policy: str
    scoring: Scoring
    order: int  # of the options that it was shown; 0 is that of the question
    text: str  # as it was written, or the most probable option
    n_tokens: int  # that were written; 0 where options were scored
    read: tuple[str, ...] | None  # the options that it means, or its words where there were no options
    right: bool | None
    token_logps: tuple[float, ...] | None = None  # of each written token, end token included where told; temperature 1
    answer_tokens: tuple[int, ...] | None = None  # places of the tokens that spell the short answer; None if not found

    def __post_init__(self) -> None:
        _need((self.read is None) == (self.right is None), "Answer", "what cannot be read is neither right nor wrong")
        told = len(self.token_logps or ())
        _need(all(0 <= i < told for i in self.answer_tokens or ()), "Answer", "a token that spells it has no log-prob")


@dataclass(frozen=True, slots=True)
class MinedItem:
    """A question that was chosen to be learned from, and what it was chosen for.

    `rank` 0 is a seed itself, 1 its nearest neighbor; a draw at random has no seed. `confidence` and `right` are those
    of the policy's answer to it, None where it was not asked or the answer has no confidence.
    """

    question_id: str
    group: str  # the type of question whose quota it fills
    seed_id: str | None
    rank: int
    distance: float | None
    confidence: float | None
    right: bool | None


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """The right answer to a question, and a wrong one of the same style that passed the verifier."""

    question_id: str
    chosen: str
    rejected: str
    kind: EditKind
    origin: Origin
    rejected_answers: tuple[str, ...]
    tries: int  # proposals that were looked at, this one included

    @property
    def chosen_id(self) -> str:
        """What pairs call the right answer."""
        return f"{self.question_id}/chosen"

    @property
    def rejected_id(self) -> str:
        """What pairs call the wrong one."""
        return f"{self.question_id}/rejected"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; a bare float never reaches a report.

    `low` and `high` are None where no interval can be given; `method` then says why.
    """

    metric: str
    policy: str
    split: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    n: int
    n_clusters: int
    method: str
    baseline: str | None = None  # set when the value is a paired difference against that policy

    def __post_init__(self) -> None:
        _need((self.low is None) == (self.high is None), "Estimate", "low and high come together")

    @property
    def excludes_zero(self) -> bool:
        """True when the interval lies strictly on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired test of whether two policies differ in one metric.

    `delta` and `p` are None where nothing could be compared; `test` then says why. `p_holm` is None until p was
    corrected for the metrics tested along with it.
    """

    metric: str
    policy: str
    baseline: str
    delta: float | None  # of the policy minus that of the baseline
    p: float | None
    p_holm: float | None
    test: str

    def __post_init__(self) -> None:
        _need((self.delta is None) == (self.p is None), "Comparison", "delta and p come together")
        _need(self.p is None or 0 <= self.p <= 1, "Comparison", "p must lie between 0 and 1")
        _need(
            self.p_holm is None or (self.p is not None and self.p <= self.p_holm <= 1),
            "Comparison",
            "a corrected p must lie between p and 1",
        )
