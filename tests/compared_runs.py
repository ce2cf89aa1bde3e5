"""Small finished runs with scores made up by hand, for tests of what reads finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chexalign import atomic, ids
from chexalign.evaluate.stage import write_estimates
from chexalign.judges.chexpert import LABELS
from chexalign.recipe import Recipe
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.store import Manifest, Table
from chexalign.types import Answer, Prediction, Question, Score, Study

ARM, SOURCE = "dpo_green", "made-up"
TEXTS = (
    "The lungs are clear. The heart is of normal size.",
    "There is a small left pleural effusion. No pneumothorax.",
    "The heart is enlarged. No focal consolidation.",
    "There is a right pneumothorax. No effusion.",
)


def recipe(name: str, judges: Sequence[str], **blocks: Any) -> Recipe:
    """A recipe with one arm, on a checkpoint of one's own."""
    arm = {
        "judge": "green",
        "pairs": {"rule": "best_worst"},
        "train": {"algorithm": "dpo", "beta": 0.1, "learning_rate": 1e-6, "epochs": 2, "global_batch": 4},
    }
    plain = {
        "run": name,
        "data": {"source": "openi-phantom", "split": {"prefer": 4, "test": 3}},
        "policy": {"model": "models/sft"},
        "arms": {ARM: arm},
        "evaluate": {"metrics": list(judges), "bootstrap": 200, "level": 0.9},
    }
    return Recipe.model_validate({**plain, **blocks})


def finished(table: Table[Any], rows: Sequence[Any], config: Mapping[str, Any] | None = None) -> None:
    """Writes a whole table in one part."""
    info = table.write_part(0, rows, fingerprint="f")
    content = ids.digest([info.content])
    Manifest(table.folder.name, "f", {}, dict(config or {}), 1, info.rows, {}, content, 0.0).save(table.folder)


def study(number: int, text: str | None = None) -> Study:
    """A study of the evaluated split, whose reference depends on its number alone."""
    found = text or TEXTS[number % len(TEXTS)]
    codes = (("normal",), ("Pleural Effusion/left",), ("Cardiomegaly",), ("Pneumothorax/right",))[number % 4]
    return Study(f"s{number:03}", f"p{number:03}", (), None, found, None, codes, "test", "hand", "CC0")


def labels_told(score: float, number: int) -> tuple[tuple[str, float], ...]:
    """Parts as a labeling judge gives them: the candidate has the reference's labels where the score is above 0.5."""
    true = {label: float((number + i) % 5 == 0) for i, label in enumerate(LABELS)}
    called = true if score > 0.5 else dict.fromkeys(LABELS, 0.0)
    parts = {f"candidate.{label}": called[label] for label in LABELS}
    return tuple((parts | {f"reference.{label}": true[label] for label in LABELS}).items())


def finished_run(
    root: Path,
    scores: Mapping[str, Mapping[str, Sequence[float | None]]],
    *,
    studies: Sequence[Study] | None = None,
    name: str | None = None,
    words: Mapping[str, int] | None = None,
    versions: Mapping[str, str] | None = None,
    skipped: Sequence[str] = (),
    answers: Mapping[str, Sequence[bool | None]] | None = None,
    first_question: int = 0,
    **blocks: Any,
) -> RunFolder:
    """A run with the scores `{policy: {judge: one per study}}`, evaluated as a recipe would have it.

    Judges in `skipped` stand in the recipe and scored nothing. `words` repeats the reports of a policy so many times.
    `answers` says which questions each policy answered right, None for an answer that cannot be read.
    """
    run, judges = RunFolder(root), list(scores[SFT])
    studies = studies if studies is not None else [study(i) for i in range(len(scores[SFT][judges[0]]))]
    if answers is not None:
        blocks["questions"] = {"collections": [{"source": SOURCE}], "orders": 1}
    made = recipe(name or root.name, [*judges, *skipped], **blocks)
    atomic.write_text(run.recipe, made.to_yaml())
    finished(run.studies, studies)
    policies = ["sft_shuffled", *scores]
    for policy in policies:
        times = (words or {}).get(policy, 1)
        of_policy = scores.get(policy, scores[SFT])
        rows = [
            Prediction(s.id, policy, " ".join([TEXTS[i % 3]] * times), 9 * times, "stop") for i, s in enumerate(studies)
        ]
        finished(run.predictions(policy), rows)
        for judge, values in of_policy.items():
            version = (versions or {}).get(judge, "1")
            found = [_score(s.id, judge, version, v, i) for i, (s, v) in enumerate(zip(studies, values, strict=True))]
            finished(run.metric(judge, policy), found, {"blocks": [judge, {"version": version}]})
    _answered(run, answers or {}, first_question)
    _evaluate(run, made, policies, judges)
    _trained(run)
    return run


def _score(study_id: str, judge: str, version: str, value: float | None, number: int) -> Score:
    if value is None:
        return Score(study_id, f"{judge}@{version}", None, status="unparsed", reason="made up")
    parts = labels_told(value, number) if judge == "chexbert" else ()
    return Score(study_id, f"{judge}@{version}", value, parts)


def _answered(run: RunFolder, answers: Mapping[str, Sequence[bool | None]], first: int) -> None:
    for policy, found in answers.items():
        asked = [
            Question(
                *(f"q{i:03}", f"p{i:03}", f"s{i:03}", ("view", "binary")[i % 2], "all", "basic", "verify", "Is it?"),
                *(("yes", "no"), ("yes",), (), "test", SOURCE, "CC0"),
            )
            for i in range(first, first + len(found))
        ]
        finished(run.questions(SOURCE), asked)
        rows = []
        for question, right in zip(asked, found, strict=True):
            read = None if right is None else ("yes" if right else "no",)
            rows.append(Answer(question.id, policy, "generation", 0, "yes" if right else "no", 1, read, right))
        finished(run.answers(SOURCE, policy), rows)


def _evaluate(run: RunFolder, made: Recipe, policies: Sequence[str], judges: Sequence[str]) -> None:
    key = StageKey("estimates", {}, {}, made.seed)
    learned = {policy: "green" for policy in policies if policy not in (SFT, "sft_shuffled")}
    write_estimates(
        run,
        key,
        spec=made.evaluate,
        policies=policies,
        judges=judges,
        learned_from=learned,
        questions=made.questions,
    )


def _trained(run: RunFolder) -> None:
    """The manifests of pairs and of the arm's training."""
    side = {what: {"mean": 2.0, "median": 1.5, "sd": 0.5} for what in ("score", "words", "tokens")}
    audit = {"n_pairs": 40, "n_patients": 38, "chosen": side, "rejected": side}
    info = run.pairs(ARM).write_part(0, [], fingerprint="f", extra={"audit": audit})
    Manifest("pairs", "f", {}, {}, 1, 40, {"tie": 3}, info.content, 0.1).save(run.pairs(ARM).folder)
    atomic.make_folder(run.policy(ARM))
    Manifest("train", "f", {}, {}, 1, 40, {}, "c", 30.0).save(run.policy(ARM))


def noisy(n: int, mean: float, seed: int) -> list[float]:
    """Scores about a mean, the same for the same seed."""
    values = np.random.default_rng(seed).normal(mean, 0.1, n)
    return [float(v) for v in np.clip(values, 0.01, 0.99)]
