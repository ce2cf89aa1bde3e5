"""`chexalign import`: what the CheXalign authors' scripts have made, as a run folder's tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from chexalign.cli.carry_out import print_manifests
from chexalign.cli.options import add_json

HELP = """Reads completions, scored chunks and pairs that the CheXalign authors' scripts saved.

Writes studies, prompts, candidates, scores and their pairs as the tables of a run folder, and pairs of the paper's rule
for every judge there. docs/pairs.md says how to pair them by another rule and how to export them."""
EXAMPLE = "chexalign import data/completions-green-gathered --to runs/imported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FOLDER..., --to, --split, --images, --json."""
    parser.add_argument(
        "folders", metavar="FOLDER", nargs="+", type=Path, help="saved datasets: completions, chunks of them, or pairs"
    )
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="a new run folder")
    parser.add_argument("--split", metavar="SPLIT", default="train", help="which split to read (default: train)")
    parser.add_argument("--images", metavar="DIR", type=Path, help="where image paths begin, if not as they stand")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Prints where the tables are and how many rows each has."""
    from chexalign.data.chexalign_import import PAIRS, import_chexalign
    from chexalign.pairs.stage import PairsWorker
    from chexalign.recipe import Arm, JudgeSpec, PairsSpec, TrainSpec
    from chexalign.run_folder import RunFolder
    from chexalign.stage import StageKey, run_parts

    folder = RunFolder(args.to)
    manifests = import_chexalign(args.folders, folder, split=args.split, images=args.images)
    judges = [name.removeprefix("scores/") for name in manifests if name.startswith("scores/")]
    for judge in judges if f"pairs/{PAIRS}" not in manifests else []:
        train = TrainSpec(algorithm="dpo", beta=0.1, learning_rate=1e-6)  # not used: nothing is trained here
        arm = Arm(judge=JudgeSpec(name=judge), pairs=PairsSpec(rule="best_worst"), train=train)
        key = StageKey("pairs", {"scores": manifests[f"scores/{judge}"].content}, {"rule": "best_worst"}, 0)
        manifests[f"pairs/{judge}"] = run_parts(folder.pairs(judge), PairsWorker(folder, arm, 0), key=key, n_parts=1)
    print_manifests({str(args.to / name): manifest for name, manifest in manifests.items()}, as_json=args.json)
    return 0
