"""Numbers by type of question stay numbers, whatever is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chexalign.types import Evidence
from tests.unit.test_question_types import CHOOSE, LISTED, VERIFY, numbers, write

TEXTS = (
    st.none()
    | st.sampled_from(
        [
            "Yes.",
            "no",
            "(A)",
            "(B) edema",
            "edema, mass",
            "none",
            "",
            "A and B",
            "mass",
            "<answer></answer>",
            "fracture",
        ]
    )
    | st.text(max_size=8)
)
TRUTHS = st.sampled_from(
    [
        replace(CHOOSE, evidence=(Evidence("label", "mass", present=False),)),
        replace(LISTED, answers=()),
        replace(LISTED, evidence=(Evidence("code", "fracture/left", present=False),), kind="compare"),
        replace(VERIFY, evidence=(Evidence("label", "edema", present=False),), kind="region"),
        replace(VERIFY, options=(), evidence=(Evidence("study", "s2", present=False),)),
        replace(LISTED, options=(), answers=("edema",)),
        replace(CHOOSE, answer_type="open", options=()),
    ]
)
ASKED = st.lists(st.tuples(TRUTHS, TEXTS, TEXTS, st.floats(-30, 0)), min_size=1, max_size=40)


@settings(max_examples=60)
@given(ASKED)
def test_whatever_is_written_gives_shares_or_nothing(asked):
    questions = [replace(question, id=f"q{i}", patient_id=f"p{i}") for i, (question, *_) in enumerate(asked)]
    logps = [logp for *_, logp in asked]
    written = {
        "sft": write(questions, [text for _, text, _, _ in asked], "sft", logps),
        "dpo": write(questions, [text for _, _, text, _ in asked], "dpo", logps),
    }
    of = numbers(questions, written, resamples=5, how={"aggregate": "mean", "span": "output"})
    for estimate in [*of.estimates(), *(one.ece for one in of.calibrations())]:
        low = 0 if estimate.baseline is None else -1
        if estimate.value is None:
            assert estimate.low is None
        elif not estimate.metric.endswith("relative_gain"):
            assert low <= estimate.value <= 1 + 1e-12
        else:
            assert estimate.value >= -1
    for one in of.results:
        affirmed = np.nan_to_num(one.affirmed).astype(bool)
        assert not (affirmed & (one.right == 1)).any()
