"""What a CPU cannot show of sampling: greedy equality, half precision and memory that really runs out, on CUDA."""

import pytest
import torch

from chexalign.policy.base import Ask, Decoding
from chexalign.policy.batching import Batches
from chexalign.policy.decode import decode
from chexalign.policy.source import LocalSource
from tests import vlms
from tests.made_up import tiny_checkpoint
from tests.unit.test_decode_families import LIMIT, ragged_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", sorted(vlms.FAMILIES))
def test_greedy_decoding_equals_generate(name):
    model = vlms.make(name, vlms.FAMILIES[name].attentions[0])
    batch, expected = ragged_batch(name, model, n_images=1)
    batch = {key: value.cuda() for key, value in batch.items()}
    found = decode(model.cuda(), batch, seeds=[[0, 1]] * 3, decoding=Decoding(LIMIT), stop_id=-1)
    assert [row.tokens for row, _ in found] == [row.tokens for _, row in found] == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_policy_is_opened_on_the_gpu(tmp_path, precision):
    policy = LocalSource(tiny_checkpoint(tmp_path), precision).open()
    assert policy.model.device.type == "cuda"
    (group,) = policy.generate([Ask("Findings:", ())], decoding=Decoding(8, temperature=1.0), seeds=[[1, 2]])
    assert len(group) == 2
    assert policy.batch_size(Ask("Findings:", ()), decoding=Decoding(8), draws=4) >= 1


def test_memory_that_runs_out_halves_the_batch(tmp_path):
    policy = LocalSource(tiny_checkpoint(tmp_path)).open()
    asks, seeds = [Ask("Findings:", ())] * 64, [[i, 100 + i] for i in range(64)]
    expected = policy.generate(asks, decoding=Decoding(8), seeds=seeds)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 24 * 2**20) / total)
    try:
        batches = Batches(policy, 64)
        found = batches.generate(asks, decoding=Decoding(8), seeds=seeds)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert [[c.text for c in group or ()] for group in found] == [[c.text for c in group] for group in expected]
    assert batches.size is not None
    assert batches.size < 64
