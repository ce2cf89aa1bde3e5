"""Time of four candidates per study: shared prefill against generate, four calls or num_return_sequences.

    python bench/sampling.py --write results/sampling.json
    python bench/sampling.py --device cuda --shape chexagent2 --write results/sampling_gpu.json

All draw the same number of tokens from the same random Llava, at temperature 1, from inputs that are ready: opening
and scaling images is left out. Repetitions alternate; what is reported is the ratio of wall times within a repetition,
its median, lowest and highest. Before anything is timed, greedy tokens are compared with those of generate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from chexalign.policy.base import Decoding
from chexalign.policy.decode import decode
from results_file import figure, merge
from train_models import SHAPES, make_model, make_pairs, make_processor

DRAWS = 4
NEVER = -1  # no token: every candidate has the full length
TARGETS = {"speedup_vs_four_calls": 2.5, "speedup_vs_num_return_sequences": 1.5}


class Setting:
    """A model and the inputs of some studies, together and one by one."""

    def __init__(self, shape: Any, *, device: str, studies: int, images: int, tokens: int) -> None:
        self.model = make_model(shape, device=device).eval()
        self.tokens, self.studies = tokens, studies
        processor = make_processor(shape)
        rows = make_pairs(studies, shape=shape, images=images, text=64, completion=(8, 8), seed=2)

        def inputs(chosen: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            batch = processor(
                text=[row["prompt"] for row in chosen],
                images=[row["images"] for row in chosen],
                padding=True,
                return_tensors="pt",
                add_special_tokens=False,
            )
            batch["pixel_values"] = batch["pixel_values"].to(self.model.dtype)
            return {name: tensor.to(device) for name, tensor in batch.items()}

        self.together, self.alone = inputs(rows), [inputs([row]) for row in rows]

    def generate(self, inputs: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
        """New tokens of transformers' generate."""
        out = self.model.generate(
            **inputs,
            max_new_tokens=self.tokens,
            min_new_tokens=self.tokens,
            eos_token_id=None,
            pad_token_id=0,
            **options,
        )
        return out[:, inputs["input_ids"].shape[1] :]

    def four_calls(self) -> None:
        """One call per candidate, as CheXalign's code draws them."""
        for inputs in self.alone:
            for _ in range(DRAWS):
                self.generate(inputs, do_sample=True)

    def return_sequences(self) -> None:
        """One call for all candidates of all studies."""
        self.generate(self.together, do_sample=True, num_return_sequences=DRAWS)

    def shared(self, *, temperature: float = 1.0) -> list[list[int]]:
        """Ours; the first candidate's tokens of each study."""
        seeds = [[DRAWS * i + draw for draw in range(DRAWS)] for i in range(self.studies)]
        decoding = Decoding(self.tokens, temperature=temperature)
        rows = decode(self.model, self.together, seeds=seeds, decoding=decoding, stop_id=NEVER)
        return [group[0].tokens for group in rows]

    def check(self) -> str:
        """Compares greedy tokens with those of generate, one study at a time."""
        with torch.inference_mode():
            expected = [self.generate(inputs, do_sample=False)[0].tolist() for inputs in self.alone]
        assert self.shared(temperature=0.0) == expected, "greedy tokens differ from those of generate"
        return f"greedy tokens of {self.studies} studies equal those of generate, {self.tokens} each"


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of the work."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Measures, prints, and writes the file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--shape", default="toy", choices=sorted(SHAPES))
    parser.add_argument("--studies", type=int, default=2)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    setting = Setting(
        shape, device=arguments.device, studies=arguments.studies, images=arguments.images, tokens=arguments.tokens
    )
    checked = setting.check()
    ratios: dict[str, list[float]] = {name: [] for name in TARGETS}
    for _ in range(arguments.reps):
        ours = seconds(setting.shared)
        ratios["speedup_vs_four_calls"].append(seconds(setting.four_calls) / ours)
        ratios["speedup_vs_num_return_sequences"].append(seconds(setting.return_sequences) / ours)
        print({name: round(values[-1], 2) for name, values in ratios.items()}, file=sys.stderr)
    figures = {
        f"sampling.{name}": figure(values, unit="ratio", target=TARGETS[name], checked=checked)
        for name, values in ratios.items()
    }
    print(json.dumps(figures, indent=2))
    if arguments.write:
        names = ("device", "studies", "images", "tokens", "threads")
        settings = {name: getattr(arguments, name) for name in names}
        merge(arguments.write, figures, seeds=[0, 2], shape=vars(shape), settings=settings)


if __name__ == "__main__":
    main()
