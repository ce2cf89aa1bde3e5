"""Exports and rewards as TRL trained on them; bench/golden_export.py wrote what was found."""

import json
import math
from pathlib import Path

import pytest

from chexalign.ids import digest
from chexalign.pairs.export_formats import parquet_schema

FOUND = json.loads((Path(__file__).parent / "export" / "trl.json").read_text())


@pytest.mark.parametrize("format", ["trl", "trl-unpaired"])
def test_the_schema_is_the_one_that_trl_has_trained_on(format):
    found = FOUND["formats"][format]
    schema = parquet_schema(format)
    assert schema is not None
    assert found["schema"] == digest(str(schema)), "run bench/golden_export.py again"
    assert found["columns"] == schema.names
    assert found["images"] == [[64, 64], [64, 64]]
    assert math.isfinite(found["loss"])


def test_grpo_logged_the_mean_of_what_the_judge_scored():
    assert FOUND["grpo"]["mean"] > 0  # texts without a score are left out, not 0 and not NaN
    assert math.isfinite(FOUND["grpo"]["std"])
