"""The DPO loss against closed forms."""

import math

import pytest
import torch

from chexalign.errors import UserError
from chexalign.losses.base import PairLogps
from chexalign.losses.dpo import DPO, dpo_loss


def logps(chosen, rejected, ref_chosen, ref_rejected, tokens=10):
    sums = [torch.tensor(x, dtype=torch.float32) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    counts = torch.full((len(chosen),), tokens)
    return PairLogps(*sums, chosen_tokens=counts, rejected_tokens=counts)


def test_loss_by_hand():
    # Log-ratios +4 and -2, beta 0.5: margin 3, loss ln(1 + e^-3).
    out = dpo_loss(logps([-50.0], [-60.0], [-54.0], [-58.0]), beta=0.5)
    assert out.losses.item() == pytest.approx(math.log1p(math.exp(-3)))
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (2, -1)


def test_smoothed_loss_by_hand():
    # The same margin 3, wrong way round with chance 0.2: 0.8 ln(1 + e^-3) + 0.2 ln(1 + e^3).
    out = dpo_loss(logps([-50.0], [-60.0], [-54.0], [-58.0]), beta=0.5, label_smoothing=0.2)
    assert out.losses.item() == pytest.approx(0.8 * math.log1p(math.exp(-3)) + 0.2 * math.log1p(math.exp(3)))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_step_0_is_ln_2(label_smoothing):
    at_start = logps([-50.0, -7.0], [-60.0, -900.0], [-50.0, -7.0], [-60.0, -900.0])
    loss = DPO(beta=0.1, label_smoothing=label_smoothing)
    assert loss(at_start).losses.tolist() == pytest.approx([math.log(2)] * 2)
    assert loss.at_step_0(at_start) == math.log(2)


def test_gradient_at_step_0_is_half_beta():
    chosen, rejected = (torch.tensor([-50.0, -60.0], requires_grad=True) for _ in range(2))
    tokens = torch.tensor([10, 10])
    out = dpo_loss(PairLogps(chosen, rejected, chosen.detach(), rejected.detach(), tokens, tokens), beta=0.1)
    out.losses.sum().backward()
    assert chosen.grad.tolist() == pytest.approx([-0.05, -0.05])
    assert rejected.grad.tolist() == pytest.approx([0.05, 0.05])


def test_rewards_carry_no_gradient():
    chosen = torch.tensor([-50.0], requires_grad=True)
    one = torch.tensor([-50.0])
    out = dpo_loss(PairLogps(chosen, one, one, one, torch.tensor([3]), torch.tensor([3])), beta=0.1)
    assert out.losses.requires_grad
    assert not out.chosen_rewards.requires_grad


def test_far_margins_stay_finite():
    out = dpo_loss(logps([-1.0, -9000.0], [-9000.0, -1.0], [-5.0, -5.0], [-5.0, -5.0]), beta=0.5)
    assert out.losses.tolist() == pytest.approx([0, 4499.5])


def test_what_it_needs_is_declared():
    assert (DPO.reduction, DPO.needs_ref, DPO.required) == ("sum_logp", True, ("beta",))


@pytest.mark.parametrize("beta", [0, -0.1, float("nan"), float("inf")])
def test_unfit_beta_is_refused(beta):
    with pytest.raises(UserError, match="beta"):
        DPO(beta=beta)


@pytest.mark.parametrize("label_smoothing", [-0.1, 0.5, float("nan")])
def test_unfit_smoothing_is_refused(label_smoothing):
    with pytest.raises(UserError, match="label_smoothing"):
        DPO(beta=0.1, label_smoothing=label_smoothing)


def test_missing_reference_policy_is_refused():
    one, count = torch.tensor([-5.0]), torch.tensor([3])
    with pytest.raises(ValueError, match="needs ref_chosen"):
        dpo_loss(PairLogps(one, one, None, None, count, count), beta=0.1)
    with pytest.raises(ValueError, match="come together"):
        PairLogps(one, one, one, None, count, count)


def test_low_precision_and_unequal_shapes_are_refused():
    one, count = torch.tensor([-5.0]), torch.tensor([3])
    with pytest.raises(ValueError, match=r"rejected is torch\.bfloat16"):
        PairLogps(one, one.bfloat16(), None, None, count, count)
    with pytest.raises(ValueError, match=r"must be \[B\]"):
        PairLogps(one, one, None, None, count, torch.tensor([3, 3]))
    with pytest.raises(ValueError, match=r"must be \[B\]"):
        PairLogps(one[:, None], one[:, None], None, None, count[:, None], count[:, None])
