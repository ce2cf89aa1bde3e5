"""What judges said is kept and found again by content: hits, misses, damage, several writers, and whose it is."""

import multiprocessing

import pytest

from chexalign import atomic, ids
from chexalign.errors import UserError
from chexalign.judges.base import Judgement, TextPair
from chexalign.judges.score_store import IDENTITY, ScoreStore, StoredJudge, pair_key
from tests.slow_judge import SlowJudge

A = {"judge": "slow", "version": "1", "options": {}}
B = A | {"version": "2"}
SAID = {
    "k0": Judgement(0.1 + 0.2, {"tp": 1.0, "fn": -0.0}, notes={"answer": "Matched: none.\n\x0b é"}),
    "k1": Judgement(None, {"compat": 1 / 3}, "unparsed", "no section"),
    "k2": Judgement(-1.5),
}


def files(store):
    return sorted(path.name for path in store.folder.glob("*.parquet"))


def pairs(*texts):
    return [TextPair(text, "Clear lungs.") for text in texts]


def test_what_was_put_is_found_by_others_exactly_and_nothing_else(tmp_path):
    writer = ScoreStore(tmp_path, A)
    assert writer.get(["k0"]) == {}
    writer.put({key: SAID[key] for key in ("k0", "k1")})
    reader = ScoreStore(tmp_path, A)
    assert reader.get(["k1", "k0", "k2"]) == {"k0": SAID["k0"], "k1": SAID["k1"]}
    writer.put({"k2": SAID["k2"]})
    assert reader.get(SAID) == SAID, "a file that came later is seen at the next look-up"
    assert ScoreStore(tmp_path, B).get(SAID) == {}, "another version of the judge said nothing yet"
    assert reader.damaged == {}


def test_putting_nothing_writes_nothing_and_equal_rows_are_one_file(tmp_path):
    store = ScoreStore(tmp_path, A)
    store.put({})
    assert files(store) == []
    store.put(SAID)
    store.put(dict(reversed(SAID.items())))
    assert len(files(store)) == 1
    assert files(store)[0].endswith("-3.parquet")


def test_the_first_of_two_judgements_of_a_text_stays(tmp_path):
    store = ScoreStore(tmp_path, A)
    store.put({"k": Judgement(1.0)})
    assert store.get(["k"])["k"].value == 1.0
    for other in range(4):
        store.put({"k": Judgement(2.0 + other)})
        assert store.get(["k"])["k"].value == 1.0


def truncated(path):
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def removed(path):
    path.unlink()


@pytest.mark.parametrize("damage", [truncated, emptied, flipped, removed])
@pytest.mark.parametrize("looked_at_before", [True, False])
def test_a_damaged_file_is_put_aside_and_mended_by_putting_its_rows_again(tmp_path, damage, looked_at_before):
    store = ScoreStore(tmp_path, A)
    store.put({"k2": SAID["k2"]})
    store.put({"k0": SAID["k0"], "k1": SAID["k1"]})
    (path,) = store.folder.glob("*-2.parquet")
    if looked_at_before:
        assert store.get(SAID) == SAID
    else:
        store = ScoreStore(tmp_path, A)
    damage(path)
    assert store.get(SAID) == {"k2": SAID["k2"]}
    assert store.damaged == ({path.name: 2} if looked_at_before or damage is not removed else {})
    store.put({"k0": SAID["k0"], "k1": SAID["k1"]})
    assert store.get(SAID) == SAID
    later = ScoreStore(tmp_path, A)
    assert later.get(SAID) == SAID
    assert later.damaged == {}, "it is told once"


@pytest.mark.parametrize("text", ["", "[]", '{"judge": "slow"}'])
def test_a_store_that_is_not_the_judges_own_is_refused(tmp_path, text):
    store = ScoreStore(tmp_path, A)
    assert atomic.read_json(store.folder / IDENTITY) == A
    assert store.folder.name == ids.digest(A)
    (store.folder / IDENTITY).write_text(text)
    with pytest.raises(UserError, match="belongs to another judge than slow@1") as e:
        ScoreStore(tmp_path, A)
    assert len(str(e.value).splitlines()) == 3


def write_some(root, who):
    store = ScoreStore(root, A)
    for i in range(5):
        store.put({f"{who}-{i}": Judgement(float(i)), f"both-{i}": Judgement(7.0)})


def test_several_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_some, args=(tmp_path, who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    keys = [f"{who}-{i}" for who in (0, 1, 2, "both") for i in range(5)]
    assert sorted(ScoreStore(tmp_path, A).get(keys)) == sorted(keys)


def test_a_text_is_judged_once_whoever_asks(tmp_path):
    log = tmp_path
    first = StoredJudge(SlowJudge(log=str(log)), tmp_path / "store", {})
    assert [j.value for j in first.score(pairs("a b", "a", "a b"))] == [2.0, 1.0, 2.0]
    assert first.calls == {"stored": 0, "computed": 2}
    second = StoredJudge(SlowJudge(log=str(log)), tmp_path / "store", {})
    found = second.score(pairs("a", "a b c", "a b"))
    assert [j.value for j in found] == [1.0, 3.0, 2.0]
    assert found[0].notes == {"said": "1 words"}
    assert second.calls == {"stored": 2, "computed": 1}
    assert len((log / "asked").read_text().splitlines()) == 3
    assert (second.name, second.version) == ("slow", "1")


def test_other_options_and_versions_are_other_judges(tmp_path):
    log = str(tmp_path)
    StoredJudge(SlowJudge(log=log), tmp_path / "store", {}).score(pairs("a"))
    for options, version in (({"strict": True}, "1"), ({}, "2")):
        judge = SlowJudge(log=log)
        judge.version = version
        other = StoredJudge(judge, tmp_path / "store", options)
        other.score(pairs("a"))
        assert other.calls == {"stored": 0, "computed": 1}


def test_a_failure_is_not_kept_and_the_rest_of_its_block_is(tmp_path):
    judge = SlowJudge(log=str(tmp_path))
    texts = [*(f"text {i}" for i in range(9)), "broken one"]
    for computed in (10, 1):
        stored = StoredJudge(judge, tmp_path / "store", {})
        *fine, broken = stored.score(pairs(*texts))
        assert [j.value for j in fine] == [2.0] * 9
        assert (broken.status, broken.reason) == ("error", "the judge raised ValueError")
        assert stored.calls["computed"] == computed


def test_equal_texts_alone_have_an_equal_key():
    assert pair_key(TextPair("a", "b")) == pair_key(TextPair("a", "b"))
    assert len({pair_key(TextPair(*texts)) for texts in (("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"))}) == 4
