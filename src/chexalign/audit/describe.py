"""Statistics of prepared tables: counts, views, sizes, lengths, labels, codes, questions; no text of a report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chexalign.audit.ledger import words_of
from chexalign.audit.tables import Prepared
from chexalign.judges.chexpert import positives
from chexalign.judges.chexpert_terms import LABELS
from chexalign.progress import bar
from chexalign.types import ImageRef, Question, Study

SECTIONS = ("indication", "reference", "impression")
_SHORT_WORDS = 4
_ORDER = ("sft", "prefer", "train", "validation", "test")

PerSplit = Counter[str]


@dataclass(slots=True)
class Shared:
    """What tables of studies and of questions have in common; counts are by split, each image once in a split."""

    rows: PerSplit = field(default_factory=Counter)
    patients: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # rows of each
    images: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by their hashes
    views: defaultdict[str, PerSplit] = field(default_factory=lambda: defaultdict(Counter))
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (width, height) of images
    sources: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    synthetic: int = 0

    def add(self, split: str, patient: str, images: Iterable[ImageRef], source: str, license: str) -> None:
        """Counts a row."""
        self.rows[split] += 1
        self.patients[split][patient] += 1
        self.sources[source] += 1
        self.licenses[license] += 1
        for image in images:
            if image.sha256 in self.images[split]:
                continue
            self.images[split].add(image.sha256)
            self.views[image.view if image.role == "current" else f"{image.view}, prior"][split] += 1
            self.sizes[image.width_px, image.height_px] += 1
            self.synthetic += image.synthetic

    @property
    def splits(self) -> list[str]:
        """The splits, those that are learned from first."""
        known = [split for split in _ORDER if split in self.rows]
        return known + sorted(self.rows.keys() - {*known})


@dataclass(slots=True)
class StudyStats:
    """The statistics of a table of studies."""

    shared: Shared = field(default_factory=Shared)
    words: defaultdict[tuple[str, str], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """How many studies have so many words, by section and split; those without the section are left out."""
    labels: defaultdict[str, PerSplit] = field(default_factory=lambda: defaultdict(Counter))
    codes: Counter[str] = field(default_factory=Counter)  # by the heading, before the first slash
    vocabulary: Counter[str] = field(default_factory=Counter)  # of the references

    def add(self, study: Study) -> None:
        """Counts a study."""
        split = study.split
        self.shared.add(split, study.patient_id, study.images, study.source, study.license)
        for section in SECTIONS:
            if text := getattr(study, section):
                self.words[section, split][len(text.split())] += 1
        for label in positives(study.reference):
            self.labels[label][split] += 1
        self.codes.update({code.partition("/")[0] for code in study.codes})
        self.vocabulary.update(words_of(study.reference))


@dataclass(slots=True)
class Part:
    """The questions of one part of a task that have one type of answer."""

    questions: PerSplit = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)  # of those with short options: others hold text
    n_free: int = 0  # questions without options, or with longer ones
    n_several: int = 0  # questions with more than one right answer
    n_none: int = 0  # questions with none


@dataclass(slots=True)
class QuestionStats:
    """The statistics of a table of questions."""

    shared: Shared = field(default_factory=Shared)
    kinds: Counter[str] = field(default_factory=Counter)
    parts: dict[tuple[str, str, str], Part] = field(default_factory=dict)  # by task, part and type of answer
    words: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))  # question, answer
    n_rationales: int = 0
    n_boxes: int = 0

    def add(self, question: Question) -> None:
        """Counts a question."""
        images, split = question.images, question.split
        self.shared.add(split, question.patient_id, images, question.source, question.license)
        self.kinds[question.kind] += 1
        part = self.parts.setdefault((question.task, question.part, question.answer_type), Part())
        part.questions[split] += 1
        if question.options and all(len(option.split()) <= _SHORT_WORDS for option in question.options):
            part.answers.update(question.answers)
        else:
            part.n_free += 1
        part.n_several += len(question.answers) > 1
        part.n_none += not question.answers
        self.words["question"][len(question.text.split())] += 1
        for answer in question.answers:
            self.words["answer"][len(answer.split())] += 1
        self.n_rationales += question.rationale is not None
        self.n_boxes += any(evidence.kind == "box" for evidence in question.evidence)


@dataclass(frozen=True, slots=True)
class Description:
    """The statistics of all tables of a folder, and what was left out of each, by reason."""

    studies: StudyStats | None
    questions: dict[str, QuestionStats]
    dropped: dict[str, dict[str, int]]


def describe(prepared: Prepared) -> Description:
    """The statistics of prepared tables. Cost: one read, and some 10,000 references a second for the labels."""
    studies = None
    if prepared.studies is not None:
        studies = StudyStats()
        with bar(prepared.manifests["studies"].rows, "describing studies") as progress:
            for row in prepared.studies.iter_rows():
                studies.add(row)
                progress.update()
    questions = {name: QuestionStats() for name in prepared.questions}
    for name, stats in questions.items():
        for question in prepared.questions[name].iter_rows():
            stats.add(question)
    return Description(studies, questions, {name: m.dropped for name, m in prepared.manifests.items()})


def quantile(counts: Mapping[int, int], share: float) -> int | None:
    """The smallest value that so large a share of all does not exceed; None where there is nothing.

    >>> quantile({1: 2, 5: 1, 9: 1}, 0.5), quantile({1: 2, 5: 1, 9: 1}, 0.95)
    (1, 9)
    """
    total, seen = sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= share * total:
            return value
    return None


def label_names() -> tuple[str, ...]:
    """The labels in the order in which they are shown."""
    return tuple(LABELS)
