"""Writes a sample report, to look at its layout: every text is written by hand and every number is made up.

python bench/report_sample.py report.html
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chexalign.demo.phantom import render
from chexalign.judges.base import TextPair
from chexalign.judges.chexpert import FINDINGS, CheXpertJudge, positives
from chexalign.judges.lexical import Bleu4Judge, RougeLJudge
from chexalign.judges.normalize import count_words
from chexalign.present.case import Case, CaseImage
from chexalign.present.data import Claim, Curve, PairSet, ReportData, StageRow
from chexalign.present.html import write_report
from chexalign.present.tables import terminal_summary
from chexalign.types import Estimate
from report_sample_cases import CASES, SampleCase
from report_sample_numbers import ARMS, LEARNED_FROM, NUMBERS, POLICIES, made_up, more_estimates, more_numbers


def estimates() -> list[Estimate]:
    rows = []
    for metric, (base, half, control, deltas, delta_half) in NUMBERS.items():
        values = {"sft": base, "sft_shuffled": control} | {a: base + d for a, d in zip(ARMS, deltas, strict=True)}
        rows += [made_up(metric, policy, value, half) for policy, value in values.items()]
        rows += [
            made_up(metric, policy, value - base, delta_half, baseline="sft")
            for policy, value in values.items()
            if policy != "sft"
        ]
    rows.append(made_up("words", "reference", 30.7, 1.1))
    for i, finding in enumerate(FINDINGS):
        cases = (94, 61, 120, 9, 33, 4, 27, 38, 12, 51, 3, 22, 40)[i]
        rows += [
            made_up(f"mesh.f1.{finding}", policy, 0.2 + 0.05 * i / 2 + 0.03 * j, 0.4 / cases**0.5, cases=cases)
            for j, policy in enumerate(POLICIES)
        ]
    return rows


def stages() -> list[StageRow]:
    return [
        StageRow("studies", 3281, {"no findings section": 530, "no image codes": 144}, 9.1, "1 process"),
        StageRow("prompts", 900, {}, 0.2, "1 process"),
        StageRow("candidates", 3600, {}, 118.4, "sft, 4 draws, 2 processes"),
        StageRow("scores/chexpert", 3600, {}, 1.3, "chexpert@1"),
        StageRow("scores/bertscore", 3591, {"empty candidate": 9}, 48.8, "bertscore@1"),
        StageRow("pairs/dpo_label", 702, {"tie": 198}, 0.3, "best_worst"),
        StageRow("pairs/dpo_bertscore", 900, {}, 0.3, "best_worst"),
        StageRow("pairs/null_pairs", 702, {"tie": 198}, 0.3, "coin_flip"),
        StageRow("ref_logps", 2204, {}, 21.7, "policy/sft"),
        *(StageRow(f"predictions/{policy}", 581, {}, 14.2, policy) for policy in (*POLICIES, "sft_shuffled")),
    ]


def curves() -> list[Curve]:
    rng = np.random.default_rng(3)
    steps = np.arange(1, 151)
    out = [Curve("sft", "loss", steps.tolist(), (1.6 + 1.4 * np.exp(-steps / 30) + rng.normal(0, 0.06, 150)).tolist())]
    for arm, gain in zip(ARMS, (0.9, 1.3, 0.04), strict=True):
        x = np.arange(1, 46)
        margin = gain * (1 - np.exp(-x / 20)) + rng.normal(0, 0.05, 45)
        out.append(Curve(arm, "loss", x.tolist(), np.log1p(np.exp(-margin)).tolist()))
        out.append(Curve(arm, "reward_margin", x.tolist(), margin.tolist()))
        noise = rng.normal(0, 0.03, 45)
        out.append(Curve(arm, "accuracy", x.tolist(), np.clip(0.5 + margin * 0.3 + noise, 0, 1).tolist()))
    return out


def pair_sets() -> list[PairSet]:
    rng = np.random.default_rng(4)
    out = []
    for arm, judge, n in (("dpo_label", "chexpert", 702), ("dpo_bertscore", "bertscore", 900)):
        low = rng.beta(2, 4, n) if judge == "bertscore" else rng.choice([0, 0.4, 0.5], n, p=[0.7, 0.2, 0.1])
        high = low + (rng.beta(2, 3, n) * 0.4 if judge == "bertscore" else rng.choice([0.3, 0.5], n))
        words = rng.normal(25, 7, (2, n)).clip(4, 60).astype(int) + np.array([[2 if judge == "bertscore" else 0], [0]])
        audit = {"pairs": float(n), "ties": (900 - n) / 900, "mean margin": float((high - low).mean())}
        audit |= {"chosen longer": float((words[0] > words[1]).mean()), "words excess": 0.021}
        out.append(PairSet(arm, judge, high.tolist(), low.tolist(), words[0].tolist(), words[1].tolist(), audit))
    first, audit = out[0], {"pairs": 702.0, "mean margin": 0.004}
    scores = (_mixed(first.chosen_scores, first.rejected_scores), _mixed(first.rejected_scores, first.chosen_scores))
    words = (_mixed(first.chosen_words, first.rejected_words), _mixed(first.rejected_words, first.chosen_words))
    return [*out, PairSet("null_pairs", "chexpert", *scores, *words, audit)]


def _mixed(even: Sequence[Any], odd: Sequence[Any]) -> list[Any]:
    return [b if i % 2 else a for i, (a, b) in enumerate(zip(even, odd, strict=True))]


def case(number: int, sample: SampleCase) -> Case:
    judges = (CheXpertJudge(), RougeLJudge(), Bleu4Judge())
    scores = {
        policy: {j.name: float(j.score([TextPair(text, sample.reference)])[0].value or 0.0) for j in judges}
        | {"words": float(count_words(text))}
        for policy, text in sample.texts.items()
    }
    images = [CaseImage(_jpeg(sample.codes, number, view), view, synthetic=True) for view in sample.views]
    labels = {policy: sorted(positives(text) - {"No Finding"}) for policy, text in sample.texts.items()}
    return Case(
        study_id=f"sample-{number:02d}",
        images=images,
        indication=sample.indication,
        reference=sample.reference,
        reference_labels=sorted(positives(sample.reference) - {"No Finding"}),
        texts=sample.texts,
        labels=labels,
        scores=scores,
    )


def _jpeg(codes: tuple[str, ...], seed: int, view: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(render(codes, view=view, seed=seed, size_px=256)).save(buffer, "JPEG", quality=85)  # type: ignore[arg-type]
    return buffer.getvalue()


def headline() -> list[Claim]:
    return [
        Claim(
            "The policy looks at the image before preference training.",
            True,
            "Micro F1 against the codes 0.431 [0.402, 0.462] with its own image, 0.107 with another study's.",
        ),
        Claim(
            "Pairs from the label judge improve the label judge on unseen studies.",
            True,
            "Label agreement per report +0.041 [+0.023, +0.061] against sft.",
        ),
        Claim(
            "Pairs chosen by a coin change nothing.",
            True,
            "null_pairs: +0.004 [−0.014, +0.024] in label agreement, −0.006 in BERTScore.",
        ),
        Claim(
            "Pairs from BERTScore improve the labels too.",
            False,
            "BERTScore +0.038 [+0.030, +0.046], but micro F1 −0.035 [−0.063, −0.005], and 5.2 words more.",
        ),
        Claim("The gain of the label judge is larger than what saying more findings gives.", None, "Not measured."),
    ]


def sample_report() -> ReportData:
    return ReportData(
        title="Three preference runs over the same candidates",
        run_name="sample",
        recipe_yaml=RECIPE,
        notes=[
            "This is a sample of the layout: every text was written by hand and every number is made up.",
            "All images are synthetic phantoms, drawn from the codes that describe the reports. A policy that reads "
            "them has learned to read phantoms: this shows the method and its wiring, not clinical skill.",
        ],
        synthetic=True,
        stages=stages(),
        estimates=estimates() + more_estimates(),
        policies=[*POLICIES, "sft_shuffled"],
        headline=headline(),
        curves=curves(),
        pair_sets=pair_sets(),
        cases=[case(i, sample) for i, sample in enumerate(CASES, start=1)],
        versions={"chexalign": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "chexpert judge": "1"},
        config_digest="0f3a9c1d2b7e4a55",
        generated="2026-01-15 10:00 UTC",
        seeds={"run": 11, "bootstrap": 11},
        more=more_numbers(),
        judges=LEARNED_FROM,
        labelers={"chexbert": "an uncertain label counts as positive; texts are cleaned before labeling"},
    )


RECIPE = """run: sample
seed: 11
data:
  source: openi-phantom
  split: {sft: 1600, prefer: 900, validation: 200, test: 581}
policy: {model: tiny, freeze: [vision]}
sample: {n: 4, temperature: 1.0, max_new_tokens: 96}
train: {algorithm: dpo, beta: 0.1, learning_rate: 2.0e-4, epochs: 1, global_batch: 16}
arms:
  dpo_label: {judge: chexpert, pairs: {rule: best_worst}}
  dpo_bertscore: {judge: bertscore, pairs: {rule: best_worst}}
  null_pairs: {judge: chexpert, pairs: {rule: coin_flip}}
evaluate: {metrics: [chexpert, bertscore, rouge_l, bleu_4], bootstrap: 1000, level: 0.90}
"""


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "report.html")
    data = sample_report()
    write_report(data, path)
    print(terminal_summary(data, path))


if __name__ == "__main__":
    main()
