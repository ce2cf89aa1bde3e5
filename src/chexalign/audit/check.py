"""All checks of a folder of prepared tables, in order."""

from __future__ import annotations

from collections.abc import Iterator

from chexalign.audit import contents, leaks
from chexalign.audit.image_hashes import ImageHash, hash_images, new_images
from chexalign.audit.ledger import Ledger, read_questions, read_studies
from chexalign.audit.tables import Prepared
from chexalign.audit.verdict import Check, Splits, together


def check_prepared(
    prepared: Prepared, *, images: bool = True, workers: int = 1, near_texts: bool = False
) -> list[Check]:
    """Every check of the tables, those of leaks first; without `images` no image file is opened.

    With `near_texts`, also long reports that are nearly the same. The hashes of the images are stored in the folder,
    so that a second check only looks whether files have changed.
    """
    splits = Splits()
    ledgers = list(read_ledgers(prepared, splits, shingled=near_texts))
    hashes = _hashes(prepared, ledgers, workers) if images else None
    checks = [leaks.patients(ledgers, splits), leaks.studies(ledgers, splits), leaks.images(ledgers, splits)]
    if hashes is None:
        checks.append(_skipped("near_images"))
    else:
        checks.append(leaks.near_images(ledgers, hashes, splits))
    checks += [leaks.texts(ledger, splits) for ledger in ledgers if ledger.table == "studies"]
    checks += [leaks.near_texts(ledger, splits) for ledger in ledgers if ledger.shingles is not None]
    checks += [contents.contradictions(ledgers), contents.owners(ledgers), contents.sections(ledgers)]
    checks.append(_skipped("files") if hashes is None else contents.files(hashes))
    checks.append(together("counts", [contents.counts(ledger, prepared.manifests[ledger.table]) for ledger in ledgers]))
    return checks


def read_ledgers(prepared: Prepared, splits: Splits, *, shingled: bool = False) -> Iterator[Ledger]:
    """The ledgers of all tables, studies first, each read once."""
    if prepared.studies is not None:
        yield read_studies(prepared.studies.iter_rows(), splits, shingled=shingled)
    for name, table in prepared.questions.items():
        yield read_questions(name, table.iter_rows(), splits)


def _hashes(prepared: Prepared, ledgers: list[Ledger], workers: int) -> list[ImageHash]:
    found: list[ImageHash] = []
    for ledger, images in zip(ledgers, new_images([ledger.files for ledger in ledgers]), strict=True):
        if images:
            found += hash_images(prepared.folder.root, ledger.table, images, workers=workers)
    return found


def _skipped(name: str) -> Check:
    return Check(name, "skipped", 0, "image files were not opened")
