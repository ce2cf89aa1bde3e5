"""What a server was asked for, over all parts of a table."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from chexalign.store import MANIFEST, Manifest, Table
from chexalign.types import Candidate


def with_usage(table: Table[Candidate], manifest: Manifest) -> Manifest:
    """The manifest with the usage of its parts added up; saved where the table is finished.

    Parts that were made by an earlier call count too: what was paid for is paid for.
    """
    infos = [table.info(i) for i in range(manifest.parts) if table.part_path(i).with_suffix(".json").is_file()]
    total = add_up(info.extra["usage"] for info in infos if "usage" in info.extra)
    if manifest.extra.get("usage") == total:
        return manifest
    manifest = dataclasses.replace(manifest, extra=manifest.extra | {"usage": total})
    if (table.folder / MANIFEST).is_file():
        manifest.save(table.folder)
    return manifest


def add_up(accounts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of each number; `failed` has counts by kind."""
    numbers: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for account in accounts:
        failed.update(account.get("failed", {}))
        numbers.update({name: value for name, value in account.items() if name != "failed"})
    return dict(numbers) | ({"failed": dict(sorted(failed.items()))} if failed else {})


def in_words(usage: Mapping[str, Any]) -> str:
    """The account as a line: "server: 120 requests, 4,000 tokens read, 9,000 written"."""
    said = (
        f"server: {usage['requests']:,} requests, {usage['prompt_tokens']:,} tokens read, "
        f"{usage['completion_tokens']:,} written"
    )
    if "failed" in usage:
        said += ", tried again: " + ", ".join(f"{kind} {n:,}" for kind, n in usage["failed"].items())
    return said + (f", cost {usage['cost']:,.2f}" if "cost" in usage else "")
