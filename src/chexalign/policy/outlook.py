"""What generating with a policy would take, before its weights are read: tokens, memory and time, and on what basis."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chexalign.engines.device import device_here
from chexalign.policy.base import Ask, AskError, Precision
from chexalign.policy.families import family_of
from chexalign.policy.memory import bytes_per_prompt, free_bytes


@dataclass(frozen=True, slots=True)
class Rates:
    """What this machine reached a moment ago."""

    device: str
    flops: float  # per second, in a product of two matrices
    bytes: float  # per second, read from memory
    free: int  # bytes that a batch may take beside weights


@dataclass(frozen=True, slots=True)
class Outlook:
    """A policy's sizes, and the lengths of some of its prompts, images included."""

    parameters: int
    weight_bytes: int
    context: int | None  # tokens; None where the config names no limit
    tokens: tuple[int, ...]
    prompt_bytes: int  # of the longest of these prompts with all its completions
    unusable: int  # asks with an image that cannot be read, or a prompt that the model cannot be asked

    def fits(self, rates: Rates) -> int:
        """Prompts that fit into memory at the same time beside the weights."""
        return max(0, (rates.free - self.weight_bytes) // max(1, self.prompt_bytes))

    def generate_seconds(self, rates: Rates, *, prompts: int, draws: int, new_tokens: int, batch: int) -> float:
        """Seconds for the completions of all prompts, each of the full length.

        Two operations per weight and token; a step of a batch reads all weights once.
        """
        mean = sum(self.tokens) / max(1, len(self.tokens))
        prefill = 2 * self.parameters * mean * prompts / rates.flops
        steps = math.ceil(prompts / batch) * new_tokens
        each = max(2 * self.parameters * batch * draws / rates.flops, self.weight_bytes / rates.bytes)
        return prefill + steps * each

    def train_seconds(self, rates: Rates, *, completions: float, new_tokens: int, backward: bool) -> float:
        """Seconds for log-probs of so many completions, with their gradients or without; a prompt is run with each."""
        mean = sum(self.tokens) / max(1, len(self.tokens)) + new_tokens
        return (6 if backward else 2) * self.parameters * mean * completions / rates.flops


def look(folder: Path, asks: Sequence[Ask], *, draws: int, new_tokens: int, precision: Precision = "fp32") -> Outlook:
    """The outlook for a checkpoint; opens the images of the asks, and builds the model without its weights.

    Raises: UserError when the folder holds no checkpoint that can be asked.
    """
    from chexalign.policy.hf import HFPolicy

    policy = HFPolicy(folder, precision=precision, device="meta")
    lengths, unusable = [], 0
    for ask in asks:
        try:
            lengths.append(int(policy.encode([ask])["input_ids"].shape[1]))
        except AskError:
            unusable += 1
            if unusable == len(asks):
                raise
    parameters = sum(p.numel() for p in policy.model.parameters())
    itemsize, config = policy.model.dtype.itemsize, policy.model.config
    longest = max(lengths, default=0)
    return Outlook(
        parameters=parameters,
        weight_bytes=parameters * itemsize,
        context=family_of(policy.model).context,
        tokens=tuple(lengths),
        prompt_bytes=bytes_per_prompt(config, tokens=longest, draws=draws, new_tokens=new_tokens, itemsize=itemsize),
        unusable=unusable,
    )


def measure_rates(precision: Precision = "fp32") -> Rates:
    """Times a product of matrices and a sum over memory on the device that policies would run on; takes a second."""
    import torch

    device = torch.device(device_here())
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    size = 8192 if device.type == "cuda" else 1024
    a = torch.ones(size, size, dtype=dtype, device=device)
    numbers = torch.ones(2**26, dtype=torch.float32, device=device)

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
        return min(times)

    return Rates(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        flops=2 * size**3 / best(lambda: a @ a),
        bytes=numbers.nbytes / best(numbers.sum),
        free=free_bytes(device),
    )
