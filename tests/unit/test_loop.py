"""Training that is killed goes on to the same weights, bit for bit."""

import errno
import math
from pathlib import Path

import pytest
import torch

from chexalign.demo import loop
from chexalign.demo.loop import STATE, Optimization, fit, forget
from chexalign.errors import UserError
from chexalign.train.order import warmup_cosine

BATCHES = [[(3 * step + i) % 24 for i in range(4)] for step in range(20)]
SETTINGS = Optimization(learning_rate=1e-2, weight_decay=0.01)


class StoppedError(Exception):
    """Stands for a killed process."""


def make_module(seed=1):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 1)]
    module = torch.nn.Sequential(*layers)
    module[0].bias.requires_grad_(False)
    return module.train()


def make_step(module, stop_at=None):
    generator = torch.Generator().manual_seed(2)
    inputs, targets = torch.randn(24, 5, generator=generator), torch.randn(24, 1, generator=generator)

    def step(indices, index):
        if index == stop_at:
            raise StoppedError
        error = module(inputs[indices]) - targets[indices]
        return error.square().mean(), {"n": float(len(indices))}

    return step


def train(folder: Path, *, stop_at=None, seed=1, batches=BATCHES, settings=SETTINGS):
    module = make_module(seed)
    log = fit(module, batches, make_step(module, stop_at), settings, folder=folder, label="test")
    return module, log


@pytest.fixture
def save_each_step(monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_EVERY_SECONDS", 0.0)


def same(a, b):
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


@pytest.mark.usefixtures("save_each_step")
@pytest.mark.parametrize("stops", [[1], [7], [19], [2, 2, 3, 11]])
def test_killed_and_resumed_training_gives_the_same_weights_and_log(tmp_path, stops):
    whole, log = train(tmp_path / "whole")
    for stop in stops:
        with pytest.raises(StoppedError):
            train(tmp_path / "killed", stop_at=stop)
    resumed, resumed_log = train(tmp_path / "killed")
    assert same(whole, resumed)
    assert int(resumed[1].num_batches_tracked) == len(BATCHES)
    assert resumed_log.rows == log.rows
    assert [row["step"] for row in log.rows] == list(range(len(BATCHES)))


@pytest.mark.usefixtures("save_each_step")
def test_a_resumed_training_does_not_repeat_steps(tmp_path):
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=12)
    with pytest.raises(StoppedError):
        train(tmp_path, stop_at=12)
    train(tmp_path)
    module = make_module()
    fit(module, BATCHES, make_step(module, stop_at=0), SETTINGS, folder=tmp_path, label="test")  # nothing is left to do


def test_without_a_saved_state_training_starts_over(tmp_path):
    whole, log = train(tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(tmp_path / "killed", stop_at=12)
    assert not (tmp_path / "killed" / STATE).exists()  # it took less than the 20 seconds between saves
    again, again_log = train(tmp_path / "killed")
    assert same(whole, again)
    assert again_log.rows == log.rows


@pytest.mark.usefixtures("save_each_step")
@pytest.mark.parametrize("damage", ["empty", "short", "half", "flip-middle", "flip-last", "garbage"])
def test_a_damaged_state_starts_over(tmp_path, damage):
    whole, log = train(tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(tmp_path / "killed", stop_at=12)
    path = tmp_path / "killed" / STATE
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "empty": b"",
            "short": data[:10],
            "half": data[:middle],
            "flip-middle": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "flip-last": data[:-1] + bytes([data[-1] ^ 1]),
            "garbage": b"not a state" * 100,
        }[damage]
    )
    again, again_log = train(tmp_path / "killed")
    assert same(whole, again)
    assert again_log.rows == log.rows


@pytest.mark.usefixtures("save_each_step")
@pytest.mark.parametrize(
    "change",
    [{"seed": 3}, {"batches": BATCHES[::-1]}, {"settings": Optimization(learning_rate=2e-2, weight_decay=0.01)}],
    ids=["weights", "batches", "settings"],
)
def test_the_state_of_another_training_is_not_taken_up(tmp_path, change):
    """The user who lowers the learning rate after a loss of NaN does not go on from the weights that led there."""
    with pytest.raises(StoppedError):
        train(tmp_path / "killed", stop_at=12)
    resumed, log = train(tmp_path / "killed", **change)
    whole, whole_log = train(tmp_path / "whole", **change)
    assert same(whole, resumed)
    assert log.rows == whole_log.rows


@pytest.mark.usefixtures("save_each_step")
def test_forget_removes_the_state_and_may_be_called_twice(tmp_path):
    train(tmp_path)
    assert (tmp_path / STATE).is_file()
    forget(tmp_path)
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("save_each_step")
def test_a_full_disk_is_told(tmp_path, monkeypatch):
    """The state goes through Path: torch.save would turn the full disk into a RuntimeError about its own format."""

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="full"):
        train(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_told(tmp_path, value):
    module = make_module()
    step = make_step(module)

    def bad(indices, index):
        loss, numbers = step(indices, index)
        return (loss * value if index == 3 else loss), numbers

    with pytest.raises(UserError, match="at step 3") as caught:
        fit(module, BATCHES, bad, SETTINGS, folder=tmp_path, label="train dpo")
    assert "train dpo" in caught.value.what
    assert "learning_rate" in caught.value.fix


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path):
    """At the last step no later loss would tell, and the checkpoint would be NaN."""
    module = make_module()
    step = make_step(module)

    def bad(indices, index):
        loss, numbers = step(indices, index)
        if index == len(BATCHES) - 1:
            zero = sum((p - p.detach()).sum() for p in module.parameters())
            loss = loss + torch.as_tensor(zero).sqrt()  # the value is right, its gradient is infinite
        return loss, numbers

    with pytest.raises(UserError, match="gradient"):
        fit(module, BATCHES, bad, SETTINGS, folder=tmp_path, label="test")
    assert all(p.isfinite().all() for p in module.parameters())


def test_only_trainable_parameters_change(tmp_path):
    before = make_module()
    after, _ = train(tmp_path)
    assert torch.equal(before[0].bias, after[0].bias)
    assert not torch.equal(before[0].weight, after[0].weight)


def test_the_number_of_threads_is_set_back(tmp_path):
    before = torch.get_num_threads()
    seen = []
    module = make_module()
    step = make_step(module)

    def watching(indices, index):
        seen.append(torch.get_num_threads())
        return step(indices, index)

    fit(module, BATCHES[:2], watching, SETTINGS, folder=tmp_path, label="test", threads=2)
    assert seen == [2, 2]
    assert torch.get_num_threads() == before


def test_the_learning_rate_of_a_step_is_the_scheduled_one(tmp_path, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def watching(self, *args):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", watching)
    train(tmp_path)
    assert rates == pytest.approx([1e-2 * warmup_cosine(i, 20, 0.1) for i in range(20)])
