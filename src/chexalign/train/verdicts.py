"""Rows of unpaired preferences, each one candidate that a judge found desirable or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target
from chexalign.train.mismatch import of_other_prompts
from chexalign.train.pack import Example
from chexalign.train.rows import Row
from chexalign.train.targets import candidate_targets
from chexalign.types import Verdict


def verdict_completions(verdicts: Sequence[Verdict], *, seed: int) -> list[tuple[str, str]]:
    """For each verdict its candidate and one that answers another prompt, in an order drawn from `seed`.

    Raises: UserError when all verdicts are on one prompt.
    """
    ids, prompts = [v.candidate_id for v in verdicts], [v.prompt_id for v in verdicts]
    return [(ids[i], ids[other]) for i, other in enumerate(of_other_prompts(ids, prompts, seed=seed))]


def verdict_targets(run: RunFolder, verdicts: Sequence[Verdict], *, max_images: int, seed: int) -> list[Target]:
    """The ask of each verdict, with its candidate's text and the mismatched one."""
    completions = verdict_completions(verdicts, seed=seed)
    wanted = [(v.candidate_id, v.prompt_id, ids) for v, ids in zip(verdicts, completions, strict=True)]
    return candidate_targets(run, wanted, max_images=max_images)


def verdict_rows(
    verdicts: Sequence[Verdict], examples: Sequence[Example], refs: Mapping[tuple[str, str], float], *, seed: int
) -> list[Row]:
    """The examples as rows of `chexalign.train.objective.Verdicts`.

    `refs` holds the reference log-prob of each (prompt id, candidate id) that `verdict_completions` names, in nats.
    """
    completions = verdict_completions(verdicts, seed=seed)
    known = {v.candidate_id: (v, ids) for v, ids in zip(verdicts, completions, strict=True)}
    rows = []
    for example in examples:
        verdict, ids = known[example.id]
        ref = tuple(refs[verdict.prompt_id, i] for i in ids)
        rows.append(Row(example, ref, desirable=verdict.desirable, weight=verdict.weight))
    return rows
