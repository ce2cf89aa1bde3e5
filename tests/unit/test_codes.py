"""Labels and captions of codes, which the tiny policy is pretrained on."""

import numpy as np

from chexalign.demo.codes import caption, facts, label_matrix, label_space

STUDIES = [
    ["Opacity/lung/base/left", "Cardiomegaly"],
    ["Opacity/lung/right"],
    ["normal"],
    ["Cardiomegaly/mild"],
    [],
]


def test_facts_by_hand():
    assert facts(["Opacity/lung/right", "normal"]) == {"Opacity", "Opacity/lung", "Opacity/right", "normal"}
    assert facts(["Catheters, Indwelling / right "]) == {"Catheters, Indwelling", "Catheters, Indwelling/right"}
    assert facts([]) == set()


def test_the_order_and_repetition_of_codes_do_not_matter():
    codes = ["Opacity/lung", "Cardiomegaly/mild"]
    assert facts(codes) == facts(codes[::-1] * 2)
    assert caption(codes) == caption(codes[::-1] * 2)


def test_the_label_space_is_sorted_by_frequency_and_then_by_name():
    assert label_space(STUDIES, at_least=2) == ["Cardiomegaly", "Opacity", "Opacity/lung"]
    assert label_space(STUDIES, at_least=3) == []
    assert label_space(STUDIES, at_least=1)[3:] == [
        "Cardiomegaly/mild",
        "Opacity/base",
        "Opacity/left",
        "Opacity/right",
        "normal",
    ]


def test_a_fact_counts_once_per_study():
    assert label_space([["Opacity/left", "Opacity/right"]], at_least=2) == []


def test_the_label_matrix_by_hand():
    matrix = label_matrix(STUDIES, ["Cardiomegaly", "Opacity", "Opacity/left"])
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert label_matrix([], ["Opacity"]).shape == (0, 1)


def test_captions_by_hand():
    assert caption(["Opacity/lung/base/left", "Cardiomegaly/mild"]) == "cardiomegaly mild. opacity lung base left."
    assert caption(["Catheters, Indwelling/right"]) == "catheters indwelling right."
    assert caption([]) == caption(["normal"]) == "normal."
