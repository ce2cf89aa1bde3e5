"""What must hold of the DPO loss for all log-probs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chexalign.losses.base import PairLogps
from chexalign.losses.dpo import dpo_loss

nats = st.floats(-500, -0.125, width=32)
betas = st.floats(0.01, 1)


def one(chosen, rejected, ref_chosen, ref_rejected, tokens=(5, 9)):
    sums = [torch.tensor([x], dtype=torch.float32) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    return PairLogps(*sums, *(torch.tensor([t]) for t in tokens))


@given(nats, nats, nats, nats, betas, st.floats(0.1, 100))
def test_loss_falls_as_chosen_rises_and_as_rejected_falls(c, r, rc, rr, beta, step):
    before = dpo_loss(one(c, r, rc, rr), beta=beta).losses.item()
    assert dpo_loss(one(c + step, r, rc, rr), beta=beta).losses.item() <= before
    assert dpo_loss(one(c, r - step, rc, rr), beta=beta).losses.item() <= before


@given(nats, nats, nats, nats, betas)
def test_exchanging_chosen_and_rejected_flips_the_margin(c, r, rc, rr, beta):
    out, swapped = dpo_loss(one(c, r, rc, rr), beta=beta), dpo_loss(one(r, c, rr, rc), beta=beta)
    margin = (out.chosen_rewards - out.rejected_rewards).item()
    assert (swapped.chosen_rewards - swapped.rejected_rewards).item() == -margin
    # -log sigma(m) and -log sigma(-m) differ by m
    assert (swapped.losses - out.losses).item() == pytest.approx(margin, abs=1e-3)


@given(nats, nats, nats, nats, betas, st.floats(0, 0.49))
def test_gradients_are_opposite_and_point_the_right_way(c, r, rc, rr, beta, smoothing):
    chosen, rejected = (torch.tensor([x], requires_grad=True) for x in (c, r))
    ref = [torch.tensor([x]) for x in (rc, rr)]
    count = torch.tensor([5])
    out = dpo_loss(PairLogps(chosen, rejected, *ref, count, count), beta=beta, label_smoothing=smoothing)
    out.losses.sum().backward()
    margin = (out.chosen_rewards - out.rejected_rewards).double()
    expected = -beta * ((1 - smoothing) * torch.sigmoid(-margin) - smoothing * torch.sigmoid(margin)).item()
    assert chosen.grad.item() == pytest.approx(expected, abs=1e-5)
    assert rejected.grad.item() == -chosen.grad.item()
    assert smoothing > 0 or chosen.grad.item() <= 0


@given(nats, nats, nats, nats, betas, st.integers(1, 500), st.integers(1, 500))
def test_token_counts_play_no_part(c, r, rc, rr, beta, n, m):
    assert dpo_loss(one(c, r, rc, rr, (n, m)), beta=beta).losses == dpo_loss(one(c, r, rc, rr), beta=beta).losses


@given(nats, nats, nats, nats, betas)
def test_smoothing_never_lets_the_loss_reach_zero(c, r, rc, rr, beta):
    smoothed = dpo_loss(one(c, r, rc, rr), beta=beta, label_smoothing=0.1).losses.item()
    assert smoothed >= 0.325  # the entropy of a 0.1 coin, 0.3251 nats
