"""The lookups find exactly the pairs that comparing all with all finds, and a check exactly what was planted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chexalign.audit import leaks
from chexalign.audit.ledger import read_studies
from chexalign.audit.near import Signatures, hamming_pairs, near_pairs
from chexalign.audit.near_texts import jaccard, near_identical, shingles
from chexalign.audit.verdict import Splits
from chexalign.types import ImageRef
from tests.prepared import study

words64 = st.integers(0, 2**64 - 1)
SPLITS = ("sft", "validation", "test")


@st.composite
def crowded(draw):
    """Numbers that lie around a few centers, so that many are near each other and some are equal."""
    centers = draw(st.lists(words64, min_size=1, max_size=3))
    flips = st.lists(st.integers(0, 63), max_size=10, unique=True)
    chosen = draw(st.lists(st.tuples(st.sampled_from(centers), flips), max_size=30))
    return np.array([center ^ sum(1 << bit for bit in bits) for center, bits in chosen], dtype=np.uint64)


@given(crowded(), crowded(), st.integers(0, 12))
def test_the_lookup_by_bands_finds_each_near_pair_once(left, right, radius):
    found = [pair for i, j in hamming_pairs(left, right, radius=radius) for pair in zip(i, j, strict=True)]
    apart = np.bitwise_count(left[:, None] ^ right[None, :])
    assert len(found) == len(set(found))
    assert set(found) == set(zip(*np.nonzero(apart <= radius), strict=True))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_copies_are_those_with_few_other_signs(flipped, random):
    """The first image against copies of it with so many of 1,024 signs turned, all of them strong."""
    rng = np.random.default_rng(random.getrandbits(32))
    signs = rng.integers(0, 2, 1024, dtype=np.uint8)
    copies = np.tile(signs, (len(flipped), 1))
    for row, n in zip(copies, flipped, strict=True):
        row[rng.permutation(1024)[:n]] ^= 1
    strong = np.full((len(flipped), 16), 2**64 - 1, dtype=np.uint64)

    def packed(bits):
        return np.packbits(bits, axis=1).view(np.uint64)

    left = Signatures(np.zeros(1, np.uint64), packed(signs[None]), strong[:1])
    right = Signatures(np.zeros(len(flipped), np.uint64), packed(copies), strong)
    found = near_pairs(left, right, threshold=0.02)
    assert [(j, round(share * 1024)) for _, j, share in found] == sorted(
        ((j, n) for j, n in enumerate(flipped) if n <= 20), key=lambda pair: (pair[1], pair[0])
    )


rows = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 30), st.sampled_from(SPLITS), st.integers(0, 12)), max_size=25
)


@given(rows)
def test_a_check_finds_exactly_what_was_planted(table):
    splits = Splits()
    studies = [
        study(
            i,
            split,
            [ImageRef("x.png", f"{sha:064x}", "frontal", 8, 8)],
            patient_id=f"p{patient}",
            id=f"s{n}",
            reference=f"text {patient}",
        )
        for i, (patient, n, split, sha) in enumerate(table)
    ]
    ledger = read_studies(studies, splits)

    def planted(key):
        places = {}
        for row in table:
            places.setdefault(key(row), set()).add(row[2])
        return {name for name, where in places.items() if len(where) > 1}

    found = leaks.patients([ledger], splits)
    assert {example["patient"] for example in found.found} == planted(lambda row: f"p{row[0]}")
    assert found.status == ("fail" if found.n else "ok")
    assert {e["image"] for e in leaks.images([ledger], splits).found} == planted(lambda row: f"{row[3]:064x}")
    in_two = {e["study"] for e in leaks.studies([ledger], splits).found if "study" in e}
    assert in_two == planted(lambda row: f"s{row[1]}")
    assert ledger.repeated.n == len(table) - len({row[1] for row in table})


WORDS = ("the", "lungs", "are", "clear", "heart", "normal", "small", "left", "effusion")
text = st.lists(st.sampled_from(WORDS), max_size=40)


@given(st.lists(text, max_size=12))
def test_texts_that_are_called_nearly_the_same_are(texts):
    sets = [shingles(words) for words in texts]
    found = {(i, j) for i, j, _ in near_identical(sets)}
    exact = {(i, j) for j in range(len(sets)) for i in range(j) if jaccard(sets[i], sets[j]) >= 0.8}
    assert found <= exact
    assert {(i, j) for i, j in exact if jaccard(sets[i], sets[j]) == 1} <= found
