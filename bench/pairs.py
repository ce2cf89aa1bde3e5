"""Measure how long pairs of 148,000 prompts take: whole stages on tables, and the rule against a loop over rows.

    python bench/pairs.py [--prompts N] [--repeats K]

The tables are made up: 4 candidates a prompt of about 55 words, scored by 2 judges in hundredths, so that ties occur.
`pairs.seconds_148k` is the time of both judges' stages in one process on one core, from Parquet parts to Parquet parts:
candidates and scores are read, words counted, pairs built, audited and written. `pairs.rss_mb` is that process's peak.

`pairs.speedup_vs_row_loop` sets one judge's pairs in memory against the loop of the CheXalign code, written anew from
its description: one row of four texts and four scores at a time, their maximum and minimum by torch, and a table made
of the kept rows. Both start from tables in memory and end with one; words, which the loop does not count, are counted
beforehand. The loop's rows are slices of an Arrow table, as those of a `datasets` iterator with batches of one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from chexalign.pairs.build import build_columns
from chexalign.pairs.columns import columns_from
from chexalign.pairs.rules import BestWorst
from chexalign.pairs.stage import PairsWorker
from chexalign.recipe import Arm, PairsSpec, TrainSpec
from chexalign.run_folder import RunFolder
from chexalign.stage import StageKey, run_parts
from chexalign.store import Manifest, Table
from chexalign.types import Pair
from results_file import figure, merge

RESULTS = Path(__file__).parent.parent / "results" / "pairs.json"
JUDGES = ("first", "second")
DRAWS, SEED = 4, 11
PROMPTS_PER_PART, SCORES_PER_PART = 256, 400
RULE = BestWorst(min_margin=1e-8)


def texts(n: int) -> list[str]:
    """Made-up reports of 35 to 75 words."""
    rng = random.Random(SEED)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(600)]
    pool = [" ".join(rng.choices(words, k=rng.randint(35, 75))) for _ in range(20_000)]
    return [pool[i] for i in rng.choices(range(len(pool)), k=n)]


def ids(prompt: int) -> list[str]:
    return [f"{prompt * DRAWS + draw:016x}" for draw in range(DRAWS)]


def values(judge: str, n: int) -> np.ndarray:
    """Scores in hundredths, about a fortieth of them missing."""
    rng = np.random.default_rng([SEED, JUDGES.index(judge)])
    scores = np.round(rng.beta(2, 5, size=n * DRAWS), 2)
    scores[rng.random(len(scores)) < 0.025] = np.nan
    return scores


def write_run(run: RunFolder, n: int) -> None:
    """Candidates and the scores of both judges, in parts as the stages write them."""
    import pyarrow as pa

    reports, table = texts(n * DRAWS), run.candidates
    for index, start in enumerate(range(0, n, PROMPTS_PER_PART)):
        prompts = range(start, min(n, start + PROMPTS_PER_PART))
        rows = [(i, p, d) for p in prompts for d, i in enumerate(ids(p))]
        columns: dict[str, list[Any]] = {
            "id": [i for i, _, _ in rows],
            "prompt_id": [f"p{p:015x}" for _, p, _ in rows],
            "text": reports[start * DRAWS : start * DRAWS + len(rows)],
            "n_tokens": [80 + d for _, _, d in rows],
            "sum_logp": [-40.0] * len(rows),
            "finish": ["stop"] * len(rows),
            "draw": [d for _, _, d in rows],
            "sampler": ["made up"] * len(rows),
        }
        put(table, index, pa.table(columns, schema=table.schema()))
    finish(table, -(-n // PROMPTS_PER_PART))
    for judge in JUDGES:
        found, all_ids = values(judge, n).tolist(), [i for p in range(n) for i in ids(p)]
        table_of_judge = run.scores(judge)
        for index, start in enumerate(range(0, n * DRAWS, SCORES_PER_PART)):
            part = found[start : start + SCORES_PER_PART]
            missing = [v != v for v in part]
            columns = {
                "candidate_id": all_ids[start : start + SCORES_PER_PART],
                "judge": [f"{judge}@1"] * len(part),
                "value": [None if gone else v for v, gone in zip(part, missing, strict=True)],
                "parts": [[] for _ in part],
                "status": ["unparsed" if gone else "ok" for gone in missing],
                "reason": [None] * len(part),
                "notes": [[] for _ in part],
            }
            put(table_of_judge, index, pa.table(columns, schema=table_of_judge.schema()))
        finish(table_of_judge, -(-n * DRAWS // SCORES_PER_PART))


def put(table: Table[Any], index: int, rows: Any) -> None:
    import pyarrow.parquet as pq

    table.folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, table.part_path(index))


def finish(table: Table[Any], parts: int) -> None:
    Manifest("made up", "f", {}, {}, SEED, 0, {}, table.folder.name, 0.0, parts=parts).save(table.folder)


def arm(judge: str) -> Arm:
    train = TrainSpec(algorithm="dpo", beta=0.1, learning_rate=1e-4)
    return Arm(judge=judge, pairs=PairsSpec(rule="best_worst"), train=train)


def stages(root: Path) -> dict[str, float]:
    """Seconds of both arms' stages, and the peak memory of this process, which must be a fresh one."""
    run = RunFolder(root)
    start = time.perf_counter()
    for judge in JUDGES:
        worker = PairsWorker(run, arm(judge), SEED)
        run_parts(run.pairs(judge), worker, key=StageKey("pairs", {}, {"judge": judge}, SEED), n_parts=1)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """The most memory that this process ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def in_child(root: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    core = sorted(os.sched_getaffinity(0))[-1]
    done = subprocess.run(
        [sys.executable, __file__, "--stages", str(root)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row_loop(table: Any) -> Any:
    """Preferences one row at a time, with the scores' maximum and minimum by torch."""
    import pyarrow as pa

    kept = [row for i in range(table.num_rows) if (row := preferred(table.slice(i, 1).to_pydict())) is not None]
    return pa.Table.from_pylist(kept)


def preferred(row: dict[str, list[Any]]) -> dict[str, Any] | None:
    import torch

    scores = torch.cat([torch.tensor(row[f"score{d}"]).unsqueeze(0) for d in range(DRAWS)], 0)
    (most, best), (least, worst) = torch.max(scores, 0), torch.min(scores, 0)
    if not abs(most[0].item() - least[0].item()) > 1e-8:
        return None
    return {
        "prompt": row["prompt"][0],
        "chosen": row[f"text{best[0].item()}"][0],
        "rejected": row[f"text{worst[0].item()}"][0],
        "reference": row["reference"][0],
        "reward_chosen": most[0].item(),
        "reward_rejected": least[0].item(),
    }


def compare(n: int, repeats: int) -> tuple[list[float], str]:
    """Ratios of seconds for one judge's pairs, the sides by turns; the loop sees `n` prompts and so do we."""
    import pyarrow as pa

    reports, scores = texts(n * DRAWS), np.nan_to_num(values(JUDGES[0], n))  # the loop cannot tell a missing score
    rows: dict[str, list[Any]] = {"prompt": [f"p{p:015x}" for p in range(n)], "reference": reports[:n]}
    for d in range(DRAWS):
        rows |= {f"text{d}": reports[d::DRAWS], f"score{d}": scores[d::DRAWS].tolist()}
    table = pa.table(rows)
    flat = [(i, f"p{p:015x}", d) for p in range(n) for d, i in enumerate(ids(p))]
    id_, prompt, draw = (list(column) for column in zip(*flat, strict=True))
    columns = columns_from(
        [{"id": id_, "prompt_id": prompt, "draw": draw, "n_tokens": [80] * len(flat), "text": reports}]
    )
    given, text_of = pa.array(id_), dict(zip(id_, reports, strict=True))
    ratios = []
    for _ in range(repeats):
        start = time.perf_counter()
        built = build_columns(columns, columns.values("first@1", given, scores), rule=RULE, judge="first@1")
        ours = time.perf_counter() - start
        start = time.perf_counter()
        loop = row_loop(table)
        ratios.append((time.perf_counter() - start) / ours)
    chosen = {p: (text_of[c], text_of[r]) for p, c, r in pairs_of(built.records())}
    theirs = dict(zip(loop["prompt"].to_pylist(), zip(*texts_of(loop), strict=True), strict=True))
    # The loop keeps two equal texts whose scores differ, which only made-up scores do.
    equal = {p for p, (a, b) in theirs.items() if a == b}
    assert chosen == {p: both for p, both in theirs.items() if p not in equal}
    return ratios, f"the same {len(chosen)} pairs of texts as the loop's, for {n} prompts"


def pairs_of(pairs: list[Pair]) -> list[tuple[str, str, str]]:
    return [(p.prompt_id, p.chosen_id, p.rejected_id) for p in pairs]


def texts_of(loop: Any) -> tuple[list[str], list[str]]:
    return loop["chosen"].to_pylist(), loop["rejected"].to_pylist()


def one_by_one(run: RunFolder) -> list[Pair]:
    """The pairs of the last prompts by the rule itself, prompt by prompt."""
    from chexalign.pairs.build import _each_prompt
    from chexalign.pairs.read import read_candidates, read_scores

    class Slow:
        name, pairs = RULE.name, RULE.pairs

    columns = read_candidates(run)
    judge, given, found = read_scores(run, JUDGES[0])
    return _each_prompt(columns, columns.values(judge, given, found), Slow(), judge).records()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=148_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stages", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stages:
        print(json.dumps(stages(args.stages)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        write_run(run, args.prompts)
        found = []
        for _ in range(args.repeats):
            for judge in JUDGES:
                for path in run.pairs(judge).folder.glob("*"):
                    path.unlink()
            found.append(in_child(run.root))
        rows = run.pairs(JUDGES[0]).rows()
        wanted = one_by_one(run)
        assert [dataclasses.astuple(p) for p in rows] == [dataclasses.astuple(p) for p in wanted]
    same = f"{len(rows)} pairs equal to the rule's, asked prompt by prompt"
    ratios, checked = compare(args.prompts, args.repeats)
    figures = {
        "pairs.seconds_148k": figure([f["seconds"] for f in found], unit="s", target=15, checked=same),
        "pairs.rss_mb": figure([f["peak_mb"] for f in found], unit="MB", target=1500, checked=same),
        "pairs.speedup_vs_row_loop": figure(ratios, unit="ratio", target=50, checked=checked),
    }
    merge(RESULTS, figures, seeds=[SEED], prompts=args.prompts, draws=DRAWS, judges=len(JUDGES))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
