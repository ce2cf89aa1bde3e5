"""Every record comes back from a table as it went in."""

import dataclasses
import tempfile
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.store import Manifest, Table, _plain, merge_dropped
from chexalign.types import Candidate, Estimate, ImageRef, Pair, Prediction, Prompt, Score, Study, Verdict

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(-(2**63), 2**63 - 1)
sizes = st.integers(1, 10_000)
names = st.text(min_size=1)
texts = st.one_of(
    st.text(), st.sampled_from(["", "Kein Erguß.", "心影不大", "a\x00b", "\u202e", "😀", "x\r\ny", "'\"\\"])
)
images = st.builds(ImageRef, path=texts, height_px=sizes, width_px=sizes)
studies = st.builds(
    Study,
    id=names,
    images=st.lists(images, max_size=3).map(tuple),
    reference=texts.filter(str.strip),
    codes=st.lists(texts, max_size=3).map(tuple),
)
parts = st.lists(st.tuples(texts, numbers), max_size=3).map(tuple)
scores = st.one_of(
    st.builds(Score, value=numbers, parts=parts, status=st.just("ok")),
    st.builds(Score, value=st.none(), parts=parts, status=st.sampled_from(["unparsed", "refused", "error"])),
)
pairs = st.builds(Pair, chosen_id=names, rejected_id=st.just(""), margin=numbers, delta_words=counts)
intervals = st.one_of(st.tuples(numbers, numbers), st.just((None, None)))
estimates = intervals.flatmap(
    lambda bounds: st.builds(
        Estimate,
        low=st.just(bounds[0]),
        high=st.just(bounds[1]),
        value=st.one_of(st.none(), numbers),
        level=numbers,
        n=counts,
        n_clusters=counts,
    )
)
STRATEGIES = {
    ImageRef: images,
    Study: studies,
    Prompt: st.builds(Prompt, text=texts),
    Candidate: st.builds(Candidate, n_tokens=counts, draw=counts, sum_logp=st.one_of(st.none(), numbers)),
    Score: scores,
    Pair: pairs,
    Verdict: st.builds(Verdict, weight=numbers),
    Prediction: st.builds(Prediction, text=texts, n_tokens=counts),
    Estimate: estimates,
}


def kept(folder: Path, record: type, rows: list, *, part_size: int) -> tuple[list, list[str]]:
    """The rows that come back from a table of parts, and the parts' content digests."""
    table: Table[typing.Any] = Table(folder, record)
    starts = range(0, len(rows), part_size)
    infos = [table.write_part(i, rows[s : s + part_size], fingerprint="f") for i, s in enumerate(starts)]
    Manifest("stage", "f", {}, {}, 0, len(rows), {}, "", 0.0, parts=len(infos)).save(folder)
    return table.rows(), [info.content for info in infos]


@pytest.mark.parametrize("record", STRATEGIES, ids=lambda r: r.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_records_come_back(record, data):
    rows = data.draw(st.lists(STRATEGIES[record], max_size=5))
    with tempfile.TemporaryDirectory() as folder:
        found, digests = kept(Path(folder), record, rows, part_size=2)
        again, digests_again = kept(Path(folder), record, found, part_size=2)
    assert found == again == rows
    assert [type(row) for row in found] == [record] * len(rows)
    assert digests == digests_again


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)), max_size=5))
def test_dropped_reasons_add_up(dropped):
    total = merge_dropped(dropped)
    assert total == merge_dropped(dropped[::-1])
    assert sum(total.values()) == sum(n for counts in dropped for n in counts.values())


@given(rows=st.lists(st.one_of(studies, scores, pairs, estimates), max_size=5))
def test_plain_rows_are_those_of_asdict(rows):
    assert [_plain(row) for row in rows] == [dataclasses.asdict(row) for row in rows]
