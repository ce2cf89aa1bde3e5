"""Splits by patient: never one patient in two, never more than asked for, the same on every machine."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chexalign.data.base import BEYOND, assign_by_patient, held_out_first

PATIENTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.sampled_from("uvwxyz"), max_size=30)
SIZES = st.dictionaries(st.sampled_from(["test", "validation", "sft", "prefer"]), st.integers(1, 12), max_size=4)


@given(patients=PATIENTS, sizes=SIZES)
def test_no_patient_is_in_two_splits_and_every_study_is_accounted_for(patients, sizes):
    splits, dropped = assign_by_patient(patients, sizes, seed=1)
    of = {patient: {splits[i] for i in splits if patients[i] == patient} for patient in patients.values()}
    assert all(len(found) <= 1 for found in of.values())
    assert all(n <= sizes[name] for name, n in Counter(splits.values()).items())
    assert len(splits) + dropped[BEYOND] == len(patients)


@given(patients=PATIENTS, sizes=SIZES)
def test_the_order_in_which_studies_are_listed_does_not_decide_who_is_where(patients, sizes):
    forward, _ = assign_by_patient(patients, sizes, seed=1)
    backward, _ = assign_by_patient(dict(reversed(patients.items())), sizes, seed=1)
    place = {patients[i]: name for i, name in forward.items()}
    assert place == {patients[i]: name for i, name in backward.items()}


@given(patients=PATIENTS, sizes=SIZES, bad=st.sets(st.text("abcdef", min_size=1, max_size=3)))
def test_unusable_studies_take_no_place_that_a_usable_one_could_have(patients, sizes, bad):
    asked = []

    def reason(i):
        asked.append(i)
        return "bad" if i in bad else None

    splits, dropped = assign_by_patient(patients, sizes, seed=1, reason=reason)
    assert len(splits) + sum(dropped.values()) == len(patients)
    unasked = {i for i in splits if i not in asked}
    assert not unasked or sum(sizes.values()) >= len(unasked)
    assert all(i in unasked or i not in bad for i in splits)
    assert len(asked) == len(set(asked))


def test_a_split_that_takes_all_asks_nothing():
    def reason(i):
        raise AssertionError(i)

    assert assign_by_patient({"a": "p", "b": "q"}, {"sft": 2}, seed=1, reason=reason)[0] == {"a": "sft", "b": "sft"}


def test_more_to_train_on_changes_nothing_of_what_is_held_out():
    patients = {f"s{n}": f"p{n // 2}" for n in range(40)}
    few, many = (
        assign_by_patient(patients, held_out_first({"sft": n, "validation": 4, "test": 6}), seed=1)[0] for n in (2, 20)
    )
    assert {i: s for i, s in few.items() if s != "sft"} == {i: s for i, s in many.items() if s != "sft"}
