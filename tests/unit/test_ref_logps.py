"""Reference log-probs of a tiny random policy: right, each computed once, and shared by arms and runs."""

import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image

from chexalign import ids
from chexalign.demo.tiny import build_model, build_processor, train_tokenizer
from chexalign.errors import UserError
from chexalign.policy.asks import ask_of
from chexalign.policy.hf import HFPolicy, save_checkpoint
from chexalign.run_folder import SFT, RunFolder
from chexalign.spread import PartResult
from chexalign.stage import StageKey, run_parts
from chexalign.train import sharing
from chexalign.train.examples import Target, encode
from chexalign.train.pack import pack
from chexalign.train.pair_rows import completions_of
from chexalign.train.prefix import TokenLogps, separate_logps, shared_logps
from chexalign.train.ref_cache import IDENTITY
from chexalign.train.ref_logps import RefLogpsWorker, ref_cache_folder, ref_table, requests_of, with_sources
from chexalign.train.vision import Pixels
from chexalign.types import Candidate, ImageRef, Pair, Prompt, Study

TEXTS = [
    "The heart is not enlarged. Both lungs are clear.",
    "There is a small effusion on the left side.",
    "A line ends in the upper vein.",
    "Old broken ribs on the right. The spine is bent a little, and a line ends in the upper vein.",
]
N_STUDIES = 5  # the last has no image, and the first has two
ALL = [(f"p{s}", f"p{s}-{t}") for s in range(N_STUDIES) for t in range(len(TEXTS))]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = train_tokenizer(TEXTS, vocabulary=320)
    model = build_model(tokenizer, seed=3)
    with torch.no_grad():  # random weights say nearly the same for every prompt: make them sharper
        for p in model.model.language_model.parameters():
            p.mul_(4.0 if p.ndim == 2 else 1.0)
    save_checkpoint(model, build_processor(tokenizer), folder)
    return folder


@pytest.fixture(scope="module")
def policy(checkpoint):
    return HFPolicy(checkpoint)


@dataclass
class Fixed:
    """Rows that are there already."""

    rows: list = field(default_factory=list)

    def setup(self):
        pass

    def part(self, index):
        return PartResult(self.rows)


def write(table, rows):
    run_parts(table, Fixed(rows), key=StageKey("given", {}, {"rows": list(map(str, rows))}, 0), n_parts=1)


def draw(path, seed):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (128, 128), dtype=np.uint8)).save(path)


def study(run, number, n_images):
    images = []
    for i in range(n_images):
        name = f"images/{number}-{i}.png"
        draw(run.root / name, 10 * number + i)
        images.append(ImageRef(name, ids.file_sha256(run.root / name), "frontal", 128, 128))
    return Study(f"s{number}", f"q{number}", tuple(images), None, TEXTS[0], None, (), "prefer", "made", "none")


def make_run(runs, name, checkpoint, *, ask="Findings {}:"):
    """A run folder up to its candidates: four for each prompt, all with the same four texts."""
    run = RunFolder(runs / name)
    run.images.mkdir(parents=True)
    (run.root / "policy").mkdir()
    run.policy(SFT).symlink_to(checkpoint)
    studies = [study(run, i, [2, 1, 1, 1, 0][i]) for i in range(N_STUDIES)]
    write(run.studies, studies)
    write(run.prompts, [Prompt(f"p{i}", f"s{i}", "findings", ask.format(i), "t@1") for i in range(N_STUDIES)])
    write(run.candidates, [Candidate(c, p, TEXTS[int(c[-1])], 1, None, "stop", 0, "sft") for p, c in ALL])
    return run


@pytest.fixture
def run(runs_folder, checkpoint):
    return make_run(runs_folder, "first", checkpoint)


def worker_of(run, wanted=ALL, **options):
    return RefLogpsWorker(run, requests_of(wanted), 2, **{"weights": "w", "part_size": 3} | options)


def reference(run, wanted=ALL, **options):
    """The rows by prompt and candidate, and the manifest's numbers, after the stage was carried out."""
    worker = worker_of(run, wanted, **options)
    key = StageKey("ref_logps", {}, {"wanted": sorted(wanted), "options": options}, 0)
    manifest = with_sources(ref_table(run), run_parts(ref_table(run), worker, key=key, n_parts=worker.n_parts))
    rows = {(r.prompt_id, r.candidate_id): (r.sum_logp, r.n_tokens) for r in ref_table(run).rows()}
    assert sorted(rows) == sorted(set(wanted))
    numbers = {name: manifest.extra[name] for name in ("from_cache", "computed", "damaged_rows")}
    return rows, tuple(numbers.values())


def alone(policy, run, prompt_id, text, route=separate_logps):
    """The log-prob of one completion by a forward of its own."""
    studies, prompts = ({row.id: row for row in table.rows()} for table in (run.studies, run.prompts))
    prompt = prompts[prompt_id]
    ask = ask_of(studies[prompt.study_id], prompt.text, root=run.root, max_images=2)
    (example,) = encode(policy, [Target("x", ask, (text,))])
    vision = Pixels(policy.model, policy.processor).inputs([example.images])
    with torch.no_grad():
        return route(policy.model, pack([example], pad_id=policy.tokenizer.pad_token_id), vision)


def test_log_probs_are_those_of_separate_sequences(run, policy):
    rows, numbers = reference(run)
    assert numbers == (0, len(ALL), 0)
    for (prompt_id, candidate_id), (sum_logp, n_tokens) in rows.items():
        logps = alone(policy, run, prompt_id, TEXTS[int(candidate_id[-1])])
        assert sum_logp == pytest.approx(logps.sums().item(), rel=1e-5)
        assert n_tokens == logps.counts().item()
        assert np.float32(sum_logp) == sum_logp
    assert len({value for value, _ in rows.values()}) == len(ALL), "images and prompts matter"


def test_another_run_of_the_folder_computes_nothing_and_gets_the_same_values(run, runs_folder, checkpoint):
    first, _ = reference(run)
    again, numbers = reference(make_run(runs_folder, "second", checkpoint))
    assert numbers == (len(ALL), 0, 0)
    assert again == first
    elsewhere, numbers = reference(make_run(runs_folder / "more", "third", checkpoint))
    assert numbers == (0, len(ALL), 0), "another folder of runs has a cache of its own"
    assert elsewhere == first


def test_only_what_is_missing_is_computed(run):
    first, numbers = reference(run, ALL[::3])
    assert numbers == (0, len(ALL[::3]), 0)
    every, numbers = reference(run)
    assert numbers == (len(ALL[::3]), len(ALL) - len(ALL[::3]), 0)
    assert {request: every[request] for request in first} == first
    assert reference(run) == (every, numbers), "what is finished keeps its account"


def pair(prompt, chosen, rejected):
    name = f"p{prompt}"
    return Pair(f"{name}-{chosen}{rejected}", name, f"{name}-{chosen}", f"{name}-{rejected}", 1.0, 0, "j@1", "r@1")


def wanted_by(pairs, *, mismatch_seed=None):
    found = completions_of(pairs, mismatch_seed=mismatch_seed)
    return {(p.prompt_id, i) for p, names in zip(pairs, found, strict=True) for i in names}


def test_two_arms_share_their_values(run, runs_folder, checkpoint):
    """DPO and LC-DPO on one judge's pairs, then KTO, which also asks for completions of other prompts."""
    pairs = [pair(0, 0, 1), pair(1, 2, 0), pair(2, 1, 3)]
    dpo, numbers = reference(run, wanted_by(pairs))
    assert numbers == (0, 6, 0)
    other = make_run(runs_folder, "lc_dpo", checkpoint)
    lc_dpo, numbers = reference(other, wanted_by(pairs))
    assert numbers == (6, 0, 0)
    assert lc_dpo == dpo
    wanted = wanted_by(pairs, mismatch_seed=1)
    texts = {(prompt_id, candidate_id[-1]) for prompt_id, candidate_id in wanted}  # all prompts have the same ones
    kto, numbers = reference(make_run(runs_folder, "kto", checkpoint), wanted)
    assert len(wanted) == 9
    assert numbers == (6, len(texts) - 6, 0)
    assert {request: kto[request] for request in dpo} == dpo
    judged_otherwise = [pair(0, 1, 0), pair(1, 2, 3)]
    _, numbers = reference(other, wanted_by(judged_otherwise))
    assert numbers == (3, 1, 0)


@pytest.fixture
def forwards(monkeypatch):
    """The number of completions in each row that went through the shared path, after the self-check."""
    rows = []

    def counted(model, batch, vision):
        rows.extend(batch["segments"].amax(1).tolist())
        return shared_logps(model, batch, vision)

    monkeypatch.setattr(sharing, "shared_logps", counted)
    monkeypatch.setattr(sharing, "disagreement", lambda *_: rows.clear() or 0.0)
    return rows


def test_a_prompt_is_run_once_for_all_that_is_missing_of_it(run, forwards):
    reference(run, ALL[:7])
    assert sorted(forwards) == [3, 4]
    forwards.clear()
    reference(run, [*ALL[:8], ("p4", "p0-3")])
    assert sorted(forwards) == [1, 1]


def test_more_than_eight_completions_are_several_rows_and_an_equal_text_is_scored_once(run, forwards):
    texts = [f"{TEXTS[i % 4]} {TEXTS[i // 4]}" for i in range(10)]
    many = [Candidate(f"c{i:02}", "p1", texts[i % 10], 1, None, "stop", i, "x") for i in range(12)]
    write(run.candidates, many)
    rows, numbers = reference(run, [("p1", c.id) for c in many])
    assert numbers == (0, 10, 0)
    assert sorted(forwards) == [2, 8]
    assert len(set(rows.values())) == 10
    assert (rows["p1", "c10"], rows["p1", "c11"]) == (rows["p1", "c00"], rows["p1", "c01"])


def test_a_changed_image_is_another_key_although_its_path_is_the_same(run):
    before, _ = reference(run)
    draw(run.image_path(run.studies.rows()[1].images[0]), 99)
    shutil.rmtree(run.ref_logps)
    after, numbers = reference(run)
    assert numbers == (len(ALL) - 4, 4, 0)
    assert {request[0] for request in ALL if before[request] != after[request]} == {"p1"}


def test_a_changed_prompt_or_chat_template_is_another_key(run, runs_folder, checkpoint):
    reference(run)
    _, numbers = reference(make_run(runs_folder, "template", checkpoint, ask="Write findings {}:"))
    assert numbers == (0, len(ALL), 0)
    worker = worker_of(run, ALL[:4])
    worker.setup()
    assert worker.part(0).extra["from_cache"] == 4
    worker._policy.processor.chat_template = worker._policy.processor.chat_template.replace("<ask>", "<ask><ask>")
    assert worker.part(0).extra["computed"] == 4


@pytest.mark.parametrize("option", [{"weights": "other"}, {"precision": "bf16"}])
def test_values_of_other_weights_or_precision_are_not_taken(run, option):
    exact, _ = reference(run)
    rows, numbers = reference(run, **option)
    assert numbers == (0, len(ALL), 0)
    assert (rows == exact) == ("weights" in option)
    assert len(list(ref_cache_folder(run).iterdir())) == 2


def test_bf16_is_taken_under_autocast_as_in_training(run, policy):
    rows, _ = reference(run, ALL[:2], precision="bf16")
    with torch.autocast("cpu", torch.bfloat16):
        expected = [alone(policy, run, "p0", TEXTS[i], shared_logps).sums().item() for i in (0, 1)]
    exact = [alone(policy, run, "p0", TEXTS[i]).sums().item() for i in (0, 1)]
    found = [rows[request][0] for request in ALL[:2]]
    assert found == pytest.approx(expected, rel=5e-3)
    assert found == pytest.approx(exact, rel=2e-2)
    assert found != pytest.approx(exact, rel=1e-5)


def test_a_damaged_file_is_computed_again_and_said_so(run):
    first, _ = reference(run)
    damaged, *rest = sorted(ref_cache_folder(run).glob("*/*.parquet"))
    assert len(rest) == 1, "one file per part"
    n = int(damaged.stem.rpartition("-")[2])
    damaged.write_bytes(b"PAR1")
    shutil.rmtree(run.ref_logps)
    again, numbers = reference(run)
    assert numbers == (len(ALL) - n, n, n)
    assert again == first


def test_a_cache_of_another_model_stops_the_stage_before_anything_is_computed(run):
    reference(run, ALL[:4])
    (identity,) = ref_cache_folder(run).glob(f"*/{IDENTITY}")
    identity.write_text(identity.read_text().replace('"sdpa"', '"eager"'))
    with pytest.raises(UserError, match="different: attention"):
        worker_of(run).setup()


def test_what_is_not_finite_is_refused_and_not_kept(run):
    worker = worker_of(run)
    worker.setup()
    with torch.no_grad():
        worker._policy.model.lm_head.weight[5] = float("nan")
    with pytest.raises(UserError, match=r"log-prob of p\d is not a finite number") as e:
        worker.part(0)
    assert not any(text in str(e.value) for text in TEXTS)
    assert list(ref_cache_folder(run).glob("*/*.parquet")) == []


def shared_wrongly(model, batch, vision):
    logps = shared_logps(model, batch, vision)
    return TokenLogps(logps.logps * 1.1, logps.rows, logps.branches, logps.shape)


def shared_never(model, batch, vision):
    raise IndexError("no such axis")


@pytest.mark.parametrize(
    ("name", "stand_in"),
    [("sharing_refused", lambda model: "because"), ("shared_logps", shared_wrongly), ("shared_logps", shared_never)],
    ids=["refused", "wrong", "raises"],
)
def test_where_sharing_is_refused_or_wrong_each_completion_gets_its_own_forward(run, monkeypatch, name, stand_in):
    expected, _ = reference(run)
    monkeypatch.setattr(sharing, name, stand_in)
    rows, numbers = reference(run, weights="other")
    assert numbers == (0, len(ALL), 0)
    for request, (sum_logp, n_tokens) in expected.items():
        assert rows[request] == (pytest.approx(sum_logp, rel=1e-5), n_tokens)


def test_requests_are_sorted_and_cut_at_prompts():
    wanted = [("b", "2"), ("a", "3"), ("b", "1"), ("a", "3")]
    assert requests_of(wanted) == [("a", ("3",)), ("b", ("1", "2"))]
    assert requests_of([]) == []
    assert [worker_of(None, ALL[:n], part_size=2).n_parts for n in (0, 1, 8, 9)] == [0, 1, 1, 2]
