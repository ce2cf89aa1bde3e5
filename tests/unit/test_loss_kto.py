"""The KTO losses, of pairs and of unpaired rows, against closed forms."""

import math

import pytest
import torch

from chexalign.errors import UserError
from chexalign.losses.base import PairLogps, VerdictLogps, VerdictLoss
from chexalign.losses.dpo import DPO
from chexalign.losses.kto import KTO, kl_estimate, kto_loss, kto_verdict_loss

COUNT = torch.tensor([10])


def sigma(x):
    return 1 / (1 + math.exp(-x))


def nats(*values):
    return torch.tensor(values, dtype=torch.float32)


def pair(kl, ref_kl):
    # Log-ratios +4 and -2.
    return PairLogps(nats(-50), nats(-60), nats(-54), nats(-58), COUNT, COUNT, nats(*kl), nats(*ref_kl))


def rows(weights=(1.0, 1.0, 1.0), *, kl=(-80.0,), ref_kl=(-82.0,)):
    # Log-ratios +4, -2 and 0; the second is undesirable.
    desirable = torch.tensor([True, False, True])
    sums = nats(-50, -60, -5), nats(-54, -58, -5)
    return VerdictLogps(*sums, torch.tensor([10, 12, 2]), desirable, nats(*weights), nats(*kl), nats(*ref_kl))


def test_pair_by_hand():
    # z = (4 + 0) / 2 = 2 nats, beta 0.5: 1 - sigma(0.5 * (4 - 2)) and 1 - sigma(0.5 * (2 - -2)).
    out = kto_loss(pair([-80, -70], [-84, -70]), beta=0.5)
    assert out.losses.item() == pytest.approx((1 - sigma(1) + 1 - sigma(2)) / 2)
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (2, -1)


def test_rows_by_hand():
    # z = 2 nats, beta 0.5; lambdas 1 and 3, weights 1, 0.5 and 2.
    out = kto_verdict_loss(rows((1.0, 0.5, 2.0)), beta=0.5, lambda_r=3)
    by_hand = [1 - sigma(1), 0.5 * 3 * (1 - sigma(2)), 2 * (1 - sigma(-1))]
    assert out.losses.tolist() == pytest.approx(by_hand, rel=1e-6)
    assert out.rewards.tolist() == [2, -1, 0]


def test_the_kl_estimate_is_a_mean_and_never_negative():
    assert kl_estimate(pair([-80, -70], [-84, -70])).item() == 2
    assert kl_estimate(pair([-80, -70], [-70, -70])).item() == 0


def test_the_kl_estimate_carries_no_gradient():
    kl = nats(-80).requires_grad_()
    assert not kl_estimate(PairLogps(nats(-5), nats(-5), None, None, COUNT, COUNT, kl, nats(-90))).requires_grad


def test_step_0_of_pairs_is_half():
    at_start = PairLogps(nats(-50), nats(-60), nats(-50), nats(-60), COUNT, COUNT, nats(-80, -9), nats(-80, -9))
    for loss, value in ((KTO(beta=0.1), 0.5), (KTO(beta=0.1, lambda_c=1, lambda_r=3), 1.0)):
        assert loss(at_start).losses.item() == pytest.approx(value)
        assert loss.at_step_0(at_start) == value


def test_step_0_of_rows_is_half_of_their_weights():
    desirable, weights = torch.tensor([True, False]), nats(1, 0.5)
    sums = nats(-50, -60)
    at_start = VerdictLogps(sums, sums, torch.tensor([10, 12]), desirable, weights, sums, sums)
    loss = KTO(beta=0.1, lambda_c=2, lambda_r=3)
    assert loss.verdicts(at_start).losses.tolist() == [1.0, 0.75]
    assert loss.verdicts_at_step_0(at_start) == 0.875


def test_gradients_at_step_0():
    # d/dc (1 - sigma(beta (c - rc))) is -beta / 4 there, and a pair is the mean of two.
    chosen, rejected = nats(-50).requires_grad_(), nats(-60).requires_grad_()
    pairs = PairLogps(chosen, rejected, chosen.detach(), rejected.detach(), COUNT, COUNT, nats(-9), nats(-9))
    kto_loss(pairs, beta=0.1, lambda_r=2).losses.sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.1 / 8)
    assert rejected.grad.item() == pytest.approx(2 * 0.1 / 8)


def test_it_alone_takes_unpaired_rows():
    assert isinstance(KTO(beta=0.1), VerdictLoss)
    assert not isinstance(DPO(beta=0.1), VerdictLoss)


def test_what_it_needs_is_declared():
    assert (KTO.reduction, KTO.needs_ref, KTO.needs_kl, KTO.required) == ("sum_logp", True, True, ("beta",))


@pytest.mark.parametrize("name", ["beta", "lambda_c", "lambda_r"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_unfit_parameters_are_refused(name, value):
    with pytest.raises(UserError, match=f"kto: {name} is"):
        KTO(**{"beta": 0.1, name: value})


def test_missing_log_probs_are_refused():
    with pytest.raises(ValueError, match="needs ref_chosen"):
        kto_loss(PairLogps(nats(-5), nats(-5), None, None, COUNT, COUNT), beta=0.1)
    with pytest.raises(ValueError, match="needs kl"):
        kto_loss(PairLogps(nats(-5), nats(-5), nats(-5), nats(-5), COUNT, COUNT), beta=0.1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ref_kl": None}, "kl and ref_kl come together"),
        ({"kl": nats(), "ref_kl": nats()}, "kl is empty"),
        ({"kl": nats(-5, -5)}, r"ref_kl has shape \(1,\)"),
        ({"kl": nats(-5).bfloat16()}, r"kl is torch\.bfloat16"),
        ({"desirable": nats(1)}, r"desirable is torch\.float32"),
        ({"weights": torch.tensor([1])}, r"weights is torch\.int64"),
        ({"tokens": torch.tensor([1, 2])}, r"tokens has shape \(2,\)"),
    ],
)
def test_unfit_rows_are_refused(change, named):
    row = {"logps": nats(-5), "ref_logps": nats(-5), "tokens": COUNT, "desirable": torch.tensor([True])}
    with pytest.raises(ValueError, match=named):
        VerdictLogps(**(row | {"weights": nats(1), "kl": nats(-5), "ref_kl": nats(-5)} | change))
