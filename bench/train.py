"""Step time and memory of preference training against stock TRL, and each algorithm against the others.

    pip install "trl==1.16.0" && python bench/train.py --write results/train.json
    python bench/train.py --device cuda --shape chexagent2 --write results/train_gpu.json

Both sides run through their own trainers on the same random Llava and the same tokens; collation is left out on both.
Repetitions alternate between the sides, and what is reported is the ratio within a repetition: its median, lowest and
highest. On a CPU the seconds are CPU seconds of one thread, and TRL's head is made to score completion tokens only, as
it does on CUDA; without that the comparison would flatter us. Before anything is timed, losses and gradients of both
sides are compared on the same batch, and the figure carries the difference.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from chexalign import atomic
from chexalign.losses.dpo import DPO
from chexalign.losses.ipo import IPO
from chexalign.losses.kto import KTO
from chexalign.losses.lc_dpo import LCDPO
from chexalign.losses.orpo import ORPO
from chexalign.train.objective import Pairs
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import shared_logps
from chexalign.train.rows import Row
from chexalign.train.vision import TowerFeatures, Vision, tower_features, tower_of
from time_demo import commit, machine
from train_cases import CASES, Case
from train_checks import dpo_difference, kto_difference
from train_models import SHAPES, Shape, make_model, make_pairs, make_processor
from train_sides import PixelTensors, compact_head, examples_of, ours, timed, trl_dpo, trl_kto

PACKAGES = ("torch", "transformers", "trl", "accelerate")
LOSSES = {
    "dpo": DPO(beta=0.1),
    "lc_dpo": LCDPO(beta=0.1, alpha=0.01),
    "ipo": IPO(tau=0.1),
    "kto": KTO(beta=0.1),
    "orpo": ORPO(lambda_=0.5),
}
TARGETS = {
    "step_speedup_vs_trl.two_images": 2.2,
    "step_speedup_vs_trl.one_image": 2.2,
    "one_epoch_speedup_vs_trl.two_images": 1.5,
    "step_memory_vs_trl": 0.75,
    "kto_speedup_vs_trl": 3.0,
    "orpo_speedup_vs_unshared": 1.4,
}
Figures = dict[str, dict[str, Any]]


class Setting:
    """A policy, its reference and some pairs; the policy has moved away from its reference a little."""

    def __init__(self, shape: Shape, case: Case, *, device: str, batch: int, pairs: int) -> None:
        self.shape, self.device, self.batch = shape, device, batch
        self.processor = make_processor(shape)
        self.ref = make_model(shape, device=device)
        self.policy = copy.deepcopy(self.ref)
        generator = torch.Generator(device=device).manual_seed(1)
        with torch.no_grad():
            for p in self.policy.parameters():
                noise = torch.randn(p.shape, generator=generator, device=device, dtype=p.dtype)
                p.add_(1e-3 * noise * p.requires_grad)
        self.pairs = make_pairs(
            pairs, shape=shape, images=case.images, text=case.text, completion=case.completion, seed=2
        )
        self.images = [image for pair in self.pairs for image in pair["images"]]
        self.keys = [f"{i}/{k}" for i, pair in enumerate(self.pairs) for k in range(len(pair["images"]))]

    def collated(self) -> dict[str, torch.Tensor]:
        """All pairs as TRL collates them."""
        from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

        batch: dict[str, torch.Tensor] = dict(
            DataCollatorForVisionPreference(self.processor)([dict(p) for p in self.pairs])
        )
        return batch

    def examples(self) -> list[Example]:
        """Ours, from the same tokens."""
        return examples_of(self.collated(), n_pairs=len(self.pairs), images=len(self.pairs[0]["images"]))

    def features(self) -> TowerFeatures:
        """What a frozen tower makes of the images, computed once."""
        return tower_features(self.ref, self.processor, zip(self.keys, self.images, strict=True))

    def pixels(self) -> PixelTensors:
        """The images as pixels: the tower runs at every step."""
        values = self.processor.image_processor(self.images, return_tensors="pt")["pixel_values"]
        return PixelTensors(dict(zip(self.keys, values, strict=True)))

    def rows(self, vision: Vision, *, completions: int = 2) -> list[Row]:
        """The pairs with log-probs under the reference policy; a third completion is the next pair's chosen one."""
        examples = self.examples()
        if completions == 3:
            others = [*examples[1:], examples[0]]
            examples = [
                Example(e.id, e.prompt_ids, (*e.completions, other.completions[0]), e.images)
                for e, other in zip(examples, others, strict=True)
            ]
        return [Row(e, tuple(ref)) for e, ref in zip(examples, self.ref_pass(examples, vision), strict=True)]

    @torch.no_grad()
    def ref_pass(self, examples: Sequence[Example], vision: Vision) -> list[list[float]]:
        """Log-probs of all completions under the reference policy, each prompt run once."""
        found = []
        with tower_of(vision, self.ref):
            for e in examples:
                inputs = {k: v.to(self.device) for k, v in vision.inputs([e.images]).items()}
                packed = {k: v.to(self.device) for k, v in pack([e], pad_id=0).items()}
                found += shared_logps(self.ref, packed, inputs).sums().tolist()
        return found


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Seconds that the work takes, by the clock that the steps are timed with."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - started


def figure(ratios: Sequence[float], *, unit: str, checked: str, target: float | None = None) -> dict[str, Any]:
    """The median of the repetitions with the lowest and the highest."""
    found: dict[str, Any] = {
        "value": round(statistics.median(ratios), 4),
        "low": round(min(ratios), 4),
        "high": round(max(ratios), 4),
        "n": len(ratios),
        "unit": unit,
    }
    if target is not None:
        found["target"] = target
    return found | {"checked": checked}


def against_trl(setting: Setting, *, reps: int, steps: int, checked: str) -> dict[str, list[float]]:
    """TRL's step over ours: as it is, with its share of the reference pass, and without each saving."""
    features, pixels = setting.features(), setting.pixels()
    rows, examples = setting.rows(features), setting.examples()
    names = ("full", "one_epoch", "no_sharing", "no_feature_cache", "ref_on_the_fly")
    ratios: dict[str, list[float]] = {name: [] for name in names}
    theirs_model, ours_model = copy.deepcopy(setting.policy), copy.deepcopy(setting.policy)
    theirs_ref = copy.deepcopy(setting.ref)
    objective, batch = Pairs(LOSSES["dpo"]), setting.batch
    pairs = [setting.pairs[i % len(setting.pairs)] for i in range(batch * (steps + 1))]
    for _ in range(reps):
        theirs = statistics.median(
            timed(trl_dpo(theirs_model, theirs_ref, setting.processor, pairs, batch=batch, steps=steps + 1))
        )

        def step(vision: Vision, *, shared: bool = True) -> float:
            trainer = ours(ours_model, rows, objective, vision, batch=batch, steps=steps + 1, shared=shared)
            return statistics.median(timed(trainer, vision))

        full = step(features)
        tower = cpu_seconds(setting.features) / len(examples) * batch
        ref = cpu_seconds(lambda: setting.ref_pass(examples, features)) / len(examples) * batch
        found = (full, full + tower + ref, step(features, shared=False), step(pixels), full + ref)
        for name, seconds in zip(names, found, strict=True):
            ratios[name].append(theirs / seconds)
    print(checked, {name: [round(r, 2) for r in values] for name, values in ratios.items()}, file=sys.stderr)
    return ratios


def dpo_figures(shape: Shape, *, device: str, batch: int, reps: int, steps: int) -> Figures:
    """DPO against TRL's DPOTrainer."""
    found: Figures = {}
    for name, case in CASES.items():
        setting = Setting(shape, case, device=device, batch=batch, pairs=2 * batch)
        checked = dpo_difference(setting)
        ratios = against_trl(setting, reps=reps, steps=steps, checked=checked)
        for key, variant in (("step_speedup_vs_trl", "full"), ("one_epoch_speedup_vs_trl", "one_epoch")):
            target = TARGETS.get(f"{key}.{name}")
            found[f"{key}.{name}"] = figure(ratios[variant], unit="ratio", checked=checked, target=target)
        for variant in ("no_sharing", "no_feature_cache", "ref_on_the_fly"):
            alone = [full / without for full, without in zip(ratios["full"], ratios[variant], strict=True)]
            found[f"saving.{variant}.{name}"] = figure(
                alone, unit="ratio of step times without and with", checked=checked
            )
    return found


def trainable_tower(shape: Shape, *, device: str, batch: int, reps: int, steps: int) -> Figures:
    """The case where features cannot be cached, and the tower's own backward counts on both sides."""
    setting = Setting(shape, CASES["one_image"], device=device, batch=batch, pairs=2 * batch)
    checked, pixels = dpo_difference(setting), setting.pixels()
    rows, objective = setting.rows(pixels), Pairs(LOSSES["dpo"])
    for model in (setting.policy, setting.ref):
        model.requires_grad_(True)
    theirs_model, ours_model, theirs_ref = (copy.deepcopy(m) for m in (setting.policy, setting.policy, setting.ref))
    pairs = [setting.pairs[i % len(setting.pairs)] for i in range(batch * (steps + 1))]
    ratios = []
    for _ in range(reps):
        theirs = timed(trl_dpo(theirs_model, theirs_ref, setting.processor, pairs, batch=batch, steps=steps + 1))
        mine = timed(ours(ours_model, rows, objective, pixels, batch=batch, steps=steps + 1), pixels)
        ratios.append(statistics.median(theirs) / statistics.median(mine))
    return {"step_speedup_vs_trl.trainable_tower": figure(ratios, unit="ratio", checked=checked)}


def algorithm_figures(shape: Shape, *, device: str, batch: int, reps: int, steps: int) -> Figures:
    """KTO against TRL's, ORPO against our own unshared path, and the five algorithms against DPO over one epoch."""
    setting = Setting(shape, CASES["two_images"], device=device, batch=batch, pairs=2 * batch)
    features = setting.features()
    checked = kto_difference(setting)
    rows = {name: setting.rows(features, completions=3 if name == "kto" else 2) for name in LOSSES}
    kto_ratios, orpo_ratios = [], []
    epochs: dict[str, list[float]] = {name: [] for name in LOSSES}
    theirs_model, ours_model, theirs_ref = (copy.deepcopy(m) for m in (setting.policy, setting.policy, setting.ref))
    pairs = [setting.pairs[i % len(setting.pairs)] for i in range(batch * (steps + 1))]
    for _ in range(reps):

        def step(name: str, *, shared: bool = True) -> float:
            trainer = ours(
                ours_model, rows[name], Pairs(LOSSES[name]), features, batch=batch, steps=steps + 1, shared=shared
            )
            return statistics.median(timed(trainer, features))

        trl = timed(trl_kto(theirs_model, theirs_ref, setting.processor, pairs, batch=batch, steps=steps + 1))
        mine = {name: step(name) for name in LOSSES}
        kto_ratios.append(statistics.median(trl) / mine["kto"])
        orpo_ratios.append(step("orpo", shared=False) / mine["orpo"])
        for name in LOSSES:
            examples = [row.example for row in rows[name]]
            ref = cpu_seconds(lambda e=examples: setting.ref_pass(e, features)) / len(examples) * batch
            epochs[name].append(mine[name] + (ref if LOSSES[name].needs_ref else 0.0))
    found = {
        "kto_speedup_vs_trl": figure(kto_ratios, unit="ratio", checked=checked, target=TARGETS["kto_speedup_vs_trl"]),
        "orpo_speedup_vs_unshared": figure(
            orpo_ratios,
            unit="ratio",
            checked="the first-batch check: shared and separate log-probs agree to 1e-5",
            target=TARGETS["orpo_speedup_vs_unshared"],
        ),
    }
    for name in LOSSES:
        relative = [own / dpo for own, dpo in zip(epochs[name], epochs["dpo"], strict=True)]
        found[f"epoch_time_vs_dpo.{name}"] = figure(relative, unit="ratio, reference pass included", checked=checked)
    return found


def loss_overhead(shape: Shape, *, device: str, batch: int) -> Figures:
    """What the loss functions themselves take of a step, forward and backward."""
    from chexalign.losses.base import PairLogps

    setting = Setting(shape, CASES["one_image"], device=device, batch=batch, pairs=batch)
    features = setting.features()
    rows = setting.rows(features)
    trainer = ours(setting.policy, rows, Pairs(LOSSES["dpo"]), features, batch=batch, steps=4)
    step = statistics.median(timed(trainer, features))
    found = {}
    for name, loss in LOSSES.items():

        def once(loss: Any = loss) -> None:
            sums = [torch.randn(batch, device=device) - 300 for _ in range(5)]
            counts = torch.full((batch,), 80, device=device)
            own = [s.clone().requires_grad_(True) for s in sums[:2]]
            loss(PairLogps(*own, sums[2], sums[3], counts, counts, sums[4], sums[4])).losses.sum().backward()

        once()
        times = [cpu_seconds(lambda: [once() for _ in range(50)]) / 50 / step for _ in range(5)]
        found[f"loss_share_of_step.{name}"] = figure(times, unit="share of a step", checked="none needed", target=0.01)
    return found


def memory_of(side: str, shape: Shape, *, device: str, batch: int) -> float:
    """MB that two steps of one side add to what the models take; meant for a fresh process."""
    setting = Setting(shape, CASES["two_images"], device=device, batch=batch, pairs=batch)
    features = setting.features()
    rows = setting.rows(features)
    pairs = setting.pairs * 2
    if side == "trl":
        trainer, vision = trl_dpo(setting.policy, setting.ref, setting.processor, pairs, batch=batch, steps=2), None
    else:
        trainer, vision = ours(setting.policy, rows, Pairs(LOSSES["dpo"]), features, batch=batch, steps=2), features
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        timed(trainer, vision)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = status_mb("VmRSS")
    timed(trainer, vision)
    return status_mb("VmHWM") - before


def status_mb(field: str) -> float:
    """A field of this process's status in MB: VmRSS is resident memory now, VmHWM its peak."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def memory_figures(arguments: argparse.Namespace, *, reps: int) -> Figures:
    """Growth of memory over two steps, each side in processes of its own."""
    ratios = []
    for _ in range(reps):
        grown = {}
        for side in ("trl", "ours"):
            command = [sys.executable, __file__, "--memory-of", side, "--device", arguments.device]
            command += ["--shape", arguments.shape, "--batch", str(arguments.batch)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            grown[side] = float(done.stdout.split()[-1])
        print("memory", grown, file=sys.stderr)
        ratios.append(grown["ours"] / grown["trl"])
    checked = "the same tokens and reference policy as train.step_speedup_vs_trl.two_images"
    target = TARGETS["step_memory_vs_trl"]
    return {"step_memory_vs_trl": figure(ratios, unit="ratio of growth", checked=checked, target=target)}


def main() -> None:
    """Measures, prints, and writes the file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--shape", default="toy", choices=sorted(SHAPES))
    parser.add_argument("--batch", type=int, default=1, help="pairs per step")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="timed updates of a repetition, after one of warm-up")
    parser.add_argument("--only", nargs="*", default=["dpo", "tower", "algorithms", "loss", "memory"])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--memory-of", choices=["trl", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.device == "cpu":
        compact_head()
    shape = SHAPES[arguments.shape]
    common = {"device": arguments.device, "batch": arguments.batch}
    if arguments.memory_of:
        print(memory_of(arguments.memory_of, shape, **common))
        return
    found: Figures = {}
    timing = {"reps": arguments.reps, "steps": arguments.steps}
    parts: dict[str, Callable[[], Figures]] = {
        "dpo": lambda: dpo_figures(shape, **common, **timing),
        "tower": lambda: trainable_tower(shape, **common, **timing),
        "algorithms": lambda: algorithm_figures(shape, **common, **timing),
        "loss": lambda: loss_overhead(shape, **common),
        "memory": lambda: memory_figures(arguments, reps=min(3, arguments.reps)),
    }
    for part in arguments.only:
        found |= {f"train.{key}": value for key, value in parts[part]().items()}
    on_gpu = arguments.device == "cuda"
    result = {
        "what": "preference training of a random Llava: step time and memory against TRL, algorithm against algorithm",
        "command": "python bench/train.py " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine() | ({"gpu": torch.cuda.get_device_name()} if on_gpu else {"threads": 1}),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "seeds": [0, 1, 2],
        "shape": vars(shape) | {"batch": arguments.batch},
        "figures": found,
    }
    print(json.dumps(result, indent=2))
    if arguments.write:
        atomic.write_json(arguments.write, result)


if __name__ == "__main__":
    main()
