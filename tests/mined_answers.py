"""A small finished run whose policies learned from mined questions, for tests of pairs, exports, tables and cards."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from chexalign import artifact, atomic
from chexalign.mine.pairs import MinedPairsWorker
from chexalign.run_folder import RunFolder
from chexalign.store import Manifest
from chexalign.train.card import About, write_card
from chexalign.types import Counterfactual, Estimate, ImageRef, MinedItem, Question
from tests.compared_runs import SOURCE, finished, finished_run, noisy

N, LICENSE = 20, "CC BY 4.0"
MINE: dict[str, Any] = {
    "collection": SOURCE,
    "confidence": {"aggregate": "mean", "span": "answer"},
    "failures": "most_confident_wrong",
    "seeds": 2,
    "likeness": "q+e",
    "counterfactual": {"own": "first"},
    "train": {"algorithm": "dpo", "beta": 0.1, "learning_rate": 1e-6, "epochs": 2, "global_batch": 4},
    "arms": {"dpo_mined": {"select": "mined"}, "sft_mined": {"select": "mined", "train": {"algorithm": "sft"}}},
}


def question(i: int) -> Question:
    """A question of yes or no about one image."""
    image = ImageRef(f"images/{i}.png", "0" * 64, "frontal", 8, 8)
    return Question(
        *(f"q{i}", f"p{i // 2}", f"s{i}", "presence", "all", ("basic", "region")[i % 2], "verify", f"Is it {i}?"),
        *(("yes", "no"), ("yes",), (image,), "train", SOURCE, LICENSE, "Yes. It is there."),
    )


def mined_run(root: Path, **blocks: Any) -> RunFolder:
    """The run: of four questions in the set, the last has no wrong answer; two policies learned from the others."""
    before, policies = noisy(N, 0.4, 1), list(MINE["arms"])
    scores = {"sft": {"green": before}, **{name: {"green": [v + 0.1 for v in before]} for name in policies}}
    asked = {"collections": [{"source": SOURCE, "sft": 40, "evaluate": False}]}
    run = finished_run(root, scores, **{"arms": {}, "mine": MINE, "questions": asked, **blocks})
    finished(run.questions(SOURCE), [question(i) for i in range(40)])
    items = [MinedItem(f"q{i}", "basic", "q0", i, 0.1 * i if i else None, 0.9, i > 1) for i in range(4)]
    finished(run.mined("mined"), items)
    wrong = [
        ("own", "own", "No. It is not there at all."),
        ("negation", "rules", "No. It is gone."),
        ("side", "rules", "No."),
    ]
    rows = [
        Counterfactual(f"q{i}", "Yes. It is there.", text, kind, origin, ("no",), 1)
        for i, (kind, origin, text) in enumerate(wrong)
    ]
    finished(run.counterfactuals, rows)
    made = Manifest.load(run.counterfactuals.folder)
    assert made is not None
    made.extra.update({"proposals": 9, "rejected": {"too_long": 5}})
    made.save(run.counterfactuals.folder)
    counts = {"gallery": {"basic": 20, "region": 20}, "asked": {"basic": 20}, "failed": {"basic": 6}}
    sets = {"mined": {"given": {"basic": 4}, "short": {"region": 2}}}
    atomic.write_json(run.mine_found, {"counts": counts, "sets": sets})
    for name in policies:
        _learned(run, name)
    _answered(run)
    return run


def _answered(run: RunFolder) -> None:
    """Adds the accuracy of two policies on questions to the estimates."""
    content, about = atomic.read_json(run.estimates), {"low": 0.4, "high": 0.8, "level": 0.9, "n": 40, "n_clusters": 20}
    rows = [("accuracy", "sft", None), ("accuracy", "dpo_mined", None), ("accuracy", "dpo_mined", "sft")]
    content["estimates"] += [
        dataclasses.asdict(Estimate(f"vqa.all.{what}", policy, "test", 0.5, method="m", baseline=base, **about))
        for what, policy, base in [*rows, ("relative_gain", "dpo_mined", "sft")]
    ]
    atomic.write_json(run.estimates, content)


def _learned(run: RunFolder, name: str) -> None:
    made = MinedPairsWorker(run, SOURCE, "mined").part(0)
    info = run.pairs(name).write_part(0, made.rows, fingerprint="f", extra=made.extra)
    blocks = {"blocks": [{"select": "mined"}]}
    Manifest("mined_pairs", "f", {}, blocks, 1, len(made.rows), dict(made.dropped), info.content, 0.1).save(
        run.pairs(name).folder
    )
    folder = run.policy(name)
    atomic.make_folder(folder)
    about = About(
        name,
        "sft",
        MINE["arms"][name].get("train", {}).get("algorithm", "dpo"),
        {},
        None,
        [],
        "d",
        [],
        False,
        [LICENSE],
    )
    write_card(folder, about, rows=3, dropped={}, checks={}, steps=2)
    atomic.write_json(folder / artifact.LOG, [{"step": 2}])
    Manifest("train", "f", {}, {}, 1, 3, {}, "c", 30.0).save(folder)
