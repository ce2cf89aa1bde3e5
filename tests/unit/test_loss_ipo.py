"""The IPO loss against closed forms."""

import pytest
import torch

from chexalign.errors import UserError
from chexalign.losses.base import PairLogps
from chexalign.losses.ipo import IPO, ipo_loss

TOKENS = torch.tensor([8]), torch.tensor([4])


def one(chosen, rejected, ref_chosen, ref_rejected):
    sums = [torch.tensor([x], dtype=torch.float32) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    return PairLogps(*sums, *TOKENS)


def test_mean_loss_by_hand():
    # Log-ratios +4 over 8 tokens and -2 over 4: 0.5 - (-0.5) = 1, with a target of 1 / (2 * 0.25) = 2.
    out = ipo_loss(one(-50, -60, -54, -58), tau=0.25)
    assert out.losses.item() == 1
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (0.125, -0.125)


def test_summed_loss_by_hand():
    # The same log-ratios as sums: 4 - (-2) = 6, with the same target 2.
    out = ipo_loss(one(-50, -60, -54, -58), tau=0.25, reduction="sum_logp")
    assert out.losses.item() == 16
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (1, -0.5)


@pytest.mark.parametrize("reduction", ["mean_logp", "sum_logp"])
def test_step_0_is_a_quarter_of_tau_to_the_minus_2(reduction):
    at_start, loss = one(-50, -60, -50, -60), IPO(tau=0.1, reduction=reduction)
    assert loss(at_start).losses.item() == pytest.approx(25)
    assert loss.at_step_0(at_start) == pytest.approx(25)


@pytest.mark.parametrize(("reduction", "divisors"), [("mean_logp", (8, 4)), ("sum_logp", (1, 1))])
def test_gradient_at_step_0(reduction, divisors):
    # d/dc (h - 1 / (2 tau))^2 at h = 0 is -1 / tau per unit of the reduced log-ratio.
    chosen, rejected = (torch.tensor([x], requires_grad=True) for x in (-50.0, -60.0))
    pairs = PairLogps(chosen, rejected, chosen.detach(), rejected.detach(), *TOKENS)
    ipo_loss(pairs, tau=0.5, reduction=reduction).losses.sum().backward()
    assert chosen.grad.item() == pytest.approx(-2 / divisors[0])
    assert rejected.grad.item() == pytest.approx(2 / divisors[1])


def test_a_margin_beyond_the_optimum_is_pulled_back():
    chosen, rejected = (torch.tensor([x], requires_grad=True) for x in (-10.0, -90.0))
    pairs = PairLogps(chosen, rejected, torch.tensor([-50.0]), torch.tensor([-60.0]), *TOKENS)
    ipo_loss(pairs, tau=0.5).losses.sum().backward()
    assert chosen.grad.item() > 0 > rejected.grad.item()


def test_what_it_needs_is_declared():
    assert (IPO.needs_ref, IPO.needs_kl, IPO.required) == (True, False, ("tau",))
    assert IPO(tau=1).reduction == "mean_logp"
    assert IPO(tau=1, reduction="sum_logp").reduction == "sum_logp"


@pytest.mark.parametrize("tau", [0, -0.1, float("nan"), float("inf")])
def test_unfit_tau_is_refused(tau):
    with pytest.raises(UserError, match="ipo: tau"):
        IPO(tau=tau)


def test_unknown_reduction_is_refused():
    with pytest.raises(UserError, match="sum_logp, mean_logp"):
        IPO(tau=0.1, reduction="mean")


def test_missing_reference_policy_is_refused():
    nothing = torch.tensor([-5.0])
    with pytest.raises(ValueError, match="needs ref_chosen"):
        ipo_loss(PairLogps(nothing, nothing, None, None, *TOKENS), tau=0.1)
