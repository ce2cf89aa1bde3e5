"""From questions to the mined set, with the tiny policy: what each step returns is what the next one takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign.data.answers import ask_text
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.evaluate.answers import answer
from chexalign.evaluate.calibration import Calibrator
from chexalign.evaluate.confidence import confidence, rank_failures
from chexalign.mine.expand import candidates, count_types, take
from chexalign.mine.purity import purity
from chexalign.mine.quotas import budget_of, quotas
from chexalign.mine.search.retrieve import search
from chexalign.mine.vectors.encoders import image_blocks, text_blocks
from chexalign.mine.vectors.features import Items, open_features, write_features
from chexalign.mine.vectors.findings import columns_of, findings_of, flag_blocks, flags_digest
from chexalign.mine.vectors.policy_encoder import PolicyEncoder
from chexalign.mine.vectors.variants import VARIANTS
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.batching import Batches
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.stats import Bootstrap
from chexalign.types import Evidence
from tests.unit.test_confidence import VERIFY

N = 40
FINDINGS = ("effusion", "edema", "nodule", "fracture")


def question(i):
    finding, there = FINDINGS[i % 4], bool(i % 3)
    return replace(
        VERIFY,
        id=f"q{i}",
        patient_id=f"p{i // 4}",
        kind=("basic", "region", "compare")[i % 3],
        text=f"Is there any sign of {finding}?",
        answers=("yes" if there else "no",),
        rationale=f"There is {'a' if there else 'no'} sign of {finding}.",
        evidence=(Evidence("label", finding, present=there),),
    )


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer([question(i).text + question(i).rationale for i in range(N)], vocabulary=320)
    model = build_model(tokenizer, seed=3)
    with torch.no_grad():
        for p in model.model.language_model.parameters():
            p.mul_(4.0 if p.ndim == 2 else 1.0)
    save_checkpoint(model, build_processor(tokenizer), folder)
    return HFPolicy(folder)


def test_from_questions_to_the_mined_set(policy, tmp_path):
    questions = [question(i) for i in range(N)]
    paths, rng = [], np.random.default_rng(1)
    for i in range(N // 4):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (128, 128), dtype=np.uint8)).save(paths[-1])
    images = [(paths[i // 4],) for i in range(N)]
    asks = [Ask(ask_text(q), own) for q, own in zip(questions, images, strict=True)]
    written = Batches(policy, 16).generate(asks, decoding=Decoding(6, token_logps=True), seeds=[[0]] * N)
    answers = [answer(q, "tiny", 0, one) for q, group in zip(questions, written, strict=True) for one in group or ()]
    assert [a.question_id for a in answers] == [q.id for q in questions]

    sure = [confidence(a, aggregate="geometric_mean", span="output") for a in answers]
    assert all(0 < value <= 1 for value in sure)
    calibrator = Calibrator(Bootstrap([q.patient_id for q in questions], seed=1), "tiny", "train")
    assert calibrator.calibrate("all", sure, [a.right is True for a in answers]).ece.n == N
    ranking = rank_failures(answers, "most_confident_wrong", aggregate="geometric_mean", span="output")
    assert [sure[i] for i in ranking.order] == sorted((sure[i] for i in ranking.order), reverse=True)

    encoder, items = (
        PolicyEncoder(policy),
        Items(tuple(q.id for q in questions), tuple(q.patient_id for q in questions)),
    )
    found = [findings_of(q) for q in questions]
    columns, folder = columns_of(found), tmp_path / "features"
    made = {
        "question": text_blocks(encoder, [q.text for q in questions]),
        "rationale": text_blocks(encoder, [q.rationale for q in questions]),
        "image": image_blocks(encoder, images),
    }
    for name, blocks in made.items():
        write_features(folder, name, blocks, items=items, model=encoder.digest)
    digest = flags_digest(columns)
    write_features(folder, "findings", flag_blocks(found, columns), items=items, model=digest, kind="flags")
    gallery = open_features(folder, items, models={**dict.fromkeys(made, encoder.digest), "findings": digest})

    rows = [i for i in ranking.order if questions[i].patient_id not in ("p0", "p1")][:6]
    failed = [a.right is not True for a in answers]
    for variant in VARIANTS:
        near = search(gallery.take(rows), gallery, variant, k=8, evaluated={"p0", "p1"}, threads=1)
        pure = purity(
            near,
            failed,
            variant=variant,
            patients=[items.patients[i] for i in rows],
            policy="tiny",
            split="train",
            seed=1,
        )
        assert len(pure.curve) == 8
        assert pure.base_rate == np.mean(failed)
        assert all(estimate.value is not None for estimate in pure.curve)
    mined = candidates(rows, near, order="rank")
    kinds = [q.kind for q in questions]
    budget = budget_of(N, share=0.2)
    quota = quotas(
        "equal",
        budget,
        available=count_types(mined, kinds),
        failed=Counter(kind for kind, wrong in zip(kinds, failed, strict=True) if wrong),
        data=Counter(kinds),
    )
    chosen = take(mined, kinds, quota.given)
    assert len(chosen) == budget == 8
    assert Counter(kinds[item.row] for item in chosen) == Counter(quota.given) - Counter()
    assert not {items.patients[item.row] for item in chosen} & {"p0", "p1"}
