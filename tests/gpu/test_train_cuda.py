"""What a CPU cannot show: shared prompts and whole trainings on a CUDA device, in float32 and bfloat16."""

import pytest
import torch

from chexalign.train.pack import pack
from chexalign.train.prefix import disagreement, separate_logps, shared_logps
from chexalign.train.sharing import TOLERANCE
from tests import vlms
from tests.fits import OBJECTIVES, data, model_of, rows_for, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", sorted(vlms.FAMILIES))
def test_shared_equals_separate(name, precision):
    model = model_of(name, vlms.FAMILIES[name].attentions[0]).cuda()
    examples, vision = data(name, model, rows=2, branches=2)
    batch = {k: v.cuda() for k, v in pack(examples, pad_id=0).items()}
    inputs = {k: v.cuda() for k, v in vision.inputs([e.images for e in examples]).items()}
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        found = disagreement(shared_logps(model, batch, inputs), separate_logps(model, batch, inputs))
    assert found <= 10 * TOLERANCE["fp32"] if precision == "fp32" else TOLERANCE["bf16"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("algorithm", sorted(OBJECTIVES))
def test_training_lowers_the_loss(tmp_path, algorithm, precision):
    model = model_of()
    rows, vision = rows_for(algorithm, model, rows=4)
    log = train(
        model, rows, OBJECTIVES[algorithm][0], tmp_path, vision=vision, epochs=6, precision=precision, warmup_ratio=0.0
    )
    assert log.rows[-1]["loss"] < log.rows[0]["loss"]
    assert log.rows[-1]["peak_memory_mb"] > 0
