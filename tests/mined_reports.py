"""Small finished runs that mined questions, every text written by hand and every image drawn, for tests of reports."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chexalign import atomic, ids
from chexalign.demo.phantom import render
from chexalign.evaluate.calibration import Calibrator
from chexalign.evaluate.stage import write_estimates
from chexalign.mine.purity import purity
from chexalign.mine.search.retrieve import Neighbors
from chexalign.recipe import Recipe
from chexalign.run_folder import SFT, RunFolder
from chexalign.stage import StageKey
from chexalign.stats import Bootstrap
from chexalign.store import Manifest
from chexalign.types import Answer, Counterfactual, Evidence, ImageRef, MinedItem, Prediction, Question, Score
from tests.compared_runs import TEXTS, finished, study

SOURCE, JUDGE = "made-up", "rouge_l"
TRAIN = {"algorithm": "dpo", "beta": 0.1, "learning_rate": 1e-5, "epochs": 1, "global_batch": 4}
ARMS = {
    "dpo_mined": {"select": "mined"},
    "dpo_random": {"select": "random"},
    "dpo_confidence": {"select": "confidence"},
    "sft_mined": {"select": "mined", "train": {"algorithm": "sft", "learning_rate": 1e-5}},
}
SHARE_RIGHT = {SFT: 0.55, "dpo_mined": 0.85, "dpo_random": 0.6, "dpo_confidence": 0.7, "sft_mined": 0.6}
SETS = ("mined", "random", "confidence")
N_TRAIN, N_TEST, N_SEEDS = 240, 180, 60
NASTY = '<img src=x onerror="document.title=1"> & </script>'

# What is asked, its options, and for each option the rationale that would support it.
_ASKED: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        *("basic", "verify", "Is there a pleural effusion?", ("yes", "no")),
        ("Yes. A small effusion blunts the left angle.", "No. Both angles are sharp, and no effusion is seen."),
    ),
    (
        *("basic", "query", "Which findings are there?", ("pleural effusion", "nodule", "cardiomegaly")),
        (
            "Pleural effusion. The left angle is blunted, and nothing else is found.",
            "Nodule. A small round nodule lies in the right upper lobe, and nothing else is found.",
            "Cardiomegaly. The heart is mildly enlarged, and nothing else is found.",
        ),
    ),
    (
        *("region", "choose", "What is inside the box?", ("nodule", "opacity", "nothing")),
        (
            "Nodule. The box holds a small round nodule of the right upper lobe.",
            "Opacity. The box holds a faint opacity of the right upper lobe.",
            "Nothing. The lung inside the box is clear.",
        ),
    ),
    (
        *("compare", "choose", "How has the heart changed?", ("larger", "smaller", "unchanged")),
        (
            "Larger. The heart is mildly enlarged, and it was not before.",
            "Smaller. The heart is less enlarged than it was before.",
            "Unchanged. The heart is of the same size on both exams.",
        ),
    ),
)
_CODES = (("Pleural Effusion/left/small",), ("Nodule/lung/upper lobe/right",), ("Cardiomegaly/mild",), ("normal",))


def recipe(name: str, **blocks: Any) -> Recipe:
    """A recipe that only mines."""
    plain = {
        "run": name,
        "data": {"source": "openi-phantom", "split": {"sft": 8, "prefer": 4, "test": 24}},
        "policy": {"model": "models/sft", "max_images": 2},
        "sft": {"epochs": 1, "learning_rate": 1e-4, "global_batch": 4},
        "questions": {
            "collections": [{"source": SOURCE, "sft": N_TRAIN}],
            "orders": 1,
            "confidence": {"aggregate": "geometric_mean", "span": "answer"},
        },
        "mine": {
            "collection": SOURCE,
            "confidence": {"aggregate": "geometric_mean", "span": "answer"},
            "failures": "most_confident_wrong",
            "seeds": N_SEEDS,
            "likeness": "q+e+d+v",
            "share": 0.4,
            "counterfactual": {"own": "first"},
            "train": TRAIN,
            "arms": ARMS,
        },
        "evaluate": {"metrics": [JUDGE], "bootstrap": 200, "level": 0.9},
    }
    return Recipe.model_validate({**plain, **blocks})


def mined_run(root: Path, *, without: Sequence[str] = ()) -> RunFolder:
    """A run of that recipe, evaluated; `without` names what mining has not made yet, such as `counterfactuals`."""
    run, made = RunFolder(root), recipe(root.name)
    atomic.write_text(run.recipe, made.to_yaml())
    questions = _questions(run)
    finished(run.questions(SOURCE), questions)
    learned = [q for q in questions if q.split == "train"]
    answers = [_answer(q, i, SFT, confident=True) for i, q in enumerate(learned)]
    sets = {select: _set(select, learned, answers) for select in SETS}
    if "answers" not in without:
        finished(run.mine_answers, answers)
    for select, rows in sets.items():
        if select not in without:
            finished(run.mined(select), rows)
    if "found" not in without:
        atomic.write_json(run.mine_found, {"fingerprint": "f", **_found(learned, answers, sets)})
    if "counterfactuals" not in without:
        _counterfactuals(run, learned, answers, {row.question_id for rows in sets.values() for row in rows})
    _evaluated(run, made, [q for q in questions if q.split == "test"], without)
    return run


def _questions(run: RunFolder) -> list[Question]:
    atomic.make_folder(run.images)
    rows = []
    for i in range(N_TRAIN + N_TEST):
        kind, answer_type, text, options, rationales = _ASKED[i % len(_ASKED)]
        right = i // len(_ASKED) % len(options)
        images = (_image(run, i, "current"), _image(run, i, "prior")) if kind == "compare" else (_image(run, i),)
        box = {"image": 0, "box": (0.2, 0.2, 0.5, 0.5)} if kind == "region" else {}
        evidence = Evidence("box" if box else "label", options[0] if box else "Pleural Effusion", right == 0, **box)
        rows.append(
            Question(
                *(f"q{i:04}", f"p{i // 2:03}", f"s{i:03}", "vqa", kind, kind, answer_type),
                *(f"{text} (patient {i // 2})", options, (options[right],), images),
                *("train" if i < N_TRAIN else "test", SOURCE, "CC0", rationales[right], (evidence,)),
            )
        )
    return [dataclasses.replace(rows[0], text=NASTY), *rows[1:]]


def _image(run: RunFolder, number: int, role: Any = "current") -> ImageRef:
    """One of a few drawn images, as many questions share one."""
    place = number % 16 + (16 if role == "prior" else 0)
    path = run.images / f"{place:02}.png"
    if not path.is_file():
        Image.fromarray(render(_CODES[place % len(_CODES)], view="frontal", seed=place, size_px=96)).save(path)
    about = (str(path.relative_to(run.root)), ids.file_sha256(path), "frontal", 96, 96)
    return ImageRef(*about, role=role, synthetic=True)  # type: ignore[arg-type]


def _answer(question: Question, number: int, policy: str, *, confident: bool) -> Answer:
    rng = np.random.default_rng([number, list(SHARE_RIGHT).index(policy)])
    kind = next(row for row in _ASKED if row[3] == question.options)
    options, right = question.options, bool(rng.random() < SHARE_RIGHT[policy])
    place = options.index(question.answers[0])
    said = place if right else (place + 1) % len(options)
    logps = (math.log(0.35 + 0.6 * float(rng.random()) ** (0.5 if right else 1.2)), -0.05) if confident else None
    text = kind[4][said]
    return Answer(
        *(question.id, policy, "generation", 0, text, 2, (options[said],), right),
        *(logps, (0,) if confident else None),
    )


def _sure(answer: Answer) -> float:
    assert answer.token_logps is not None
    return math.exp(answer.token_logps[0])


def _set(select: str, questions: Sequence[Question], answers: Sequence[Answer]) -> list[MinedItem]:
    failed = sorted((i for i, a in enumerate(answers) if not a.right), key=lambda i: -_sure(answers[i]))
    if select == "random":
        rows = [(i, None, 0, None) for i in range(3, 3 + N_SEEDS)]
    elif select == "confidence":
        rows = [(i, i, 0, None) for i in failed[:N_SEEDS]]
    else:
        seeds = failed[: N_SEEDS // 2]
        near = [i for i in range(len(questions)) if i not in seeds][:N_SEEDS]
        rows = [(i, i, 0, None) for i in seeds]
        rows += [(i, seeds[k % len(seeds)], 1 + k // len(seeds), 0.1 + k / 100) for k, i in enumerate(near)]
    return [
        MinedItem(
            *(questions[i].id, questions[i].kind, None if seed is None else questions[seed].id, rank, distance),
            *(_sure(answers[i]), answers[i].right),
        )
        for i, seed, rank, distance in rows
    ]


def _found(questions: Sequence[Question], answers: Sequence[Answer], sets: Any) -> dict[str, Any]:
    kinds, failed = [q.kind for q in questions], [not a.right for a in answers]
    rng, n_seeds = np.random.default_rng(0), 30
    bootstrap = Bootstrap([q.patient_id for q in questions], seed=1, resamples=200, level=0.9)
    calibrator = Calibrator(bootstrap, SFT, "train")
    sure, right = [_sure(a) for a in answers], [bool(a.right) for a in answers]
    curves = [
        purity(
            Neighbors(rng.integers(0, len(questions), (n_seeds, 10)), np.zeros((n_seeds, 10))),
            failed,
            variant=variant,
            patients=[f"p{i}" for i in range(n_seeds)],
            policy=SFT,
            split="train",
            seed=1,
            resamples=200,
        )
        for variant in ("q+e", "q+e+d", "e+v", "q+v", "q+e+d+v", "q+e+d-v", "q+e-v")
    ]
    each = dict(sorted(Counter(kinds).items()))
    quota = {"basic": 30, "compare": 30, "region": 30}
    accounts = {
        select: {"given": dict(Counter(row.group for row in rows))}
        | ({} if select == "random" else {"wanted": quota, "short": {"region": 2}, "available": each})
        for select, rows in sets.items()
    }
    return {
        "counts": {
            "gallery": each,
            "asked": each,
            "failed": dict(sorted(Counter(k for k, f in zip(kinds, failed, strict=True) if f).items())),
            "unread": {"basic": 1},
            "without_confidence": 3,
            "seeds": {"basic": 10, "compare": 10, "region": 10},
            "budget": 96,
        },
        "sets": accounts,
        "purity": [dataclasses.asdict(curve) for curve in curves],
        "calibration": [
            dataclasses.asdict(c)
            for c in (calibrator.calibrate("all", sure, right), *calibrator.by_type(sure, right, kinds))
        ],
    }


def _counterfactuals(run: RunFolder, questions: Sequence[Question], answers: Sequence[Answer], ids_: set[str]) -> None:
    rows: list[Counterfactual] = []
    wanted = [(q, a) for q, a in zip(questions, answers, strict=True) if q.id in ids_]
    for i, (question, answer) in enumerate(wanted):
        if i % 11 == 5:
            continue
        assert question.rationale is not None
        own, place = answer.right is False, question.options.index(question.answers[0])
        kind = {"basic": "negation", "region": "finding", "compare": "change"}[question.kind]
        texts = next(row[4] for row in _ASKED if row[3] == question.options)
        wrong = question.options[(place + 1) % len(texts)]
        text = answer.text if own else texts[(place + 1) % len(texts)]
        origin = "own" if own else "rules" if i % 3 else "llm"
        about = ("own" if own else kind, origin, (wrong,), 1 + i % 3)
        rows.append(Counterfactual(question.id, question.rationale, text, *about))  # type: ignore[arg-type]
    finished(run.counterfactuals, rows)
    manifest = Manifest.load(run.counterfactuals.folder)
    assert manifest is not None
    account = {"proposals": 2 * len(rows), "rejected": {"same_labels": 12, "too_long": 3}}
    dropped = {"same_labels": len(wanted) - len(rows)}
    dataclasses.replace(manifest, dropped=dropped, extra=account).save(run.counterfactuals.folder)


def _evaluated(run: RunFolder, made: Recipe, asked: Sequence[Question], without: Sequence[str]) -> None:
    studies = [study(i) for i in range(24)]
    finished(run.studies, studies)
    policies = [SFT, "sft_shuffled", *(arm for arm in ARMS if arm not in without)]
    for policy in policies:
        rows = [Prediction(s.id, policy, TEXTS[i % 3], 9, "stop") for i, s in enumerate(studies)]
        finished(run.predictions(policy), rows)
        finished(
            run.metric(JUDGE, policy), [Score(s.id, f"{JUDGE}@1", 0.3 + 0.02 * (i % 7)) for i, s in enumerate(studies)]
        )
        if policy != "sft_shuffled":
            finished(run.answers(SOURCE, policy), [_answer(q, i, policy, confident=True) for i, q in enumerate(asked)])
    write_estimates(
        run,
        StageKey("estimates", {}, {}, made.seed),
        spec=made.evaluate,
        policies=policies,
        judges=[JUDGE],
        learned_from={},
        questions=made.questions,
        baselines=[SFT, "dpo_random"],
    )
