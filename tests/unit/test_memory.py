"""What sampling takes is reckoned before it is begun, and nothing but lack of memory looks like it."""

import pytest
import torch

from chexalign.engines.device import is_out_of_memory
from chexalign.policy.memory import bytes_per_prompt, free_bytes
from tests import vlms


@pytest.mark.parametrize("name", sorted(vlms.FAMILIES))
def test_every_family_can_be_reckoned(name):
    config = vlms.FAMILIES[name].config()
    given = {"draws": 4, "new_tokens": 16, "itemsize": 2}
    short, long = (bytes_per_prompt(config, tokens=n, **given) for n in (64, 128))
    assert 0 < short < long
    assert bytes_per_prompt(config, tokens=64, draws=8, new_tokens=16, itemsize=2) > short
    assert bytes_per_prompt(config, tokens=64, draws=4, new_tokens=16, itemsize=4) > short


def test_keys_and_values_of_a_known_model():
    """CheXagent-2's decoder: 32 layers of 32 heads of 80, two bytes a number: 327,680 bytes per token."""
    from transformers import PhiConfig

    config = PhiConfig(
        hidden_size=2560, intermediate_size=10240, num_hidden_layers=32, num_attention_heads=32, vocab_size=51200
    )
    one, two = (bytes_per_prompt(config, tokens=1000, draws=1, new_tokens=n, itemsize=2) for n in (0, 4000))
    assert two - one == 327_680 * 4000 * 5 // 4


def test_the_machine_has_memory():
    assert 2**20 < free_bytes(torch.device("cpu")) < 2**50


def test_what_counts_as_memory_that_ran_out():
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("not enough memory"))
