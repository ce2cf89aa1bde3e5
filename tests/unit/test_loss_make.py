"""A training block makes the loss that it names, with its supervised term, and what does not fit is refused."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from chexalign.errors import UserError
from chexalign.losses.base import PairLogps, VerdictLogps, VerdictLoss
from chexalign.losses.dpo import DPO
from chexalign.losses.ipo import IPO
from chexalign.losses.kto import KTO
from chexalign.losses.lc_dpo import LCDPO
from chexalign.losses.make import make_loss
from chexalign.losses.orpo import ORPO, orpo_loss
from chexalign.losses.sft_term import with_sft_term
from chexalign.recipe import PARAMETERS, TrainSpec


def block(algorithm, *, label_smoothing=0.0, sft_weight=None, **parameters):
    return SimpleNamespace(
        algorithm=algorithm,
        label_smoothing=label_smoothing,
        sft_weight=sft_weight,
        parameters=lambda: parameters,
    )


def pairs(*, at_start=False):
    chosen, rejected = torch.tensor([-50.0, -7.0]), torch.tensor([-60.0, -90.0])
    moved = 0 if at_start else 4
    kl = torch.tensor([-80.0])
    tokens = torch.tensor([10, 7]), torch.tensor([12, 30])
    return PairLogps(chosen, rejected, chosen - moved, rejected + moved, *tokens, kl, kl - moved)


def rows():
    logps, desirable = torch.tensor([-50.0, -60.0]), torch.tensor([True, False])
    weights, kl = torch.tensor([0.5, 1.0]), torch.tensor([-80.0])
    return VerdictLogps(logps, logps, torch.tensor([10, 12]), desirable, weights, kl, kl)


def test_every_algorithm_of_a_recipe_is_made():
    classes = {"dpo": DPO, "lc_dpo": LCDPO, "ipo": IPO, "kto": KTO, "orpo": ORPO}
    assert classes.keys() == PARAMETERS.keys()
    for algorithm, kind in classes.items():
        own = dict.fromkeys(PARAMETERS[algorithm], 0.5)
        spec = TrainSpec.model_validate({"algorithm": algorithm, "learning_rate": 1e-4, **own})
        assert type(make_loss(spec)) is kind


@pytest.mark.parametrize(("algorithm", "classes"), [("kto", KTO), ("ipo", IPO)])
def test_optional_parameters_left_out_are_the_classes_own(algorithm, classes):
    own = dict.fromkeys(PARAMETERS[algorithm], 0.5)
    assert vars(make_loss(block(algorithm, **own))) == vars(classes(**own))


def test_optional_parameters_reach_the_loss():
    kto = {"algorithm": "kto", "beta": 0.1, "lambda_r": 2, "learning_rate": 1e-4}
    assert vars(make_loss(TrainSpec.model_validate(kto)))["lambda_r"] == 2
    ipo = {"algorithm": "ipo", "tau": 0.1, "reduction": "sum_logp", "learning_rate": 1e-4}
    assert make_loss(TrainSpec.model_validate(ipo)).reduction == "sum_logp"
    dpo = {"algorithm": "dpo", "beta": 0.1, "label_smoothing": 0.2, "learning_rate": 1e-4}
    assert vars(make_loss(TrainSpec.model_validate(dpo)))["label_smoothing"] == 0.2


@pytest.mark.parametrize("algorithm", ["ipo", "kto", "orpo"])
def test_smoothing_is_refused_where_there_is_none(algorithm):
    names = {"lambda": "lambda_"}
    own = {names.get(name, name): 0.5 for name in PARAMETERS[algorithm]}
    with pytest.raises(UserError, match=f"{algorithm}: label_smoothing is 0.1"):
        make_loss(block(algorithm, label_smoothing=0.1, **own))


@pytest.mark.parametrize(
    ("algorithm", "parameters", "named"),
    [
        ("dpo", {}, "missing a required argument: 'beta'"),
        ("dpo", {"beta": 0.1, "tau": 1}, "unexpected keyword argument 'tau'"),
        ("kto", {"beta": -1}, "kto: beta is -1"),
        ("dppo", {"beta": 0.1}, "there is no loss 'dppo'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(algorithm, parameters, named):
    with pytest.raises(UserError, match=named):
        make_loss(block(algorithm, **parameters))


def test_the_sft_term_by_hand():
    # Negative log-likelihoods of 5 and 1 nats per token, a tenth of each.
    plain, sft = make_loss(block("dpo", beta=0.1)), make_loss(block("dpo", beta=0.1, sft_weight=0.1))
    extra = sft(pairs()).losses - plain(pairs()).losses
    assert extra.tolist() == pytest.approx([0.5, 0.1], rel=1e-5)
    assert sft(pairs()).chosen_rewards.tolist() == plain(pairs()).chosen_rewards.tolist()
    assert sft.at_step_0(pairs(at_start=True)) == pytest.approx(math.log(2) + 0.3)
    assert sft.at_step_0(pairs(at_start=True)) == pytest.approx(sft(pairs(at_start=True)).losses.mean().item())


@pytest.mark.parametrize("loss", [DPO(beta=0.1), IPO(tau=0.1), KTO(beta=0.1), LCDPO(beta=0.1, alpha=0.01)])
def test_the_sft_term_keeps_what_the_loss_declares(loss):
    sft = with_sft_term(loss, 0.5)
    for name in ("reduction", "needs_ref", "needs_kl", "required"):
        assert getattr(sft, name) == getattr(loss, name)
    assert isinstance(sft, VerdictLoss) == isinstance(loss, VerdictLoss)


def test_the_sft_term_of_rows_falls_on_desirable_ones():
    plain, sft = KTO(beta=0.1), with_sft_term(KTO(beta=0.1), 0.1)
    extra = sft.verdicts(rows()).losses - plain.verdicts(rows()).losses
    assert extra.tolist() == pytest.approx([0.5 * 0.1 * 5, 0])
    assert sft.verdicts_at_step_0(rows()) == pytest.approx(sft.verdicts(rows()).losses.mean().item())


def test_orpos_own_likelihood_and_the_sft_term_add_up():
    likelihood = orpo_loss(pairs(), lambda_=1.0).losses - orpo_loss(pairs(), lambda_=0.5).losses
    odds_only = 2 * likelihood
    twice = with_sft_term(ORPO(lambda_=1.0), 1.0)(pairs()).losses
    assert (twice - odds_only).tolist() == pytest.approx([2 * 5, 2 * 1], rel=1e-5)
    assert math.isnan(with_sft_term(ORPO(lambda_=1.0), 1.0).at_step_0(pairs()))


def test_a_weight_of_0_changes_nothing():
    loss = DPO(beta=0.1)
    assert with_sft_term(loss, 0) is loss
    assert type(make_loss(block("dpo", beta=0.1, sft_weight=0.0))) is DPO


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_an_unfit_weight_is_refused(weight):
    with pytest.raises(UserError, match="sft_weight"):
        with_sft_term(DPO(beta=0.1), weight)
