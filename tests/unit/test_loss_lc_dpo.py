"""The LC-DPO loss against values derived by hand.

With d = |y_c| - |y_r| tokens, L = -ln sigma(beta * ((c - rc) - (r - rr)) + alpha * d) = ln(1 + exp(-margin)).
Why the sign: the policy that maximizes E[r - alpha |y|] - beta KL is pi = ref exp((r - alpha |y|) / beta) / Z, so
r_c - r_r = beta * (difference of log-ratios) + alpha * d, and Bradley-Terry says P(chosen wins) = sigma(r_c - r_r).
"""

import math

import pytest
import torch

from chexalign.errors import UserError
from chexalign.losses.base import PairLogps
from chexalign.losses.dpo import dpo_loss
from chexalign.losses.lc_dpo import LCDPO, lc_dpo_loss


def logps(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens):
    sums = [torch.tensor(x, dtype=torch.float32) for x in (chosen, rejected, ref_chosen, ref_rejected)]
    return PairLogps(*sums, torch.tensor(chosen_tokens), torch.tensor(rejected_tokens))


def one(chosen_tokens, rejected_tokens):
    # Log-ratios +4 and -2, so that beta 0.5 gives a DPO margin of 3.
    return logps([-50.0], [-60.0], [-54.0], [-58.0], [chosen_tokens], [rejected_tokens])


@pytest.mark.parametrize(
    ("tokens", "margin"),
    [((30, 10), 3.2), ((10, 30), 2.8), ((20, 20), 3.0)],  # alpha 0.01 per token of difference
)
def test_loss_by_hand(tokens, margin):
    out = lc_dpo_loss(one(*tokens), beta=0.5, alpha=0.01)
    assert out.losses.item() == pytest.approx(math.log1p(math.exp(-margin)), rel=1e-6)
    assert (out.chosen_rewards - out.rejected_rewards).item() == pytest.approx(margin, rel=1e-6)


def test_smoothed_loss_by_hand():
    # Exchanging the pair flips the length too: margin 3.2 becomes -3.2. Keeping the sign of the length, as the trainer
    # published with CheXalign does, would make it -2.8.
    out = lc_dpo_loss(one(30, 10), beta=0.5, alpha=0.01, label_smoothing=0.2)
    by_hand = 0.8 * math.log1p(math.exp(-3.2)) + 0.2 * math.log1p(math.exp(3.2))
    assert out.losses.item() == pytest.approx(by_hand, rel=1e-6)
    unflipped = 0.8 * math.log1p(math.exp(-3.2)) + 0.2 * math.log1p(math.exp(2.8))
    assert out.losses.item() != pytest.approx(unflipped, rel=0.01)


def test_the_optimum_of_a_penalized_reward_prefers_brevity():
    # A judge prefers chosen, 20 tokens longer, 7 times of 10: 0.7 L(pair) + 0.3 L(exchanged) is least where
    # beta * D + alpha * 20 = ln(7/3), at a log-ratio margin D of 6.473 nats; without the length it is 8.473.
    margin = torch.tensor([(math.log(7 / 3) - 0.2) / 0.1], dtype=torch.float64, requires_grad=True)
    nothing, many, few = torch.zeros(1, dtype=torch.float64), torch.tensor([40]), torch.tensor([20])
    pair = PairLogps(margin, nothing, nothing, nothing, many, few)
    exchanged = PairLogps(nothing, margin, nothing, nothing, few, many)
    seven, three = (lc_dpo_loss(p, beta=0.1, alpha=0.01).losses.sum() for p in (pair, exchanged))
    (0.7 * seven + 0.3 * three).backward()
    assert margin.item() == pytest.approx(6.473, abs=1e-3)
    assert margin.grad.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_step_0_is_the_mean_softplus_of_the_lengths(label_smoothing):
    at_start = logps([-50.0, -7.0], [-60.0, -900.0], [-50.0, -7.0], [-60.0, -900.0], [30, 10], [10, 50])
    loss = LCDPO(beta=0.1, alpha=0.01, label_smoothing=label_smoothing)
    # d = +20 and -40: margins 0.2 and -0.4.
    kept = (math.log1p(math.exp(-0.2)) + math.log1p(math.exp(0.4))) / 2
    swapped = (math.log1p(math.exp(0.2)) + math.log1p(math.exp(-0.4))) / 2
    by_hand = (1 - label_smoothing) * kept + label_smoothing * swapped
    assert loss(at_start).losses.mean().item() == pytest.approx(by_hand, rel=1e-6)
    assert loss.at_step_0(at_start) == pytest.approx(by_hand, rel=1e-6)


def test_gradient_at_step_0_shrinks_with_the_length_of_chosen():
    # -beta sigma(-alpha d): d = +20 gives -0.1 sigma(-0.2) = -0.0450166, d = -20 gives -0.1 sigma(0.2) = -0.0549834.
    chosen, rejected = (torch.tensor([-50.0, -60.0], requires_grad=True) for _ in range(2))
    tokens = torch.tensor([30, 10])
    pairs = PairLogps(chosen, rejected, chosen.detach(), rejected.detach(), tokens, tokens.flip(0))
    lc_dpo_loss(pairs, beta=0.1, alpha=0.01).losses.sum().backward()
    assert chosen.grad.tolist() == pytest.approx([-0.0450166, -0.0549834], abs=1e-7)
    assert rejected.grad.tolist() == pytest.approx([0.0450166, 0.0549834], abs=1e-7)


def test_equal_lengths_make_it_dpo():
    pairs = logps([-50.0, -7.0], [-60.0, -90.0], [-54.0, -8.0], [-58.0, -80.0], [20, 9], [20, 9])
    assert lc_dpo_loss(pairs, beta=0.5, alpha=0.05).losses.tolist() == dpo_loss(pairs, beta=0.5).losses.tolist()


def test_what_it_needs_is_declared():
    assert (LCDPO.reduction, LCDPO.needs_ref, LCDPO.needs_kl) == ("sum_logp", True, False)
    assert LCDPO.required == ("beta", "alpha")


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"beta": 0, "alpha": 0.01}, "beta is 0"),
        ({"beta": 0.1, "alpha": -0.01}, "alpha is -0.01"),
        ({"beta": 0.1, "alpha": float("nan")}, "alpha is nan"),
        ({"beta": 0.1, "alpha": 0.01, "label_smoothing": 0.5}, r"label_smoothing is 0\.5"),
    ],
)
def test_unfit_parameters_are_refused(parameters, named):
    with pytest.raises(UserError, match=f"lc_dpo: {named}"):
        LCDPO(**parameters)


def test_missing_reference_policy_is_refused():
    nothing, count = torch.tensor([-5.0]), torch.tensor([3])
    with pytest.raises(ValueError, match="needs ref_chosen"):
        lc_dpo_loss(PairLogps(nothing, nothing, None, None, count, count), beta=0.1, alpha=0.01)
