"""Small edits of a report whose effect on its meaning is known; None where a report offers nothing to edit.

Every edit is by rule and the same whenever it is made again. The rules are written for findings of chest X-rays in
plain English sentences; they ask for fluent text, not for elegant text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from chexalign.ids import keyed_seed
from chexalign.judges.chexpert import positives

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_SPARED = re.compile(r"\bno (?:longer|(?:significant |interval )*change)", re.IGNORECASE)
_DENIES = re.compile(r"\b(no|not|without|negative|free|absent|denies|resolved)\b", re.IGNORECASE)
_VERB = r"(?:is|are|was|were|has|have)"
_DENIALS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^there (is|are) no (?:evidence of |sign of )?(?:an? )?", re.IGNORECASE), r"There \1 "),
    (re.compile(rf"^no (?:evidence of |sign of )?(?=.*\b{_VERB}\b)", re.IGNORECASE), ""),
    (re.compile(r"^no (?:evidence of |sign of )?", re.IGNORECASE), "There is "),
    (re.compile(r"\bwithout (?:evidence of )?", re.IGNORECASE), "with "),
    (re.compile(r"\b(is|are) not ", re.IGNORECASE), r"\1 "),
    (re.compile(r", no (?:evidence of )?", re.IGNORECASE), ", "),
    (re.compile(r"\b(negative for|free of) ", re.IGNORECASE), "showing "),
)
_SIDES = {"left": "right", "right": "left"}
_DEGREES = {
    "mild": "severe",
    "mildly": "severely",
    "minimal": "extensive",
    "minimally": "extensively",
    "small": "large",
    "tiny": "large",
    "slight": "marked",
    "slightly": "markedly",
    "severe": "mild",
    "severely": "mildly",
    "large": "small",
    "marked": "slight",
    "markedly": "slightly",
    "massive": "tiny",
    "extensive": "minimal",
}
_INVENTED: tuple[tuple[str, str], ...] = (
    ("Pneumothorax", "There is a large right pneumothorax."),
    ("Pleural Effusion", "There is a moderate left pleural effusion."),
    ("Fracture", "There is an acute fracture of the left sixth rib."),
    ("Consolidation", "There is consolidation in the right lower lobe."),
    ("Edema", "There is moderate pulmonary edema."),
)
_PRIOR = "Compared with the prior examination, the findings have worsened."
_COMPARES = re.compile(
    r"\b(prior|previous\w*|compar\w*|interval|unchanged|stable|again|since|new|increased|decreased|worse\w*|improv\w*)\b",
    re.IGNORECASE,
)
# Other words for the same thing: each pair stands for what a radiologist would call the same finding.
_SAME_SENTENCE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^there (?:is|are) no (?:evidence of )?([^.]+)\.$", re.IGNORECASE), r"No \1 can be made out."),
    (
        re.compile(r"^no ([^.]+) (?:is|are) (?:seen|noted|identified|present)\.$", re.IGNORECASE),
        r"There is no sign of \1.",
    ),
    (re.compile(rf"^no (?:evidence of )?(?!.*\b{_VERB}\b)([^.]+)\.$", re.IGNORECASE), r"There is no sign of \1."),
)
_SAME: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), other)
    for pattern, other in (
        (r"\bheart size is normal\b", "size of the heart is within the normal range"),
        (r"\bheart is normal in size\b", "size of the heart is within the normal range"),
        (r"\bheart is enlarged\b", "size of the heart is increased above normal"),
        (r"\bis (?:within normal limits|unremarkable)\b", "shows no abnormality"),
        (r"\bare (?:within normal limits|unremarkable)\b", "show no abnormality"),
        (r"\bcardiomediastinal silhouette\b", "outline of heart and mediastinum"),
        (r"\bcardiac silhouette\b", "outline of the heart"),
        (r"\blungs are clear\b", "lung fields are clear on both sides"),
        (r"\bpulmonary vascularity\b", "vascular pattern of the lungs"),
        (r"\bthoracic spine\b", "dorsal spine"),
        (r"\bbilaterally\b", "on both sides"),
        (r"\bbilateral ([^.,]+)", r"\1 on both sides"),
        (r"\b(?:is|are) (?:seen|noted|identified)\b", "can be made out"),
        (r"\bosseous structures\b", "bones"),
        (r"\bbony structures\b", "bones"),
        (r"\bdegenerative changes\b", "changes of degeneration"),
    )
)


def sentences_of(text: str) -> list[str]:
    """The sentences with their stops."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


def paraphrase(report: str) -> str | None:
    """The same findings in other words, the sentences in their order."""
    changed = []
    for sentence in sentences_of(report):
        whole = next(((pattern, other) for pattern, other in _SAME_SENTENCE if pattern.search(sentence)), None)
        for pattern, other in (*([whole] if whole else []), *_SAME):
            sentence = pattern.sub(other, sentence, count=1)
        changed.append(sentence[:1].upper() + sentence[1:])
    text = " ".join(changed)
    return text if text.lower() != " ".join(sentences_of(report)).lower() else None


def flip_negation(report: str) -> str | None:
    """What one sentence denied is now stated."""

    def flip(sentence: str) -> str | None:
        if _SPARED.search(sentence):
            return None
        found = ((pattern, other) for pattern, other in _DENIALS if pattern.search(sentence))
        changed = next((pattern.sub(other, sentence, count=1) for pattern, other in found), None)
        return None if changed is None else changed[:1].upper() + changed[1:]

    return _change_one(report, flip)


def swap_side(report: str) -> str | None:
    """What one sentence placed on one side is now on the other."""
    return _change_one(report, lambda sentence: _replaced(sentence, _SIDES))


def change_severity(report: str) -> str | None:
    """A degree or a size that one sentence stated is now its opposite."""
    return _change_one(report, lambda sentence: _replaced(sentence, _DEGREES))


def omit_finding(report: str) -> str | None:
    """The first sentence that states a finding is gone."""
    rows = sentences_of(report)
    stated = next((i for i, row in enumerate(rows) if positives(row) - {"No Finding", "Support Devices"}), None)
    return None if stated is None or len(rows) < 2 else " ".join(rows[:stated] + rows[stated + 1 :])


def invent_finding(report: str) -> str | None:
    """A finding that the report does not state is added at the end; which one depends on the text alone."""
    there, start = positives(report), keyed_seed("invented", report)
    order = [_INVENTED[(start + i) % len(_INVENTED)] for i in range(len(_INVENTED))]
    return next((f"{report.strip()} {sentence}" for label, sentence in order if label not in there), None)


def invent_prior(report: str) -> str | None:
    """A comparison is added to a report that makes none."""
    return None if _COMPARES.search(report) else f"{report.strip()} {_PRIOR}"


def repeat_sentences(report: str) -> str | None:
    """Every sentence stands there twice, the second time after all of the first."""
    return f"{report.strip()} {' '.join(sentences_of(report))}"


def _change_one(report: str, change: Callable[[str], str | None]) -> str | None:
    """The report with the first sentence changed that can be."""
    rows = sentences_of(report)
    for i, row in enumerate(rows):
        changed = change(row)
        if changed is not None:
            return " ".join([*rows[:i], changed, *rows[i + 1 :]])
    return None


def _replaced(sentence: str, others: dict[str, str]) -> str | None:
    """The sentence with each of the words exchanged; None for one without them, or one that denies something."""
    if _DENIES.search(sentence):
        return None
    pattern = re.compile(rf"\b({'|'.join(others)})\b", re.IGNORECASE)

    def other(found: re.Match[str]) -> str:
        word = others[found[0].lower()]
        return word.capitalize() if found[0][0].isupper() else word

    changed, n = pattern.subn(other, sentence)
    return changed if n else None
