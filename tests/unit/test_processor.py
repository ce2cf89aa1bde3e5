"""Models whose joint processor cannot be built here are served by its parts, from disk to text and back."""

import pytest
import torch

from chexalign.errors import UserError
from chexalign.policy.base import Ask, Decoding
from chexalign.policy.families import family_of
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.policy.processor import Parts, encode_parts
from chexalign.train.examples import Target, encode
from tests import vlms
from tests.unit.test_families import image_processor, picture, tokenizer

TEMPLATE = (
    "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<start><image><end> "
    "{% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def asks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i, size in enumerate([(40, 30), (16, 16), (20, 60)]):
        picture(*size, seed=i).save(folder / f"{i}.png")
    paths = [folder / f"{i}.png" for i in range(3)]
    return [Ask("what is seen", tuple(paths[:2])), Ask("seen", (paths[2],)), Ask("what is what", ())]


def checkpoint(name, folder):
    parts = Parts(image_processor(name), tokenizer(), TEMPLATE, "<image>")
    save_checkpoint(vlms.make(name), parts, folder)
    return folder


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "smolvlm", "internvl"])
def test_a_checkpoint_without_a_usable_joint_processor_writes_and_is_trained_on(name, asks, tmp_path):
    policy = HFPolicy(checkpoint(name, tmp_path / "a"))
    assert isinstance(policy.processor, Parts)
    found = policy.generate(asks, decoding=Decoding(6), seeds=[[0]] * 3)
    alone = [policy.generate([ask], decoding=Decoding(6), seeds=[[0]]) for ask in asks]
    assert [row[0].text for row in found] == [row[0][0].text for row in alone]
    examples = encode(policy, [Target(str(i), ask, ("seen is",)) for i, ask in enumerate(asks)])
    inputs = policy.encode(asks)
    for example, ids, mask in zip(examples, inputs["input_ids"], inputs["attention_mask"], strict=True):
        assert example.prompt_ids == tuple(ids[mask.bool()].tolist())  # training reads what inference reads


def test_what_is_saved_loads_again_and_reads_the_same(asks, tmp_path):
    first = HFPolicy(checkpoint("qwen2_5_vl", tmp_path / "a"))
    save_checkpoint(first.model, first.processor, tmp_path / "b")
    second = HFPolicy(tmp_path / "b")
    a, b = first.encode(asks), second.encode(asks)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_chat_template_in_json_as_older_checkpoints_have_it(asks, tmp_path):
    import json

    folder = checkpoint("qwen2_vl", tmp_path / "a")
    expected = HFPolicy(folder).encode(asks)["input_ids"]
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert torch.equal(HFPolicy(folder).encode(asks)["input_ids"], expected)


def test_a_family_that_leaves_tokens_to_its_processor_is_refused(asks):
    parts = Parts(image_processor("paligemma"), tokenizer(), TEMPLATE, "<image>")
    with pytest.raises(UserError, match="needs torchvision"):
        encode_parts(family_of(vlms.make("paligemma")), parts, ["what"], [[]])


def test_gemma3_whose_processor_writes_one_token_and_puts_others_in_its_place(asks, tmp_path):
    from tests.unit.test_model_recipes import medgemma

    policy = HFPolicy(medgemma(tmp_path))
    (example,) = encode(policy, [Target("a", asks[0], ("seen is",))])
    assert example.prompt_ids.count(vlms.IMAGE) == 2 * 4
    found = policy.generate(asks[:2], decoding=Decoding(4), seeds=[[0]] * 2)
    assert [row[0].text for row in found] == [
        policy.generate([a], decoding=Decoding(4), seeds=[[0]])[0][0].text for a in asks[:2]
    ]
