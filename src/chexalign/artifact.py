"""Stages whose output is a folder of files, such as a checkpoint, and not a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chexalign import atomic, ids
from chexalign.stage import StageKey
from chexalign.store import MANIFEST, Manifest

LOG = "training.json"
CARD = "README.md"  # for people, who may add to it: no digest counts it


def finished(folder: Path, key: StageKey) -> Manifest | None:
    """The manifest when the folder holds this stage's output, whole; None when it must be (re)done."""
    manifest = Manifest.load(folder)
    if manifest is None or manifest.fingerprint != key.fingerprint:
        return None
    return manifest if _files(folder) == manifest.extra["files"] else None


def finish(
    folder: Path,
    key: StageKey,
    *,
    rows: int,
    seconds: float,
    log: list[dict[str, float]] | None = None,
    dropped: dict[str, int] | None = None,
    extra: dict[str, Any] | None = None,
) -> Manifest:
    """Writes the training log and then the manifest with the digest of every file; call it last."""
    atomic.write_json(folder / LOG, log or [])
    files = _files(folder)
    manifest = Manifest(
        stage=key.stage,
        fingerprint=key.fingerprint,
        inputs=key.inputs,
        config=key.config,
        seed=key.seed,
        rows=rows,
        dropped=dropped or {},
        content=ids.digest(sorted((name, digest) for name, digest in files.items() if name != LOG)),
        seconds=seconds,
        extra={"files": files, **(extra or {})},
    )
    manifest.save(folder)
    return manifest


def read_log(folder: Path) -> list[dict[str, float]]:
    """The numbers of each training step."""
    log: list[dict[str, float]] = atomic.read_json(folder / LOG)
    return log


def _files(folder: Path) -> dict[str, str]:
    left_out = (MANIFEST, CARD)
    names = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in left_out and p.name[0] != ".")
    return {p.name: ids.file_sha256(p) for p in names}
