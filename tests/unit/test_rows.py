"""Batches of rows: what the collator gives, and in which order rows come."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from chexalign.train.pack import Example, pack
from chexalign.train.rows import FILLER, Collator, OrderedRows, Row, vision_inputs


class Keys:
    """A Vision that tells which images it was asked for."""

    def inputs(self, images: Sequence[Sequence[str]]) -> dict[str, torch.Tensor]:
        keys = [int(key) for row in images for key in row]
        return {"pixel_values": torch.tensor(keys)} if keys else {}


def example(name: str, *completions: tuple[int, ...], images: tuple[str, ...] = ("1",), **more: object) -> Example:
    return Example(name, (5, 6), completions, images, **more)  # type: ignore[arg-type]


COLLATE = Collator(Keys(), pad_id=9)


def test_a_batch_by_hand() -> None:
    rows = [
        Row(example("a", (1, 2), (3,), images=("4", "5")), (-1.0, -2.0), desirable=False, weight=2.0),
        Row(example("b", (1,), (3, 4)), (-3.0, -4.0)),
    ]
    batch = COLLATE([(8, rows[0]), (3, rows[1])])
    packed = pack([row.example for row in rows], pad_id=9)
    assert all(torch.equal(batch[name], tensor) for name, tensor in packed.items())
    assert batch["row"].tolist() == [8, 3]
    assert batch["ref"].tolist() == [[-1.0, -2.0], [-3.0, -4.0]]
    assert batch["desirable"].tolist() == [False, True]
    assert batch["weight"].tolist() == [2.0, 1.0]
    assert batch["counts"].tolist() == [1.0, 1.0]
    assert vision_inputs(batch)["pixel_values"].tolist() == [4, 5, 1]
    assert vision_inputs(batch).keys() == {"pixel_values"}


def test_weights_are_those_of_the_tokens_in_the_order_of_log_probs() -> None:
    rows = [Row(example("a", (1, 2), weights=(3.0, 1.0))), Row(example("b", (1, 2, 3)))]
    batch = COLLATE(list(enumerate(rows)))
    assert batch["weights"].tolist() == [3.0, 1.0, 1.0, 1.0, 1.0]
    assert "ref" not in batch


def test_texts_without_images_have_no_image_inputs() -> None:
    assert vision_inputs(COLLATE([(0, Row(example("a", (1,), images=())))])) == {}


def test_a_row_has_one_reference_log_prob_per_completion() -> None:
    with pytest.raises(ValueError, match="Row a: one reference log-prob per completion"):
        Row(example("a", (1,), (2,)), (-1.0,))


def test_rows_come_in_order_and_as_often_as_it_says() -> None:
    rows = [Row(example(str(i), (1,))) for i in range(3)]
    found = OrderedRows(rows, [2, 0, 2])
    assert [(i, row.example.id) for i, row in (found[k] for k in range(len(found)))] == [(2, "2"), (0, "0"), (2, "2")]


def test_fillers_make_the_last_batch_full_and_count_for_nothing() -> None:
    rows = [Row(example(str(i), (1, 2), weights=(5.0, 1.0))) for i in range(3)]
    found = OrderedRows(rows, [2, 0, 1, 2, 0], multiple=4)
    items = [found[k] for k in range(len(found))]
    assert [i for i, _ in items] == [2, 0, 1, 2, 0, FILLER, FILLER, FILLER]
    batch = COLLATE(items[4:])
    assert batch["counts"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert batch["weights"].tolist() == [5.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert len(OrderedRows(rows, [2, 0, 1, 2], multiple=4)) == 4
