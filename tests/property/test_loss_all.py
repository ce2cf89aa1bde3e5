"""What must hold of every loss for all log-probs: gradients, step 0, rewards, order and repetition of the pairs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chexalign.losses.base import PairLogps, VerdictLogps
from chexalign.losses.dpo import DPO
from chexalign.losses.ipo import IPO
from chexalign.losses.kto import KTO
from chexalign.losses.lc_dpo import LCDPO
from chexalign.losses.orpo import ORPO
from chexalign.losses.sft_term import with_sft_term

LOSSES = {
    "dpo": DPO(beta=0.1),
    "dpo, smoothed": DPO(beta=0.3, label_smoothing=0.2),
    "lc_dpo": LCDPO(beta=0.1, alpha=0.01),
    "lc_dpo, smoothed": LCDPO(beta=0.1, alpha=0.05, label_smoothing=0.2),
    "ipo, mean": IPO(tau=0.5),
    "ipo, sum": IPO(tau=0.5, reduction="sum_logp"),
    "kto": KTO(beta=0.1),
    "kto, weighed": KTO(beta=0.05, lambda_c=1.5, lambda_r=0.5),
    "orpo": ORPO(lambda_=0.7),
    "dpo with SFT": with_sft_term(DPO(beta=0.1), 0.3),
    "kto with SFT": with_sft_term(KTO(beta=0.1), 0.3),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)

tokens = st.integers(1, 300)
per_token = st.floats(-8, -0.01)
moved = st.floats(-40, 40)
RAW = st.tuples(tokens, per_token, moved, tokens, per_token, moved)


@st.composite
def batches(draw, *, at_start=False):
    rows = draw(st.lists(RAW, min_size=1, max_size=5))
    columns = [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]
    chosen_tokens, chosen_mean, chosen_moved, rejected_tokens, rejected_mean, rejected_moved = columns
    chosen, rejected = chosen_mean * chosen_tokens, rejected_mean * rejected_tokens
    kl = torch.tensor(draw(st.lists(per_token, min_size=1, max_size=4)), dtype=torch.float64) * 50
    shift = 0 if at_start else draw(moved)
    if at_start:
        chosen_moved = rejected_moved = torch.zeros_like(chosen)
    counts = chosen_tokens.long(), rejected_tokens.long()
    return PairLogps(chosen, rejected, chosen - chosen_moved, rejected - rejected_moved, *counts, kl, kl - shift)


def change(pairs, **columns):
    return PairLogps(**{name: getattr(pairs, name) for name in PairLogps.__slots__} | columns)


def gradients(loss, pairs):
    chosen, rejected = pairs.chosen.clone().requires_grad_(), pairs.rejected.clone().requires_grad_()
    loss(change(pairs, chosen=chosen, rejected=rejected)).losses.sum().backward()
    return chosen.grad, rejected.grad


@every_loss
@given(pairs=batches())
def test_gradients_equal_finite_differences(loss, pairs):
    step = 1e-4
    for name, gradient in zip(("chosen", "rejected"), gradients(loss, pairs), strict=True):
        up, down = (loss(change(pairs, **{name: getattr(pairs, name) + s})).losses for s in (step, -step))
        torch.testing.assert_close(gradient, (up - down) / (2 * step), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["dpo", "lc_dpo", "kto", "kto, weighed", "orpo", "dpo with SFT", "kto with SFT"])
@given(pairs=batches())
def test_chosen_is_pushed_up_and_rejected_down(name, pairs):
    chosen, rejected = gradients(LOSSES[name], pairs)
    assert (chosen <= 0).all()
    assert (rejected >= 0).all()


@every_loss
@given(pairs=batches(at_start=True))
def test_the_first_loss_is_the_one_announced(loss, pairs):
    value = loss.at_step_0(pairs)
    if loss.needs_ref:
        assert loss(pairs).losses.mean().item() == pytest.approx(value, rel=1e-9)
        in_float32 = change(pairs, **{n: getattr(pairs, n).float() for n in PairLogps.__slots__ if "tok" not in n})
        assert loss(in_float32).losses.mean().item() == pytest.approx(value, rel=1e-5)
    else:
        assert math.isnan(value)


@every_loss
@given(pairs=batches())
def test_losses_are_finite_and_rewards_have_no_gradient(loss, pairs):
    out = loss(change(pairs, chosen=pairs.chosen.clone().requires_grad_()))
    assert out.losses.shape == out.chosen_rewards.shape == out.rejected_rewards.shape == pairs.chosen.shape
    assert out.losses.isfinite().all()
    assert out.losses.requires_grad
    assert not out.chosen_rewards.requires_grad
    assert not out.rejected_rewards.requires_grad


@every_loss
@given(pairs=batches(), data=st.data())
def test_a_pairs_loss_does_not_depend_on_the_other_pairs(loss, pairs, data):
    order = torch.tensor(data.draw(st.permutations(range(len(pairs.chosen)))))[:2]
    names = [n for n in PairLogps.__slots__ if "kl" not in n]
    some = change(pairs, **{name: getattr(pairs, name)[order] for name in names})
    torch.testing.assert_close(loss(some).losses, loss(pairs).losses[order], rtol=1e-12, atol=1e-12)


@every_loss
@given(pairs=batches())
def test_the_margin_of_rewards_orders_losses(loss, pairs):
    # A better margin never raises the preference part, up to IPO's optimum, where its margin of rewards is 1/2.
    better = change(pairs, rejected=pairs.rejected - 1)
    before, after = loss(pairs), loss(better)
    margins = after.chosen_rewards - after.rejected_rewards
    assert (margins > before.chosen_rewards - before.rejected_rewards).all()
    if "label_smoothing" not in vars(loss) or not loss.label_smoothing:
        fell = after.losses <= before.losses + 1e-12
        assert (fell | (margins > 0.5) if isinstance(loss, IPO) else fell).all()


@given(pairs=batches(), beta=st.floats(0.01, 1), smoothing=st.floats(0, 0.49))
def test_lc_dpo_without_alpha_is_dpo(pairs, beta, smoothing):
    plain = DPO(beta=beta, label_smoothing=smoothing)(pairs)
    controlled = LCDPO(beta=beta, alpha=0.0, label_smoothing=smoothing)(pairs)
    assert controlled.losses.tolist() == plain.losses.tolist()
    assert controlled.chosen_rewards.tolist() == plain.chosen_rewards.tolist()


@given(pairs=batches(), alpha=st.floats(1e-4, 0.1))
def test_a_longer_chosen_text_has_a_smaller_gradient(pairs, alpha):
    longer = change(pairs, chosen_tokens=pairs.chosen_tokens + 10)
    loss = LCDPO(beta=0.1, alpha=alpha)
    assert (gradients(loss, longer)[0].abs() <= gradients(loss, pairs)[0].abs()).all()


@given(pairs=batches(), alpha=st.floats(1e-4, 0.1), shift=st.integers(1, 50))
def test_lc_dpo_reads_only_the_difference_of_lengths(pairs, alpha, shift):
    both = change(pairs, chosen_tokens=pairs.chosen_tokens + shift, rejected_tokens=pairs.rejected_tokens + shift)
    loss = LCDPO(beta=0.1, alpha=alpha)
    torch.testing.assert_close(loss(both).losses, loss(pairs).losses, rtol=1e-9, atol=1e-9)


@given(pairs=batches(), smoothing=st.floats(0, 0.49))
def test_smoothing_mixes_a_pair_with_its_exchange(pairs, smoothing):
    exchanged = PairLogps(
        *(pairs.rejected, pairs.chosen, pairs.ref_rejected, pairs.ref_chosen),
        *(pairs.rejected_tokens, pairs.chosen_tokens),
    )
    plain = LCDPO(beta=0.1, alpha=0.02)
    smoothed = LCDPO(beta=0.1, alpha=0.02, label_smoothing=smoothing)(pairs).losses
    mixed = (1 - smoothing) * plain(pairs).losses + smoothing * plain(exchanged).losses
    torch.testing.assert_close(smoothed, mixed, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reduction", ["sum_logp", "mean_logp"])
@given(pairs=batches(), tau=st.floats(0.05, 5), off=st.floats(0.01, 9))
def test_ipo_is_least_at_a_margin_of_half_over_tau(reduction, pairs, tau, off):
    loss = IPO(tau=tau, reduction=reduction)
    divisors = (pairs.chosen_tokens, pairs.rejected_tokens) if reduction == "mean_logp" else (1, 1)
    rejected = (pairs.rejected - pairs.ref_rejected) / divisors[1]
    best = change(pairs, chosen=pairs.ref_chosen + (rejected + 1 / (2 * tau)) * divisors[0])
    assert loss(best).losses.abs().max() < 1e-12
    for step in (off, -off):
        away = loss(change(best, chosen=best.chosen + step * divisors[0])).losses
        torch.testing.assert_close(away, torch.full_like(away, off**2), rtol=1e-6, atol=1e-9)


@given(pairs=batches(), per_pair=st.floats(0.5, 20))
def test_mean_losses_do_not_depend_on_repetition(pairs, per_pair):
    # A text of twice the tokens with twice the log-prob has the same mean, so the same ORPO and mean IPO loss.
    sums = ("chosen", "rejected", "ref_chosen", "ref_rejected")
    counts = ("chosen_tokens", "rejected_tokens")
    twice = change(pairs, **{name: 2 * getattr(pairs, name) for name in sums + counts})
    for loss in (ORPO(lambda_=per_pair), IPO(tau=per_pair)):
        torch.testing.assert_close(loss(twice).losses, loss(pairs).losses, rtol=1e-9, atol=1e-9)


@given(pairs=batches(), lambda_c=st.floats(0.1, 5), lambda_r=st.floats(0.1, 5), beta=st.floats(0.01, 1))
def test_kto_is_bounded_and_a_pair_is_the_mean_of_its_rows(pairs, lambda_c, lambda_r, beta):
    loss = KTO(beta=beta, lambda_c=lambda_c, lambda_r=lambda_r)
    out = loss(pairs)
    assert (out.losses >= 0).all()
    assert (out.losses <= (lambda_c + lambda_r) / 2 + 1e-12).all()
    n = len(pairs.chosen)
    rows = VerdictLogps(
        torch.cat([pairs.chosen, pairs.rejected]),
        torch.cat([pairs.ref_chosen, pairs.ref_rejected]),
        torch.cat([pairs.chosen_tokens, pairs.rejected_tokens]),
        torch.arange(2 * n) < n,
        torch.ones(2 * n, dtype=torch.float64),
        pairs.kl,
        pairs.ref_kl,
    )
    by_row = loss.verdicts(rows)
    assert (by_row.losses <= torch.where(rows.desirable, lambda_c, lambda_r) + 1e-6).all()
    assert loss.verdicts_at_step_0(rows) == pytest.approx(loss.at_step_0(pairs))
    torch.testing.assert_close(by_row.losses.mean(), out.losses.mean(), rtol=1e-6, atol=1e-9)
    assert by_row.rewards.tolist() == out.chosen_rewards.tolist() + out.rejected_rewards.tolist()


@given(pairs=batches(), shift=st.floats(0, 50))
def test_kto_asks_more_of_chosen_the_further_the_policy_has_moved(pairs, shift):
    # z_0 is what a desirable row is measured against.
    here = change(pairs, kl=pairs.ref_kl + shift)
    further = change(pairs, kl=pairs.ref_kl + shift + 5)
    chosen_only = KTO(beta=0.1, lambda_r=1e-12)
    assert (chosen_only(further).losses >= chosen_only(here).losses).all()


@given(pairs=batches(), weight=st.floats(0.01, 3))
def test_the_sft_term_is_the_likelihood_per_token(pairs, weight):
    plain, sft = IPO(tau=1.0), with_sft_term(IPO(tau=1.0), weight)
    extra = sft(pairs).losses - plain(pairs).losses
    torch.testing.assert_close(extra, -weight * pairs.chosen / pairs.chosen_tokens, rtol=1e-6, atol=1e-6)
