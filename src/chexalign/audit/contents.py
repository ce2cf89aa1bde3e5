"""Checks of what a table holds: contradictions, empty texts, files that are gone or changed, published counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from chexalign.audit.image_hashes import ImageHash
from chexalign.audit.ledger import Contradictions, Ledger
from chexalign.audit.verdict import KEPT, Check, Status, together
from chexalign.data.counts import PUBLISHED
from chexalign.store import Manifest

_BAD_FILES: dict[str, Status] = {"missing": "fail", "changed": "fail", "unreadable": "fail", "flat": "warn"}
_USUAL, _RARE = 0.5, 0.05  # shares of a split's studies that have a section


def contradictions(ledgers: Sequence[Ledger]) -> Check:
    """Whether one question about the same images has two answers, or the same images have two reports."""
    checks = []
    for ledger in ledgers:
        studies = ledger.table == "studies"
        thing = (
            "studies have the images of another one and another report"
            if studies
            else ("questions were asked before of the same images and have another answer")
        )
        checks.append(_told("contradictions", "warn", ledger.answers, thing))
    return together("contradictions", checks)


def owners(ledgers: Sequence[Ledger]) -> Check:
    """Whether an image belongs to two patients, so that splits by patient do not keep it apart."""
    checks = [_told("owners", "warn", ledger.owners, "uses of images are by another patient") for ledger in ledgers]
    return together("owners", checks)


def sections(ledgers: Sequence[Ledger]) -> Check:
    """Whether texts are empty, or a section is usual in one split and all but absent from another."""
    checks = [_told("sections", "warn", ledger.empty, "texts have no word in them") for ledger in ledgers]
    for ledger in ledgers:
        uneven = [
            {"section": name, "splits": f"{most} {shares[most]:.0%}, {least} {shares[least]:.0%}"}
            for name, shares in _shares(ledger)
            for most, least in [(max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__))]
            if shares[most] >= _USUAL and shares[least] <= _RARE
        ]
        if uneven:
            said = f"{len(uneven)} sections are usual in one split and rare in another"
            checks.append(Check("sections", "warn", len(uneven), said, tuple(uneven)))
    return together("sections", checks)


def files(hashes: Sequence[ImageHash]) -> Check:
    """Whether image files are missing, unreadable, of another content than when the table was made, or of one gray."""
    states = Counter(row.state for row in hashes)
    bad = [row for row in hashes if row.state != "whole"]
    bad.sort(key=lambda row: _BAD_FILES[row.state] != "fail")
    said = ", ".join(f"{n:,} {state}" for state, n in states.most_common()) or "no images"
    found = [{"file": row.path, "sha256": row.sha256[:16], "state": row.state} for row in bad[:KEPT]]
    return Check("files", _BAD_FILES[bad[0].state] if bad else "ok", len(bad), said, tuple(found))


def counts(ledger: Ledger, manifest: Manifest) -> Check:
    """Whether the table, with what was left out, has as many rows as were published."""
    if len(ledger.sources) != 1 or (source := next(iter(ledger.sources))) not in PUBLISHED:
        names = ", ".join(ledger.sources) or "an empty table"
        return Check("counts", "skipped", 0, f"no published count is known of {names}")
    published = PUBLISHED[source]
    there = ledger.rows + sum(n for reason, n in manifest.dropped.items() if reason not in published.but)
    said = f"{source} lists {there:,} {published.what}"
    if there == published.n:
        return Check("counts", "ok", 0, f"{said}, as published")
    told = f"{published.n:,} ({published.origin})"
    found = {"source": source, "there": f"{there:,}", "published": told}
    return Check("counts", "warn", 1, f"{said}, published are {told}", (found,))


def _told(name: str, status: Status, what: Contradictions, thing: str) -> Check:
    if not what.n:
        return Check(name, "ok", 0, "none found")
    return Check(name, status, what.n, f"{what.n:,} {thing}", tuple(what.found))


def _shares(ledger: Ledger) -> Iterator[tuple[str, dict[str, float]]]:
    """The share of studies that have a section, by split; where there are several splits."""
    for name, filled in ledger.filled.items():
        if len(ledger.per_split) > 1:
            yield name, {split: cast(int, filled[split]) / n for split, n in ledger.per_split.items()}
