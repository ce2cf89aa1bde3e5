"""`chexalign judge`: scores of every judge that the recipe names."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chexalign.cli import carry_out
from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.recipe import JudgeSpec
    from chexalign.store import Manifest
    from chexalign.workflow import Workflow

HELP = (
    "Scores the candidates with the judges of all arms, after whatever they rest on. With --budget a judge scores "
    "only the candidates of a prompt that --first puts highest and lowest; pairs of such scores need the same budget "
    "in the recipe."
)
EXAMPLE = "chexalign judge demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RECIPE, --budget, --first, --set, --runs, --json."""
    carry_out.add_arguments(parser)
    parser.add_argument(
        "--budget", metavar="SHARE", type=float, help="share of a prompt's candidates that each dear judge may score"
    )
    parser.add_argument(
        "--first", metavar="JUDGE", default="chexpert", help="with --budget: the cheap judge (default: chexpert)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints where the scores are, how many, and what was not asked."""
    if args.budget is not None and not 0 < args.budget < 1:
        raise UserError(
            f"--budget {args.budget:g}",
            "it is the share of a prompt's candidates that are scored, so it lies between 0 and 1",
            "Give e.g. --budget 0.5, or leave it out to score all of them.",
        )

    def work(workflow: Workflow) -> None:
        from chexalign.recipe import folder_name

        carry_out.need_candidates(workflow.recipe)
        manifests = {}
        for arm in workflow.recipe.resolved_arms().values():
            judge = arm.judge if args.budget is None else _limited(arm.judge, args.first, args.budget)
            for table in reversed(judge.tables):
                manifests[str(workflow.run.scores(folder_name(table)).folder)] = workflow.scores(table)
        _print(manifests, as_json=args.json)

    return carry_out.with_workflow(args, work)


def _limited(judge: JudgeSpec, first: str, share: float) -> JudgeSpec:
    """The judge under the budget; the first judge itself scores everything."""
    from chexalign.recipe import BudgetSpec, JudgeSpec

    if judge == JudgeSpec(name=first):
        return judge
    if judge.name == "panel":
        return judge.model_copy(update={"of": [_limited(inner, first, share) for inner in judge.inner]})
    return judge.model_copy(update={"budget": BudgetSpec(share=share, first=JudgeSpec(name=first))})


def _print(manifests: Mapping[str, Manifest], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: _row(m) for name, m in manifests.items()}, indent=2))
        return
    for name, m in manifests.items():
        print(f"{name}: {m.rows} rows" + (f"; {_calls(m.extra['calls'])}" if "calls" in m.extra else ""))
        if "budget" in m.extra:
            print(f"  {_lost(m.extra['budget'])}")


def _row(m: Manifest) -> dict[str, Any]:
    row = {"rows": m.rows, "dropped": m.dropped, "content": m.content}
    return row | {key: m.extra[key] for key in ("calls", "budget") if key in m.extra}


def _calls(calls: Mapping[str, Any]) -> str:
    """The account of calls as a line: "judged 90, 25.0% of calls saved (20 duplicates, 10 from the store)"."""
    ways = {"duplicates": "duplicates", "stored": "from the store", "refused": "over the budget"}
    saved = ", ".join(f"{calls[key]:,} {what}" for key, what in ways.items() if calls[key])
    return f"judged {calls['computed']:,}, {calls['saved']:.1%} of calls saved" + (f" ({saved})" if saved else "")


def _lost(budget: Mapping[str, Any]) -> str:
    found, spread = budget["differs"], budget["spread"]
    if found["value"] is None:
        return "no prompts to check the budget on"
    return (
        f"best or worst differs in {found['value']:.1%} [{found['low']:.1%}, {found['high']:.1%}] of prompts"
        + (f" and they lie {spread:.1%} as far apart" if spread is not None else "")
        + f", by {found['n']} of {budget['prompts']} scored in full"
    )
