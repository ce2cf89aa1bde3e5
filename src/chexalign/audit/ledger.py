"""What is remembered of the rows of a table in one pass: who and what is in which split, and never a text itself."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from chexalign.audit.near_texts import Array, shingles
from chexalign.audit.verdict import KEPT, Example, Splits
from chexalign.types import ImageRef, Question, Study

_WORD = re.compile(r"[^\W_]+")
_DIGEST_BYTES = 12


@dataclass(slots=True)
class Contradictions:
    """Rows that cannot both be right: how many, and the first of them."""

    n: int = 0
    found: list[Example] = field(default_factory=list)

    def add(self, **example: str) -> None:
        """Counts one, and keeps it while there is room."""
        self.n += 1
        if len(self.found) < KEPT:
            self.found.append(example)


@dataclass(slots=True)
class Ledger:
    """One table: masks of splits (see `Splits`) by id or hash, counts by split, and contradictions."""

    table: str
    splits: Splits
    rows: int = 0
    per_split: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    patients: dict[str, int] = field(default_factory=dict)
    studies: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)  # by sha256
    files: list[tuple[str, str]] = field(default_factory=list)  # (path, sha256) of every use of an image
    patient_of: dict[str, str] = field(default_factory=dict)  # of an image, by its sha256
    reports: dict[bytes, int] = field(default_factory=dict)  # whole reports, by the digest of their words
    report_ids: dict[bytes, str] = field(default_factory=dict)  # a study of each
    long_reports: set[bytes] = field(default_factory=set)
    shingles: dict[bytes, Array] | None = None  # of long reports, where they are asked for
    references: Counter[tuple[bytes, str]] = field(default_factory=Counter)  # studies by digest and split
    filled: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # studies, section, split
    repeated: Contradictions = field(default_factory=Contradictions)  # ids that stand twice
    owners: Contradictions = field(default_factory=Contradictions)  # images of two patients
    answers: Contradictions = field(default_factory=Contradictions)  # two answers, or two reports, for one thing
    empty: Contradictions = field(default_factory=Contradictions)  # texts without a word
    _ids: set[str] = field(default_factory=set)
    _told: dict[bytes, tuple[bytes, str]] = field(default_factory=dict)


LONG_WORDS = 60  # a whole report of so many words is hardly written twice


def words_of(text: str | None) -> list[str]:
    """The words of a text in small letters; punctuation, blanks and `___` are none."""
    return _WORD.findall((text or "").lower())


def read_studies(rows: Iterable[Study], splits: Splits, *, shingled: bool = False) -> Ledger:
    """The ledger of a table of studies, with the shingles of long reports if asked for.

    Memory: some hundred bytes per image and study.
    """
    ledger = Ledger("studies", splits, shingles={} if shingled else None)
    for study in rows:
        _common(ledger, study.id, study.patient_id, study.id, study.images, study.split, study.source)
        _sections(ledger, study)
        current = sorted(image.sha256 for image in study.images if image.role == "current")
        if current:
            reference = _digest(words_of(study.reference), words_of(study.impression))
            _tell(ledger, _digest(current), reference, study.id)
    return ledger


def read_questions(name: str, rows: Iterable[Question], splits: Splits) -> Ledger:
    """The ledger of a table of questions."""
    ledger = Ledger(f"questions/{name}", splits)
    for row in rows:
        _common(ledger, row.id, row.patient_id, row.study_id, row.images, row.split, row.source)
        asked = _digest(words_of(row.text), [image.sha256 for image in row.images], sorted(row.options), _boxes(row))
        _tell(ledger, asked, _digest(sorted({" ".join(words_of(answer)) for answer in row.answers})), row.id)
        if not all(answer.strip() for answer in row.answers):
            ledger.empty.add(question=row.id, section="answer", split=row.split)
    return ledger


def _boxes(question: Question) -> list[str]:
    """The places that a question is about: the same words about another place are another question."""
    marked = question.evidence if question.kind == "region" else ()
    return [str((evidence.image, evidence.box)) for evidence in marked if evidence.box]


def _common(
    ledger: Ledger, row: str, patient: str, study: str, images: Iterable[ImageRef], split: str, source: str
) -> None:
    bit = ledger.splits.bit(split)
    ledger.rows += 1
    ledger.per_split[split] += 1
    ledger.sources[source] += 1
    ledger.patients[patient] = ledger.patients.get(patient, 0) | bit
    ledger.studies[study] = ledger.studies.get(study, 0) | bit
    if row in ledger._ids:
        ledger.repeated.add(id=row, split=split)
    ledger._ids.add(row)
    for image in images:
        ledger.images[image.sha256] = ledger.images.get(image.sha256, 0) | bit
        ledger.files.append((image.path, image.sha256))
        if (owner := ledger.patient_of.setdefault(image.sha256, patient)) != patient:
            ledger.owners.add(image=image.sha256, patients=f"{owner}, {patient}")


def _sections(ledger: Ledger, study: Study) -> None:
    sections = {"indication": study.indication, "reference": study.reference, "impression": study.impression}
    words = {name: words_of(text) for name, text in sections.items()}
    for name, found in words.items():
        if found:
            ledger.filled[name][study.split] += 1
    if not words["reference"]:
        ledger.empty.add(study=study.id, section="reference", split=study.split)
        return
    ledger.references[_digest(words["reference"]), study.split] += 1
    report = _digest(*words.values())
    ledger.reports[report] = ledger.reports.get(report, 0) | ledger.splits.bit(study.split)
    ledger.report_ids.setdefault(report, study.id)
    if sum(map(len, words.values())) >= LONG_WORDS:
        ledger.long_reports.add(report)
        if ledger.shingles is not None and report not in ledger.shingles:
            ledger.shingles[report] = shingles([word for found in words.values() for word in found])


def _tell(ledger: Ledger, asked: bytes, told: bytes, row: str) -> None:
    before = ledger._told.setdefault(asked, (told, row))
    if before[0] != told:
        ledger.answers.add(ids=f"{before[1]}, {row}")


def _digest(*parts: Iterable[str]) -> bytes:
    text = "\x1e".join("\x1f".join(part) for part in parts)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
