"""Checks that no patient, study, image or long report is in two splits, in one table or across tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from chexalign.audit.image_hashes import ImageHash
from chexalign.audit.ledger import LONG_WORDS, Ledger
from chexalign.audit.near import THRESHOLD, near_pairs, signatures
from chexalign.audit.near_texts import near_identical
from chexalign.audit.verdict import KEPT, Check, Example, Splits, Status, in_several, together, worst

_SHORT = 16  # hex digits of a hash that are shown


def patients(ledgers: Sequence[Ledger], splits: Splits) -> Check:
    """Whether a patient is in two splits; tables that name patients alike are taken together."""
    return _by_namespace("patients", "patient", ledgers, splits)


def studies(ledgers: Sequence[Ledger], splits: Splits) -> Check:
    """Whether a study is in two splits, or an id stands twice in a table."""
    several = _by_namespace("studies", "study", ledgers, splits)
    twice = [_repeated(ledger) for ledger in ledgers if ledger.repeated.n]
    return together("studies", [several, *twice])


def images(ledgers: Sequence[Ledger], splits: Splits) -> Check:
    """Whether the bytes of an image are in two splits of any tables."""
    return in_several("images", "image", merged_images(ledgers), splits)


def near_images(ledgers: Sequence[Ledger], hashes: Sequence[ImageHash], splits: Splits) -> Check:
    """Whether an image in one split looks like a copy of another one in another split."""
    masks, paths = merged_images(ledgers), {row.sha256: row.path for row in hashes if row.coarse}
    whole = {row.sha256: row for row in hashes if row.coarse}
    found: list[tuple[Status, float, Example]] = []
    for first, second, share in _near(whole, masks, splits):
        status = splits.status(masks[first] | masks[second])
        if status == "ok":
            continue
        shown = {"image": first[:_SHORT], "other": second[:_SHORT], "files": f"{paths[first]} {paths[second]}"}
        where = f"{splits.shown(masks[first])} / {splits.shown(masks[second])}"
        found.append((status, share, shown | {"splits": where, "differing": f"{share:.3f}"}))
    found.sort(key=lambda pair: (pair[0] != "fail", pair[1]))
    said = f"{len(found):,} pairs look like copies" if found else f"no two of {len(whole):,} look like copies"
    said += f" across splits (at most {THRESHOLD:.0%} of the compared signs differ)"
    status = worst(status for status, _, _ in found)
    return Check("near_images", status, len(found), said, tuple(example for _, _, example in found[:KEPT]))


def texts(ledger: Ledger, splits: Splits) -> Check:
    """Whether whole reports, word for word, are in two splits.

    Short reports are written again and again, also of different patients: their share is told, and only long ones
    are held against the splits.
    """
    twice = {report: mask for report, mask in ledger.reports.items() if mask & (mask - 1)}
    long = {report: mask for report, mask in twice.items() if report in ledger.long_reports}
    status: Status = "warn" if long else "ok"
    found = [
        {"report": report.hex(), "study": ledger.report_ids[report], "splits": splits.shown(mask)}
        for report, mask in sorted(twice.items(), key=lambda pair: pair[0] not in long)
    ]
    told = _seen_before(ledger, splits)
    said = f"{len(twice):,} whole reports are in several splits, {len(long):,} of them of {LONG_WORDS} words or more"
    return Check("texts", status, len(twice), "; ".join([said, *told]), tuple(found[:KEPT]))


def near_texts(ledger: Ledger, splits: Splits) -> Check:
    """Whether long reports in two splits are nearly the same."""
    reports = list(ledger.shingles or ())
    masks = [ledger.reports[report] for report in reports]
    found: list[Example] = []
    pairs = near_identical(list((ledger.shingles or {}).values()))
    for i, j, alike in pairs:
        if splits.status(masks[i] | masks[j]) != "ok":
            ids = {"study": ledger.report_ids[reports[i]], "other": ledger.report_ids[reports[j]]}
            found.append(ids | {"splits": splits.shown(masks[i] | masks[j]), "alike": f"{alike:.2f}"})
    said = f"{len(found):,} pairs of {len(reports):,} reports of {LONG_WORDS} words or more are nearly the same"
    return Check("near_texts", "warn" if found else "ok", len(found), said, tuple(found[:KEPT]))


def merged_images(ledgers: Sequence[Ledger]) -> dict[str, int]:
    """The splits of each image over all tables, by its sha256."""
    masks: dict[str, int] = {}
    for ledger in ledgers:
        for image, mask in ledger.images.items():
            masks[image] = masks.get(image, 0) | mask
    return masks


def namespaces(ledgers: Sequence[Ledger]) -> list[list[Ledger]]:
    """The tables in groups that name patients alike: most images that two of a group share have one patient in both.

    Ids alone prove nothing: patient 1 of a collection is not patient 1 of another.
    """
    groups: list[list[Ledger]] = []
    for ledger in ledgers:
        alike = [group for group in groups if any(_alike(ledger, other) for other in group)]
        groups = [group for group in groups if group not in alike]
        groups.append([*(member for group in alike for member in group), ledger])
    return groups


def _alike(first: Ledger, second: Ledger) -> bool:
    shared = first.patient_of.keys() & second.patient_of.keys()
    return 2 * sum(first.patient_of[image] == second.patient_of[image] for image in shared) > len(shared)


def _by_namespace(name: str, what: str, ledgers: Sequence[Ledger], splits: Splits) -> Check:
    checks = []
    for group in namespaces(ledgers):
        masks: dict[str, int] = {}
        for ledger in group:
            for key, mask in (ledger.patients if what == "patient" else ledger.studies).items():
                masks[key] = masks.get(key, 0) | mask
        where = " + ".join(ledger.table for ledger in group)
        checks.append(in_several(name, what, masks, splits, where if len(ledgers) > 1 else ""))
    return together(name, checks)


def _repeated(ledger: Ledger) -> Check:
    said = f"{ledger.repeated.n:,} rows of {ledger.table} have the id of an earlier one"
    return Check("studies", "fail", ledger.repeated.n, said, tuple(ledger.repeated.found))


def _near(whole: dict[str, ImageHash], masks: dict[str, int], splits: Splits) -> Iterator[tuple[str, str, float]]:
    """Pairs of different images in different splits that look like copies, black and white exchanged or not."""
    import numpy as np

    names = list(whole)
    rows = whole.values()
    hashes = signatures([r.coarse for r in rows], [r.signs for r in rows], [r.strong for r in rows])
    bits = np.array([masks.get(name, 0) for name in names], dtype=np.int64)
    known: set[frozenset[str]] = set()
    for first, second in combinations(splits.bits(), 2):
        left, right = np.flatnonzero(bits & first), np.flatnonzero(bits & second)
        one, other = hashes.take(left), hashes.take(right)
        for i, j, share in near_pairs(one, other) + near_pairs(one, other.inverted()):
            pair = frozenset((names[left[i]], names[right[j]]))
            if len(pair) == 2 and pair not in known:
                known.add(pair)
                yield names[left[i]], names[right[j]], share


def _seen_before(ledger: Ledger, splits: Splits) -> list[str]:
    """How many references of each held-out split are also, word for word, references that are learned from."""
    learned = {digest for digest, split in ledger.references if splits.is_learned(split)}
    there, seen = Counter[str](), Counter[str]()
    for (digest, split), n in ledger.references.items():
        if learned and not splits.is_learned(split):
            there[split] += n
            seen[split] += n if digest in learned else 0
    return [f"{seen[split] / n:.0%} of the references of {split} are also learned from" for split, n in there.items()]
