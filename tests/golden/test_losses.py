"""The losses against TRL's own code on the same log-probs; bench/golden_losses.py wrote the numbers."""

import json
from pathlib import Path

import pytest
import torch

from chexalign.losses.base import PairLogps
from chexalign.losses.dpo import dpo_loss

GOLDEN = json.loads((Path(__file__).parent / "losses" / "dpo.json").read_text())
CASES = {(c["loss_type"], c["beta"], c["label_smoothing"]): c for c in GOLDEN["cases"]}
BETAS = sorted({beta for _, beta, _ in CASES})
SMOOTHINGS = sorted({smoothing for _, _, smoothing in CASES if smoothing})
CLOSE = {"rtol": 1e-6, "atol": 1e-7}


def ours(beta, label_smoothing=0.0, *, exchanged=False):
    columns = {name: torch.tensor(values) for name, values in GOLDEN["inputs"].items()}
    if exchanged:
        chosen, rejected, ref_chosen, ref_rejected = columns.values()
        columns = dict(zip(columns, (rejected, chosen, ref_rejected, ref_chosen), strict=True))
    chosen, rejected = (columns[k].requires_grad_() for k in ("chosen", "rejected"))
    tokens = torch.full(chosen.shape, 10)
    pairs = PairLogps(chosen, rejected, columns["ref_chosen"], columns["ref_rejected"], tokens, tokens)
    out = dpo_loss(pairs, beta=beta, label_smoothing=label_smoothing)
    out.losses.sum().backward()
    return out.losses.detach(), chosen.grad, rejected.grad


def theirs(loss_type, beta, label_smoothing=0.0):
    case = CASES[loss_type, beta, label_smoothing]
    return tuple(torch.tensor(case[k]) for k in ("losses", "chosen_gradients", "rejected_gradients"))


@pytest.mark.parametrize("beta", BETAS)
def test_losses_and_gradients_equal_trl(beta):
    for mine, peer in zip(ours(beta), theirs("sigmoid", beta), strict=True):
        torch.testing.assert_close(mine, peer, **CLOSE)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("label_smoothing", SMOOTHINGS)
def test_smoothing_is_conservative_where_trl_is_robust(beta, label_smoothing):
    conservative, *_ = ours(beta, label_smoothing)
    robust, *_ = theirs("robust", beta, label_smoothing)
    kept, swapped = ours(beta)[0], ours(beta, exchanged=True)[0]
    assert not torch.allclose(conservative, robust)
    flipped = label_smoothing * swapped
    torch.testing.assert_close(conservative, (1 - label_smoothing) * kept + flipped, **CLOSE)
    unbiased = (conservative - 2 * flipped) / (1 - 2 * label_smoothing)  # the sign of one term and a scale apart
    torch.testing.assert_close(unbiased, robust, rtol=1e-5, atol=1e-5)


def test_the_peer_is_named():
    assert GOLDEN["peer"]["trl"] == "1.16.0"
    assert GOLDEN["script"] == "bench/golden_losses.py"
