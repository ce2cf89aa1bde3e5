"""Rows of unpaired preferences, each one candidate that a judge found desirable or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chexalign.policy.asks import ask_of
from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target
from chexalign.train.mismatch import of_other_prompts
from chexalign.train.pack import Example
from chexalign.train.rows import Row
from chexalign.types import Verdict


def verdict_completions(verdicts: Sequence[Verdict], *, seed: int) -> list[tuple[str, str]]:
    """For each verdict its candidate and one that answers another prompt, in an order drawn from `seed`.

    Raises: UserError when all verdicts are on one prompt.
    """
    ids, prompts = [v.candidate_id for v in verdicts], [v.prompt_id for v in verdicts]
    return [(ids[i], ids[other]) for i, other in enumerate(of_other_prompts(ids, prompts, seed=seed))]


def verdict_targets(run: RunFolder, verdicts: Sequence[Verdict], *, max_images: int, seed: int) -> list[Target]:
    """The ask of each verdict, with its candidate's text and the mismatched one."""
    studies = {s.id: s for s in run.studies.iter_rows()}
    prompts = {p.id: p for p in run.prompts.iter_rows()}
    texts = {c.id: c.text for c in run.candidates.iter_rows()}
    targets = []
    for verdict, ids in zip(verdicts, verdict_completions(verdicts, seed=seed), strict=True):
        prompt = prompts[verdict.prompt_id]
        ask = ask_of(studies[prompt.study_id], prompt.text, root=run.root, max_images=max_images)
        targets.append(Target(verdict.candidate_id, ask, tuple(texts[i] for i in ids)))
    return targets


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
