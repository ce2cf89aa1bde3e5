"""Prompts and candidates part by part: each study once, the same table on every way there, nothing lost silently."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chexalign.data.templates import get_template
from chexalign.errors import UserError
from chexalign.ids import file_sha256, keyed_seed
from chexalign.policy.base import Ask, Completion, Decoding
from chexalign.policy.hf import HFPolicy
from chexalign.policy.source import LocalSource
from chexalign.run_folder import RunFolder
from chexalign.sample.stage import CandidatesWorker, PromptsWorker, studies_per_part
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.types import ImageRef, Study
from tests.made_up import tiny_checkpoint

PART = 4
SPLITS = ["prefer"] * 3 + ["test", "sft"] + ["prefer"] * 9 + ["sft"] * 6 + ["prefer"] * 3  # 15 to draw for


@dataclasses.dataclass
class StudiesWorker:
    """Three studies in a part, so that parts of prompts and of studies do not coincide."""

    root: Path
    n_images: int = 1

    def setup(self) -> None:
        pass

    def part(self, index: int) -> PartResult[Study]:
        return PartResult([self.study(i) for i in range(3 * index, min(3 * index + 3, len(SPLITS)))])

    def study(self, i: int) -> Study:
        path = self.root / "images" / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        image = ImageRef(f"images/{path.name}", file_sha256(path), "frontal", 32, 32)
        words = "cough " * (i % 5 + 1)
        return Study(
            f"s{i:02}", f"p{i}", (image,) * self.n_images, words, "Lungs are clear.", None, (), SPLITS[i], "made", "CC0"
        )


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    n_parts = -(-len(SPLITS) // 3)
    run_parts(run.studies, StudiesWorker(run.root), key=StageKey("studies", {}, {}, 0), n_parts=n_parts)
    return run


def write_prompts(run, *, part_size=PART):
    counts = studies_per_part(run, -(-len(SPLITS) // 3), "prefer")
    worker = PromptsWorker(run, "prefer", get_template("findings@1"), part_size, counts)
    return run_parts(run.prompts, worker, key=StageKey("prompts", {}, {"p": part_size}, 0), n_parts=worker.n_parts)


class Echo:
    """Writes its seed, unless the image cannot be read."""

    def generate(self, asks: Sequence[Ask], *, decoding: Decoding, seeds: Sequence[Sequence[int]]):
        return [
            [Completion(f"{a.prompt} {s}", 3, -1.0, "stop") for s in row] for a, row in zip(asks, seeds, strict=True)
        ]

    def sampler(self, decoding: Decoding) -> str:
        return "echo"


class EchoSource:
    def open(self) -> Echo:
        return Echo()


def draw(run, source=None, *, workers=1, batch_size=3, **options):
    decoding = Decoding(4, temperature=1.0)
    worker = CandidatesWorker(run, source or EchoSource(), decoding, 2, batch_size, max_images=1, seed=7)
    key = StageKey("candidates", {}, {}, 7)
    return run_parts(run.candidates, worker, key=key, n_parts=4, workers=workers, **options)


@pytest.mark.parametrize("part_size", [1, 4, 7, 100])
def test_there_is_one_prompt_per_study_of_the_split_in_order(run, part_size):
    manifest = write_prompts(run, part_size=part_size)
    assert manifest.parts == -(-15 // part_size)
    wanted = [f"s{i:02}" for i, split in enumerate(SPLITS) if split == "prefer"]
    assert [p.study_id for p in run.prompts.iter_rows()] == wanted


def test_a_study_without_an_image_gets_no_prompt_and_is_counted(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    worker = StudiesWorker(run.root, n_images=0)
    run_parts(run.studies, worker, key=StageKey("studies", {}, {}, 0), n_parts=-(-len(SPLITS) // 3))
    assert (write_prompts(run).rows, write_prompts(run).dropped) == (0, {"no_image": 15})


def test_candidates_are_keyed_by_seed_prompt_and_draw(run):
    write_prompts(run)
    manifest = draw(run)
    assert manifest.rows == 30
    prompts = run.prompts.rows()
    found = [(c.prompt_id, c.draw, c.text) for c in run.candidates.iter_rows()]
    assert found == [(p.id, d, f"{p.text} {keyed_seed(7, p.id, d)}") for p in prompts for d in range(2)]
    assert {c.sampler for c in run.candidates.iter_rows()} == {"echo"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("policy"))


def texts(run):
    return [(c.id, c.text, c.n_tokens) for c in run.candidates.iter_rows()]


def test_another_number_of_workers_and_a_resume_give_the_same_table(run, checkpoint):
    write_prompts(run)
    whole = draw(run, LocalSource(checkpoint))
    rows = texts(run)
    assert len({text for _, text, _ in rows}) > 20, "the draws do not differ: the test proves little"
    for path in run.candidates.folder.iterdir():
        path.unlink()
    assert draw(run, LocalSource(checkpoint), workers=2).content == whole.content
    run.candidates.part_path(1).unlink()
    assert draw(run, LocalSource(checkpoint)).content == whole.content
    assert texts(run) == rows


def test_a_damaged_image_leaves_its_prompt_out_and_the_rest_as_it_was(run, checkpoint):
    write_prompts(run)
    draw(run, LocalSource(checkpoint))
    before = {c.id: c.text for c in run.candidates.iter_rows()}
    victim = run.prompts.rows()[5]
    (run.root / "images" / f"{victim.study_id[1:]}.png").write_bytes(b"\x89PNG damaged")
    for path in run.candidates.folder.iterdir():
        path.unlink()
    manifest = draw(run, LocalSource(checkpoint), most_dropped=1)
    assert (manifest.rows, manifest.dropped) == (28, {"image_unreadable": 1})
    assert {c.prompt_id for c in run.candidates.iter_rows()} == {p.id for p in run.prompts.rows()} - {victim.id}
    same = [before.get(c.id) == c.text for c in run.candidates.iter_rows()]
    assert sum(same) >= 26  # a batch of another size may change the last bits of a logit
    (run.root / "images" / "20.png").unlink()
    for path in run.candidates.folder.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="image_unreadable 2"):
        draw(run, LocalSource(checkpoint), most_dropped=1)


def test_a_prompt_that_is_too_long_is_left_out(run, checkpoint):
    write_prompts(run)
    opened = HFPolicy(checkpoint)
    asks = [Ask(p.text, (run.root / "images/00.png",)) for p in run.prompts.rows()]
    lengths = [opened.encode([ask])["input_ids"].shape[1] for ask in asks]
    opened.model.config.get_text_config().max_position_embeddings = max(lengths) + 3  # one less than is asked for

    @dataclasses.dataclass
    class Opened:
        def open(self):
            return opened

    manifest = draw(run, Opened())
    assert manifest.dropped == {"prompt_too_long": lengths.count(max(lengths))}


def test_the_size_of_batches_can_be_left_to_memory(run, checkpoint):
    write_prompts(run)
    assert draw(run, LocalSource(checkpoint), batch_size=None).rows == 30


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_says_so(run, checkpoint, precision):
    write_prompts(run)
    draw(run, LocalSource(checkpoint, precision))
    assert {c.sampler for c in run.candidates.iter_rows()} == {f"local {precision} T=1.0 top_p=1.0"}
