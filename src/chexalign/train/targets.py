"""From the tables of a run to the asks and texts that a policy is trained on or scored with."""

from __future__ import annotations

from collections.abc import Sequence

from chexalign.policy.asks import ask_of
from chexalign.run_folder import RunFolder
from chexalign.train.examples import Target

Wanted = tuple[str, str, Sequence[str]]  # a name, the id of a prompt, and ids of candidates


def candidate_targets(run: RunFolder, wanted: Sequence[Wanted], *, max_images: int) -> list[Target]:
    """For each entry a target of that name: the prompt's ask, and the candidates' texts, which may answer others."""
    used = {i for _, _, candidates in wanted for i in candidates}
    texts = {c.id: c.text for c in run.candidates.iter_rows() if c.id in used}
    prompts = {p.id: p for p in run.prompts.iter_rows()}
    studies = {s.id: s for s in run.studies.iter_rows()}
    targets = []
    for name, prompt_id, candidates in wanted:
        prompt = prompts[prompt_id]
        ask = ask_of(studies[prompt.study_id], prompt.text, root=run.root, max_images=max_images)
        targets.append(Target(name, ask, tuple(texts[i] for i in candidates)))
    return targets
