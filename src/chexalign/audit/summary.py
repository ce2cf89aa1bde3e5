"""A description as plain values: what `data stats --json` prints, and what its tables are made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

from chexalign.audit.describe import SECTIONS, Description, QuestionStats, Shared, StudyStats, label_names, quantile

_SIZES, _CODES, _ANSWERS = 8, 30, 12


def summary(found: Description) -> dict[str, Any]:
    """The description by table, as values that JSON has."""
    tables: dict[str, Any] = {}
    if found.studies is not None:
        tables["studies"] = {**_studies(found.studies), "dropped": found.dropped["studies"]}
    for name, stats in found.questions.items():
        table = f"questions/{name}"
        tables[table] = {**_questions(stats), "dropped": found.dropped[table]}
    return tables


def _shared(stats: Shared) -> dict[str, Any]:
    sides = [Counter[int](), Counter[int]()]
    for (width, height), n in stats.sizes.items():
        sides[0][width] += n
        sides[1][height] += n
    rows_of = {split: Counter(stats.patients[split].values()) for split in stats.splits}
    return {
        "splits": {
            split: {
                "rows": stats.rows[split],
                "patients": len(stats.patients[split]),
                "images": len(stats.images[split]),
                "rows_per_patient": {"median": quantile(rows_of[split], 0.5), "max": max(rows_of[split])},
            }
            for split in stats.splits
        },
        "views": {view: dict(counts) for view, counts in sorted(stats.views.items())},
        "image_px": {
            name: {"min": min(side, default=None), "median": quantile(side, 0.5), "max": max(side, default=None)}
            for name, side in zip(("width", "height"), sides, strict=True)
        },
        "sizes": [{"width": w, "height": h, "images": n} for (w, h), n in stats.sizes.most_common(_SIZES)],
        "synthetic_images": stats.synthetic,
        "sources": dict(stats.sources),
        "licenses": dict(stats.licenses),
    }


def _studies(stats: StudyStats) -> dict[str, Any]:
    splits = stats.shared.splits
    total = stats.shared.rows.total()
    return _shared(stats.shared) | {
        "words": {
            section: {split: _length(stats.words[section, split]) for split in splits}
            for section in SECTIONS
            if any(stats.words[section, split] for split in splits)
        },
        "labels": {
            label: {split: round(stats.labels[label][split] / stats.shared.rows[split], 4) for split in splits}
            for label in label_names()
        },
        "codes": {code: round(n / total, 4) for code, n in stats.codes.most_common(_CODES)},
        "distinct_codes": len(stats.codes),
        "vocabulary": {"words": len(stats.vocabulary), "once": sum(n == 1 for n in stats.vocabulary.values())},
    }


def _questions(stats: QuestionStats) -> dict[str, Any]:
    return _shared(stats.shared) | {
        "kinds": dict(stats.kinds),
        "parts": [
            {
                "task": task,
                "part": part,
                "answer_type": answer_type,
                "questions": dict(counts.questions),
                "answers": _shares(counts.answers),
                "free_answers": counts.n_free,
                "several_answers": counts.n_several,
                "no_answer": counts.n_none,
            }
            for (task, part, answer_type), counts in sorted(stats.parts.items())
        ],
        "words": {name: _length(counts) for name, counts in stats.words.items()},
        "with_rationale": stats.n_rationales,
        "with_boxes": stats.n_boxes,
    }


def _length(counts: Counter[int]) -> dict[str, Any]:
    p95, longest = quantile(counts, 0.95), max(counts, default=None)
    return {"n": counts.total(), "median": quantile(counts, 0.5), "p95": p95, "max": longest}


def _shares(answers: Counter[str]) -> dict[str, float]:
    return {answer: round(n / answers.total(), 4) for answer, n in answers.most_common(_ANSWERS)}
