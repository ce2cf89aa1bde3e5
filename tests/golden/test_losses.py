"""The losses against TRL's own code on the same log-probs; bench/golden_losses.py wrote the numbers."""

import json
from pathlib import Path

import pytest
import torch

from chexalign.losses.base import PairLogps, VerdictLogps
from chexalign.losses.dpo import dpo_loss
from chexalign.losses.ipo import ipo_loss
from chexalign.losses.kto import kto_loss, kto_verdict_loss
from chexalign.losses.orpo import orpo_loss

GOLDEN = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "losses").glob("*.json")}
DPO = {(c["loss_type"], c["beta"], c["label_smoothing"]): c for c in GOLDEN["dpo"]["cases"]}
BETAS = sorted({beta for _, beta, _ in DPO})
SMOOTHINGS = sorted({smoothing for _, _, smoothing in DPO if smoothing})
CLOSE = {"rtol": 1e-6, "atol": 1e-7}
NAMES = ("losses", "chosen_gradients", "rejected_gradients")


def tensors(values):
    return {name: torch.tensor(column) for name, column in values.items()}


def ours(loss, inputs, *, exchanged=False, **settings):
    """Losses and gradients of pairs; ten tokens each, unless the inputs say."""
    columns = tensors(inputs)
    if exchanged:
        chosen, rejected, ref_chosen, ref_rejected = columns.values()
        columns = dict(zip(columns, (rejected, chosen, ref_rejected, ref_chosen), strict=True))
    chosen, rejected = (columns[k].requires_grad_() for k in ("chosen", "rejected"))
    tokens = torch.full(chosen.shape, 10)
    missing = {"ref_chosen": None, "ref_rejected": None, "chosen_tokens": tokens, "rejected_tokens": tokens}
    out = loss(PairLogps(**missing | columns), **settings)
    out.losses.sum().backward()
    return out.losses.detach(), chosen.grad, rejected.grad


def theirs(case):
    return tuple(torch.tensor(case[name]) for name in NAMES)


def assert_equal(mine, peer, **close):
    for one, other in zip(mine, peer, strict=True):
        torch.testing.assert_close(one, other, **close or CLOSE)


@pytest.mark.parametrize("beta", BETAS)
def test_dpo_equals_trl(beta):
    assert_equal(ours(dpo_loss, GOLDEN["dpo"]["inputs"], beta=beta), theirs(DPO["sigmoid", beta, 0.0]))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("label_smoothing", SMOOTHINGS)
def test_smoothing_is_conservative_where_trl_is_robust(beta, label_smoothing):
    inputs = GOLDEN["dpo"]["inputs"]
    conservative, *_ = ours(dpo_loss, inputs, beta=beta, label_smoothing=label_smoothing)
    robust, *_ = theirs(DPO["robust", beta, label_smoothing])
    kept, swapped = ours(dpo_loss, inputs, beta=beta)[0], ours(dpo_loss, inputs, beta=beta, exchanged=True)[0]
    assert not torch.allclose(conservative, robust)
    flipped = label_smoothing * swapped
    torch.testing.assert_close(conservative, (1 - label_smoothing) * kept + flipped, **CLOSE)
    unbiased = (conservative - 2 * flipped) / (1 - 2 * label_smoothing)  # the sign of one term and a scale apart
    torch.testing.assert_close(unbiased, robust, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", GOLDEN["ipo"]["cases"], ids=lambda case: f"tau {case['beta']}")
def test_ipo_averaged_over_tokens_equals_trl_and_the_sum_does_not(case):
    inputs = GOLDEN["ipo"]["inputs"]
    assert_equal(ours(ipo_loss, inputs, tau=case["beta"]), theirs(case))
    summed, *_ = ours(ipo_loss, inputs, tau=case["beta"], reduction="sum_logp")
    assert not torch.allclose(summed, theirs(case)[0])


def kto_inputs(case):
    inputs = dict(GOLDEN["kto"]["inputs"])
    return inputs | inputs.pop("mismatched")[case["mismatched"]]


def kto_id(case):
    return f"{case['mismatched']}, beta {case['beta']}, lambda_r {case['lambda_r']}"


@pytest.mark.parametrize("case", GOLDEN["kto"]["cases"], ids=kto_id)
def test_kto_rows_equal_trl(case):
    inputs = tensors(kto_inputs(case))
    logps = torch.cat([inputs["chosen"], inputs["rejected"]]).requires_grad_()
    ref_logps = torch.cat([inputs["ref_chosen"], inputs["ref_rejected"]])
    ones, desirable = torch.ones_like(ref_logps), torch.arange(len(ref_logps)) < len(inputs["chosen"])
    rows = VerdictLogps(logps, ref_logps, ones, desirable, ones, inputs["kl"], inputs["ref_kl"])
    out = kto_verdict_loss(rows, **{name: case[name] for name in ("beta", "lambda_c", "lambda_r")})
    out.losses.sum().backward()
    for mine, name in ((out.losses.detach(), "losses"), (logps.grad, "gradients")):
        peer = torch.tensor(case[f"chosen_{name}"] + case[f"rejected_{name}"])
        torch.testing.assert_close(mine, peer, rtol=1e-5, atol=1e-7)  # 1 - sigma(x) there, sigma(-x) here


@pytest.mark.parametrize("case", GOLDEN["kto"]["cases"], ids=kto_id)
def test_a_kto_pair_is_the_mean_of_trls_two_rows(case):
    settings = {name: case[name] for name in ("beta", "lambda_c", "lambda_r")}
    losses, chosen, rejected = ours(kto_loss, kto_inputs(case), **settings)
    pairs = (torch.tensor(case["chosen_losses"]) + torch.tensor(case["rejected_losses"])) / 2
    _, peer_chosen, peer_rejected = theirs(case | {"losses": []})
    assert_equal((losses, 2 * chosen, 2 * rejected), (pairs, peer_chosen, peer_rejected), rtol=1e-5, atol=1e-7)


def test_the_kl_of_the_golden_batches_is_what_their_names_say():
    batches = GOLDEN["kto"]["inputs"]["mismatched"].items()
    moved = {name: (torch.tensor(b["kl"]) - torch.tensor(b["ref_kl"])).mean().item() for name, b in batches}
    assert moved == {"moved": 2.0, "at step 0": 0.0, "clamped": -5.25}


@pytest.mark.parametrize("case", GOLDEN["orpo"]["cases"], ids=lambda case: f"lambda {case['lambda']}")
def test_orpos_odds_ratio_term_equals_trl(case):
    mean_logps = GOLDEN["orpo"]["inputs"]
    sums = {name: [10 * x for x in column] for name, column in mean_logps.items()}
    losses, chosen, rejected = ours(orpo_loss, sums, lambda_=case["lambda"])
    likelihood = -torch.tensor(mean_logps["chosen"])  # over the completion alone, with gradient -1
    mine = (losses - likelihood, 10 * chosen + 1, 10 * rejected)
    assert_equal(mine, theirs(case), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_peer_is_named(name):
    assert GOLDEN[name]["peer"]["trl"] == "1.16.0"
    assert GOLDEN[name]["script"] == "bench/golden_losses.py"
