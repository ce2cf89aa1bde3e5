"""Whatever was done before, damaged or dropped, a stage ends with the same table and accounts for every row."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.data.base import DropStudyError, Item
from chexalign.data.prepare import StudiesWorker
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import Prompt, Study

KEY = StageKey("prompts", {}, {}, 1)


@dataclass
class Writer:
    """As many rows per part as told; remembers which parts it was asked for."""

    sizes: list[int]
    calls: list[int] = field(default_factory=list)

    def setup(self) -> None:
        """Nothing to load."""

    def part(self, index: int) -> PartResult[Prompt]:
        self.calls.append(index)
        rows = [Prompt(f"p{index}-{i}", f"s{i}", "findings", "ü" * i, "findings@1") for i in range(self.sizes[index])]
        return PartResult(rows, {"blank": index})


def finish(folder: Path, sizes: list[int]) -> tuple[Manifest, list[int]]:
    worker = Writer(sizes)
    manifest = run_parts(Table(folder, Prompt), worker, key=KEY, n_parts=len(sizes))
    return manifest, worker.calls


@given(data=st.data(), sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6))
@settings(max_examples=15)
def test_what_was_done_before_does_not_change_the_table(data, sizes):
    indices = st.lists(st.sampled_from(range(len(sizes))), unique=True)
    before, damaged = data.draw(indices), data.draw(indices)
    with tempfile.TemporaryDirectory() as folder:
        whole, calls = finish(Path(folder) / "whole", sizes)
        assert calls == list(range(len(sizes)))
        table, worker = Table(Path(folder) / "resumed", Prompt), Writer(sizes)
        for index in before:
            result = worker.part(index)
            table.write_part(index, result.rows, fingerprint=KEY.fingerprint, dropped=result.dropped)
        for index in set(before) & set(damaged):
            path = table.part_path(index)
            at = data.draw(st.integers(0, path.stat().st_size - 1))
            content = bytearray(path.read_bytes())
            content[at] ^= data.draw(st.integers(1, 255))
            path.write_bytes(content)
        resumed, calls = finish(table.folder, sizes)
        assert calls == sorted(set(range(len(sizes))) - (set(before) - set(damaged)))
        assert (resumed.content, resumed.rows, resumed.dropped) == (whole.content, whole.rows, whole.dropped)
        assert table.rows() == Table(Path(folder) / "whole", Prompt).rows()
        assert finish(table.folder, sizes) == (resumed, [])


class Collection:
    """Studies whose payload is the reason to drop them, or None."""

    license, synthetic = "CC0", True

    def study(self, item: Item, images: Path) -> Study:
        if item.payload is not None:
            raise DropStudyError(item.payload)
        return Study(item.id, item.id, (), None, "Clear.", None, (), item.split, "hand", self.license)


@given(
    reasons=st.lists(st.sampled_from([None, None, "no_image", "empty"]), max_size=20),
    part_size=st.integers(1, 7),
)
@settings(max_examples=30)
def test_no_study_disappears_without_a_reason(reasons, part_size):
    items = [Item(f"s{i:02}", "test", reason) for i, reason in enumerate(reasons)]
    with tempfile.TemporaryDirectory() as folder:
        worker = StudiesWorker(Collection(), items, Path(folder), part_size=part_size)
        table = Table(Path(folder) / "studies", Study)
        manifest = run_parts(table, worker, key=KEY, n_parts=worker.n_parts, dropped_before={"beyond_the_split": 2})
        assert [s.id for s in table.rows()] == [item.id for item in items if item.payload is None]
    assert manifest.rows + sum(manifest.dropped.values()) == len(items) + 2
    assert manifest.dropped == dict(Counter(r for r in reasons if r)) | {"beyond_the_split": 2}
    assert manifest.parts == -(-len(items) // part_size)
