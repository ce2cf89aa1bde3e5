"""`chexalign card`: model and dataset cards, written from manifests and estimates."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Writes the cards of a finished run: of each arm's model, of its preferences, and of the tables.

A folder of `chexalign data prepare` has the last of them. Every figure names its file. Cards hold no report text.
Without --to they are printed."""
EXAMPLE = "chexalign card runs/demo --arm dpo_label --to cards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FOLDER, --arm, --to."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder of a run, or of prepared tables")
    parser.add_argument("--arm", metavar="ARM", help="only the cards of this arm and of the tables")
    parser.add_argument("--to", metavar="DIR", type=Path, help="folder for the cards")


def run(args: argparse.Namespace) -> int:
    """Prints the cards, or where they are."""
    from chexalign import atomic
    from chexalign.cards.write import cards

    found = cards(args.folder, args.arm)
    for name, text in found.items():
        if args.to is None:
            print(text)
        else:
            atomic.write_text(args.to / name, text)
            print(args.to / name)
    return 0
