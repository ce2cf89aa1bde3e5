"""Print the share of a dear judge's calls that are saved on a finished run: by deduplication, and by a budget.

    python bench/judges_saved.py RUN_FOLDER [--judge bertscore] [--first chexpert] [--share 0.5] [--write]

The run folder is one of the built-in example (`make demo-quick` or `make demo`), whose candidates both judges have
scored in full. No judge is asked anything: the shares follow from the texts alone, whatever the dear judge is, so those
of GREEN would be the same. How often the choice of best and worst differs under the budget depends on the judge, and is
told for `--judge` in the place of GREEN: over all prompts, and as `chexalign judge --budget` would estimate it from
those that it draws by lot. With --write, results/judges.json is given the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from chexalign.judges.base import TextPair
from chexalign.judges.budget import Budget, choice_differs, spread_kept
from chexalign.judges.stage import CandidateTexts
from chexalign.run_folder import RunFolder
from chexalign.types import Estimate
from results_file import merge

RESULTS = Path(__file__).parent.parent / "results" / "judges.json"
CHECKED = "tests/unit/test_scores_stage.py"
SEED, CHECK, LEVEL = 11, 0.05, 0.90


def saved(texts: dict[str, TextPair], refused: frozenset[str]) -> float:
    """The share of one call per candidate that is not made when equal texts share a call."""
    return 1 - len({pair for i, pair in texts.items() if i not in refused}) / len(texts)


def row(value: float, n: int, unit: str, **more: Any) -> dict[str, Any]:
    return {"value": round(value, 4), "n": n, "unit": unit, **more, "checked": CHECKED}


def told(name: str, found: Estimate, spread: float | None) -> str:
    """How often the choice differs and how much of the spread is kept, on some prompts."""
    assert found.value is not None
    rate = f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"
    return f"{name}: best or worst differs in {rate}, spread kept {spread or 0.0:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--judge", default="bertscore")
    parser.add_argument("--first", default="chexpert")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    run = RunFolder(args.run)
    texts = dict(CandidateTexts(run).load())
    scores = {score.candidate_id: score.value for score in run.scores(args.judge).iter_rows()}
    plan = Budget(run, args.share, args.first, CHECK, SEED).plan()
    all_checked = dataclasses.replace(plan, checked=frozenset(plan.prompts))
    duplicates, budget = saved(texts, frozenset()), saved(texts, plan.refused)
    whole, lot = (choice_differs(each, scores, split="prefer", level=LEVEL) for each in (all_checked, plan))
    print(f"{len(texts)} candidates of {len(plan.prompts)} prompts, {len(plan.checked)} of them scored in full")
    print(f"calls saved by deduplication: {duplicates:.1%}; with a budget of {args.share} as well: {budget:.1%}")
    print(told(f"{args.judge} after {args.first}, all prompts", whole, spread_kept(all_checked, scores)))
    print(told("as estimated from those drawn by lot", lot, spread_kept(plan, scores)))
    if args.write:
        rate = {"low": round(whole.low or 0.0, 4), "high": round(whole.high or 0.0, 4), "judge": args.judge}
        figures = {
            "judges.green_calls_saved": row(duplicates, len(texts), "share of calls"),
            "judges.green_calls_saved.budget": row(budget, len(texts), "share of calls", first=args.first),
            "judges.budget_choice_differs": row(whole.value or 0.0, whole.n, "share of prompts", **rate),
            "judges.budget_spread_kept": row(spread_kept(all_checked, scores) or 0.0, whole.n, "ratio"),
        }
        merge(RESULTS, figures, seeds=[SEED], run=args.run.name, share=args.share, prompts_in_full=len(plan.checked))


if __name__ == "__main__":
    main()
