"""Features of a frozen tower stand for its images: the same log-probs, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from chexalign.errors import UserError
from chexalign.train import vision
from chexalign.train.freeze import freeze
from chexalign.train.pack import Example, pack
from chexalign.train.prefix import shared_logps
from chexalign.train.rows import Row
from chexalign.train.vision import (
    Pixels,
    TowerFeatures,
    cached_tower,
    choose_vision,
    features_pay,
    files,
    tower_features,
    tower_of,
)
from tests import fits, vlms


class Processor:
    """An image processor as a joint processor holds it, for towers of 8 x 8 pixels."""

    def __init__(self) -> None:
        size = {"height": 8, "width": 8}
        self.image_processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)


PROCESSOR = Processor()
IMAGE = (vlms.IMAGE,) * 4


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (20, 24), dtype=np.uint8)).save(folder / f"{i}.png")
    return [str(folder / f"{i}.png") for i in range(3)]


@pytest.fixture
def examples(paths: list[str]) -> list[Example]:
    """Prompts with one image and with two, of which one comes twice."""
    a, b, c = paths
    return [
        Example("one", (1, *IMAGE, 5, 6), ((7, 8, 2), (9, 2)), (a,)),
        Example("two", (1, *IMAGE, 5, *IMAGE, 7), ((7, 2), (9, 10, 11, 2)), (b, a)),
        Example("three", (1, *IMAGE, 8, *IMAGE, 5), ((12, 2), (2,)), (c, b)),
    ]


def sums(model: Any, examples: list[Example], source: Any) -> torch.Tensor:
    with tower_of(source, model), torch.no_grad():
        return shared_logps(model, pack(examples, pad_id=0), source.inputs([e.images for e in examples])).sums()


def frozen_llava() -> Any:
    model = fits.model_of()
    freeze(model, ["vision"])
    return model


def test_features_give_the_log_probs_of_pixels(examples: list[Example]) -> None:
    model = frozen_llava()
    features = tower_features(model, PROCESSOR, files(path for e in examples for path in e.images))
    pixels = sums(model, examples, Pixels(model, PROCESSOR))
    torch.testing.assert_close(sums(model, examples, features), pixels, rtol=1e-6, atol=1e-6)
    swapped = [Example(e.id, e.prompt_ids, e.completions, e.images[::-1]) for e in examples]
    assert (sums(model, swapped, features)[1:] - pixels[1:]).abs().min() > 1e-3, "images do not matter here"


def test_training_on_features_is_training_on_pixels(examples: list[Example], tmp_path: Path) -> None:
    found = []
    for source in ("features", "pixels"):
        model = frozen_llava()
        chosen = choose_vision(model, PROCESSOR, [e.images for e in examples])
        assert isinstance(chosen, TowerFeatures)
        chosen = chosen if source == "features" else Pixels(model, PROCESSOR)
        objective = fits.OBJECTIVES["orpo"][0]
        log = fits.train(model, [Row(e) for e in examples], objective, tmp_path / source, vision=chosen, epochs=4)
        found.append([row["loss"] for row in log.rows])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_tower_runs_once_per_image_and_then_never(examples: list[Example], monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = frozen_llava(), []
    embeddings = model.model.vision_tower.embeddings
    embeddings.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    monkeypatch.setattr(vision, "_BATCH", 2)
    features = tower_features(model, PROCESSOR, files(path for e in examples for path in e.images))
    assert seen == [2, 1]
    sums(model, examples, features)
    assert seen == [2, 1]
    sums(model, examples, Pixels(model, PROCESSOR))
    assert seen == [2, 1, 5]


@pytest.mark.parametrize("layer", [-1, -2, 1])
def test_features_are_those_of_the_layer_that_the_projector_reads(layer: int, examples: list[Example]) -> None:
    """Of a tower with a last norm, last_hidden_state is another thing than any of its layers."""
    model = frozen_llava()
    model.config.vision_feature_layer = layer
    (path, *_) = examples[0].images
    features = tower_features(model, PROCESSOR, files([path])).inputs([[path]])["pixel_values"]
    pixels = Pixels(model, PROCESSOR).inputs([[path]])["pixel_values"]
    with torch.no_grad():
        out = model.model.vision_tower(pixels, output_hidden_states=True)
    assert torch.equal(features, out.hidden_states[layer])
    others = [h for i, h in enumerate(out.hidden_states) if i != layer % len(out.hidden_states)]
    assert all((features - other).abs().max() > 1e-2 for other in others)
    table = tower_features(model, PROCESSOR, files(path for e in examples for path in e.images))
    pixel_sums = sums(model, examples, Pixels(model, PROCESSOR))
    torch.testing.assert_close(sums(model, examples, table), pixel_sums, rtol=1e-6, atol=1e-6)


def test_the_tower_is_its_own_again_after(paths: list[str]) -> None:
    model = frozen_llava()
    pixels = Pixels(model, PROCESSOR).inputs([paths])["pixel_values"]
    before = model.model.vision_tower(pixels).last_hidden_state

    def fail() -> None:
        with cached_tower(model):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(before, model.model.vision_tower(pixels).last_hidden_state)


def test_inside_a_wrapper_too(examples: list[Example]) -> None:
    peft = pytest.importorskip("peft")
    model = frozen_llava()
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    features = tower_features(model, PROCESSOR, files(path for e in examples for path in e.images))
    pixels = sums(wrapped, examples, Pixels(wrapped, PROCESSOR))
    torch.testing.assert_close(sums(wrapped, examples, features), pixels, rtol=1e-6, atol=1e-6)


# Where it pays --------------------------------------------------------------------------------------------------------


def test_features_pay_for_a_frozen_tower_alone(examples: list[Example]) -> None:
    model = fits.model_of()
    images = [e.images for e in examples]
    assert not features_pay(model, PROCESSOR, 3)
    assert isinstance(choose_vision(model, PROCESSOR, images), Pixels)
    freeze(model, ["vision"])
    assert features_pay(model, PROCESSOR, 3)
    next(model.model.vision_tower.parameters()).requires_grad_(True)
    assert not features_pay(model, PROCESSOR, 3)


def test_features_do_not_pay_without_images_or_for_several_layers() -> None:
    model = frozen_llava()
    assert not features_pay(model, PROCESSOR, 0)
    model.config.vision_feature_layer = [-2, -1]
    assert not features_pay(model, PROCESSOR, 3)


def test_features_must_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = frozen_llava()
    of_one = 5 * 16 * 4  # tokens with the class token, width, bytes
    monkeypatch.setattr(vision, "MAX_FEATURE_BYTES", 3 * of_one)
    assert features_pay(model, PROCESSOR, 3)
    assert not features_pay(model, PROCESSOR, 4)


@pytest.mark.parametrize("name", sorted(vlms.FAMILIES.keys() - {"llava_llama", "llava_phi", "llava_mistral"}))
def test_other_families_run_their_tower(name: str) -> None:
    model = fits.model_of(name, vlms.FAMILIES[name].attentions[0])
    freeze(model, ["vision", "projector"])
    assert not features_pay(model, None, 3)


def test_tables_of_features_join() -> None:
    one, other = (TowerFeatures({"a": torch.full((2, 3), v), "b": torch.full((2, 3), v)}) for v in (1.0, 2.0))
    more = TowerFeatures({"c": torch.full((2, 3), 3.0)})
    assert (one | other | more).inputs([["c"], [], ["a", "b"]])["pixel_values"][:, 0, 0].tolist() == [3.0, 2.0, 2.0]
    assert (one | more).inputs([[], []]) == {}


def test_a_missing_image_is_told(examples: list[Example]) -> None:
    model = frozen_llava()
    with pytest.raises(UserError, match=r"gone\.png is missing"):
        Pixels(model, PROCESSOR).inputs([["gone.png"]])
    with pytest.raises(UserError, match=r"gone\.png is missing"):
        choose_vision(model, PROCESSOR, [["gone.png"]])
