"""The ORPO loss against closed forms."""

import math

import pytest
import torch

from chexalign.errors import UserError
from chexalign.losses.base import PairLogps
from chexalign.losses.orpo import ORPO, log_odds, orpo_loss


def pair(chosen, rejected, chosen_tokens, rejected_tokens):
    sums = [torch.tensor([x], dtype=torch.float32) for x in (chosen, rejected)]
    return PairLogps(*sums, None, None, torch.tensor([chosen_tokens]), torch.tensor([rejected_tokens]))


def test_loss_by_hand():
    # Mean probabilities 1/2 over 4 tokens and 1/4 over 2: odds 1 and 1/3, odds ratio 3, -ln sigma(ln 3) = ln(4/3).
    out = orpo_loss(pair(4 * math.log(1 / 2), 2 * math.log(1 / 4), 4, 2), lambda_=5)
    assert out.losses.item() == pytest.approx(math.log(2) + 5 * math.log(4 / 3), rel=1e-6)
    assert out.chosen_rewards.item() == pytest.approx(0, abs=1e-6)
    assert out.rejected_rewards.item() == pytest.approx(-math.log(3), rel=1e-6)


def test_equal_means_leave_ln_2_of_the_odds_ratio():
    out = orpo_loss(pair(-10, -20, 10, 20), lambda_=0.5)
    assert out.losses.item() == pytest.approx(1 + 0.5 * math.log(2))


def test_log_odds_are_exact_at_both_ends():
    x = torch.tensor([-1e-5, -0.001, -0.5, -1.0, -20.0, -300.0])
    exact = [v - math.log(-math.expm1(v)) for v in x.double().tolist()]
    assert log_odds(x).tolist() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("chosen", [0.0, -1e-9, -1e-4, -5000.0])
@pytest.mark.parametrize("rejected", [0.0, -1e-9, -1e-4, -5000.0])
def test_sure_and_hopeless_texts_have_finite_losses_and_gradients(chosen, rejected):
    sums = [torch.tensor([x], requires_grad=True) for x in (chosen, rejected)]
    count = torch.tensor([1])
    losses = orpo_loss(PairLogps(*sums, None, None, count, count), lambda_=1).losses
    losses.sum().backward()
    assert math.isfinite(losses.item())
    assert all(math.isfinite(x.grad.item()) for x in sums)


def test_nothing_is_asserted_of_step_0():
    assert math.isnan(ORPO(lambda_=1).at_step_0(pair(-1, -1, 1, 1)))


def test_what_it_needs_is_declared():
    assert (ORPO.reduction, ORPO.needs_ref, ORPO.needs_kl) == ("mean_logp", False, False)
    assert ORPO.required == ("lambda_",)


@pytest.mark.parametrize("lambda_", [0, -0.1, float("nan"), float("inf")])
def test_unfit_lambda_is_refused(lambda_):
    with pytest.raises(UserError, match="orpo: lambda is"):
        ORPO(lambda_=lambda_)
