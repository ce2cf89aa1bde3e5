"""A sample report of mined questions, to look at: every text is written by hand and every number is made up.

python bench/report_sample_mining.py report.html
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from chexalign.data.marks import Bounds, marked
from chexalign.demo.phantom import render
from chexalign.evaluate.calibration import Bin, Calibration
from chexalign.evaluate.numbers import Numbers
from chexalign.mine.purity import Purity
from chexalign.mine.vectors.variants import VARIANTS
from chexalign.present.case import CaseImage
from chexalign.present.data import ReportData
from chexalign.present.html import write_report
from chexalign.present.mining_data import MinedSet, Mining, ShownItem, ShownQuestion, Told, WrongAnswers
from chexalign.present.mining_page import mining_claims
from chexalign.present.mining_words import why
from chexalign.types import Counterfactual, Estimate, MinedItem
from report_sample_numbers import made_up
from report_sample_questions import ASKED, Asked

ARMS = {"dpo_mined": "mined", "dpo_random": "random"}
ACCURACY = {"all": (0.612, 0.661, 0.634), "basic": (0.655, 0.690, 0.671), "region": (0.570, 0.642, 0.583)}
ACCURACY |= {"compare": (0.548, 0.589, 0.570)}
ECE = (0.164, 0.093, 0.141)
SIZE_PX = 256


def estimates() -> list[Estimate]:
    rows = []
    for group, (sft, *arms) in ACCURACY.items():
        rows.append(made_up(f"vqa.{group}.accuracy", "sft", sft, 0.03))
        for arm, value in zip(ARMS, arms, strict=True):
            rows.append(made_up(f"vqa.{group}.accuracy", arm, value, 0.03))
            for baseline, theirs in {"sft": sft, "dpo_random": arms[1]}.items():
                if baseline != arm:
                    rows.append(made_up(f"vqa.{group}.accuracy", arm, value - theirs, 0.022, baseline=baseline))
                    gain = value / theirs - 1
                    rows.append(made_up(f"vqa.{group}.relative_gain", arm, gain, 0.036, baseline=baseline))
    for policy, value, ece in zip(("sft", *ARMS), (0.21, 0.14, 0.19), ECE, strict=True):
        rows += [made_up("vqa.hallucination", policy, value, 0.03), made_up("vqa.all.ece", policy, ece, 0.02)]
        if policy != "sft":
            rows.append(made_up("vqa.hallucination", policy, value - 0.21, 0.025, baseline="sft"))
    return rows


def calibration(policy: str, group: str, ece: float, n: int) -> Calibration:
    """Bins in which confidence is too high by about so much."""
    bins = []
    for i in range(10):
        n_bin, sure = round(n * math.exp(i / 3) / 80), (i + 0.5) / 10
        right = min(0.98, max(0.02, sure - ece * (0.4 + i / 9)))
        low, high = right - 0.6 / math.sqrt(n_bin + 1), right + 0.6 / math.sqrt(n_bin + 1)
        about = (0.9, n_bin, n_bin, "made up")
        bins.append(
            Bin(
                *(i / 10, (i + 1) / 10, Estimate("confidence", policy, "test", sure, sure, sure, *about)),
                Estimate("accuracy", policy, "test", right, max(0, low), min(1, high), *about),
            )
        )
    return Calibration(group, tuple(bins), made_up(f"vqa.{group}.ece", policy, ece, 0.02))


def purity(variant: str, place: int) -> Purity:
    """A curve that falls with k toward what a draw at random finds."""
    start = 0.39 + (0.29, 0.31, 0.2, 0.11, 0.33, 0.08, 0.05)[place]
    values = [0.39 + (start - 0.39) * math.exp(-(k - 1) / 9) for k in range(1, 11)]
    curve = tuple(made_up(f"purity.{variant}.at{k}", "sft", v, 0.05) for k, v in enumerate(values, start=1))
    return Purity(variant, curve, 0.39)


def image(codes: tuple[str, ...], seed: int, box: Bounds | None) -> CaseImage:
    drawn, buffer = Image.fromarray(render(codes, view="frontal", seed=seed, size_px=SIZE_PX)), io.BytesIO()
    if box is not None:
        left, top, right, bottom = (SIZE_PX * bound for bound in box)
        drawn = marked(drawn, (left, top, right, bottom), "box")
    drawn.save(buffer, "JPEG", quality=85)
    return CaseImage(buffer.getvalue(), "frontal", synthetic=True)


def shown(asked: Asked, first_image: int) -> ShownQuestion:
    exams = ("current exam, frontal", "earlier exam, frontal") if len(asked.codes) > 1 else ("frontal",)
    question, (kind, origin, wrong) = asked.question, asked.wrong
    return ShownQuestion(
        question=question,
        right=asked.right,
        images=[(first_image + i, name) for i, name in enumerate(exams)],
        told=Told(*asked.told),
        wrong=Counterfactual(question.id, asked.right, wrong, kind, origin, (), 1) if wrong else None,
    )


def sample_mining() -> Mining:
    questions, images, items = [], [], []
    for place, asked in enumerate(ASKED):
        questions.append(shown(asked, len(images)))
        images += [image(codes, asked.seed_of_patient, asked.box) for codes in asked.codes]
        seed = None if asked.select == "random" else asked.seed
        seed_id, (_, right, sure) = None if seed is None else ASKED[seed].question.id, asked.told
        row = MinedItem(
            asked.question.id, asked.question.kind, seed_id, asked.rank, asked.distance, confidence=sure, right=right
        )
        reason = why(row, asked.select, "most_confident_wrong")
        items.append(ShownItem(asked.select, place, row.group, seed, asked.rank, asked.distance, reason))
    rng, kinds = np.random.default_rng(5), ("basic", "compare", "region")
    lengths = rng.normal(13, 4, (2, 900)).clip(3, 30).astype(int).tolist()
    counts = {"gallery": (9000, 5000, 6000), "asked": (9000, 5000, 6000), "failed": (3105, 2260, 2580)}
    counts |= {"unread": (41, 22, 37), "seeds": (134, 133, 133)}
    wanted, available = dict(zip(kinds, (334, 333, 333), strict=True)), dict(zip(kinds, (1201, 980, 1344), strict=True))
    drawn = dict(zip(kinds, (451, 248, 301), strict=True))
    return Mining(
        rule={"seeds": "400 wrong answers, the surest first", "likeness": "q+e+d+v, the 10 nearest of each seed"},
        counts={name: dict(zip(kinds, row, strict=True)) for name, row in counts.items()},
        totals={"budget": 1000, "without_confidence": 100},
        likeness="q+e+d+v",
        sets=[
            MinedSet("mined", ["dpo_mined"], wanted, wanted, {}, available, 400, 1000, 846, 52),
            MinedSet("random", ["dpo_random"], drawn, {}, {}, {}, 0, 1000, 397, 48),
        ],
        purity=[purity(variant, place) for place, variant in enumerate(VARIANTS)],
        calibration=[calibration("sft", group, 0.15, 20_000 // 3) for group in ("all", *kinds)],
        wrong=WrongAnswers(
            dropped={"still_supported": 61, "length": 39},
            proposals=2411,
            turned_down={"length": 318, "still_supported": 190, "same_answer": 3},
            ways={"own": {"own": 388}, "negation": {"rules": 201}, "finding": {"rules": 177}, "side": {"rules": 134}},
            chosen_words=lengths[0],
            rejected_words=lengths[1],
        ),
        questions=questions,
        images=images,
        items=items,
        most_shown=60,
        of_arm=ARMS,
        rivals={"dpo_mined": ["dpo_random"]},
    )


def mining_sample() -> ReportData:
    mining, numbers = sample_mining(), estimates()
    return ReportData(
        title="A sample of mined questions",
        run_name="mining-sample",
        recipe_yaml="run: mining-sample\n",
        notes=["This is a sample of the layout: every text was written by hand and every number is made up."],
        synthetic=True,
        stages=[],
        estimates=numbers,
        policies=["sft", *ARMS],
        headline=mining_claims(numbers, mining),
        curves=[],
        pair_sets=[],
        cases=[],
        versions={"chexalign": "0.1.0"},
        config_digest="0f3a9c1d2b7e4a55",
        generated="2026-01-15 10:00 UTC",
        more=Numbers(calibration=[calibration(p, "all", e, 1800) for p, e in zip(("sft", *ARMS), ECE, strict=True)]),
        mining=mining,
    )


def main() -> None:
    write_report(mining_sample(), Path(sys.argv[1] if len(sys.argv) > 1 else "report.html"))


if __name__ == "__main__":
    main()
