"""Cards are written from manifests and estimates, and every figure names its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chexalign import artifact, atomic
from chexalign.cards.sources import Sources, told
from chexalign.cards.write import cards
from chexalign.cli import main
from chexalign.errors import UserError
from chexalign.run_folder import RunFolder
from chexalign.train.card import About, write_card
from tests.compared_runs import ARM, finished, finished_run, noisy
from tests.prepared import clean, question, write_tables

N = 30
ADDED = "## Thanks\n\nTo all who read 12 reports.\n"


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A finished run whose arm has the card of its training, to which a person added a section."""
    before = noisy(N, 0.4, 1)
    scores = {"sft": {"green": before}, ARM: {"green": [value + 0.2 for value in before]}}
    run = finished_run(tmp_path / "made", scores)
    about = About(ARM, "sft", "dpo", {"beta": 0.1}, None, ["vision"], "digest", ["CC0"], True)
    write_card(run.policy(ARM), about, rows=40, dropped={"too_long": 2}, checks={}, steps=7)
    path = run.policy(ARM) / artifact.CARD
    path.write_text(path.read_text() + "\n" + ADDED)
    atomic.write_json(run.policy(ARM) / artifact.LOG, [{"step": 7, "peak_memory_mb": 512.0}])
    (run.scores("green").folder).mkdir(parents=True)
    finished(run.scores("green"), run.metric("green", "sft").rows())
    return run


def problem(*args) -> UserError:
    with pytest.raises(UserError) as caught:
        cards(*args)
    assert len(str(caught.value).splitlines()) == 3
    return caught.value


def notes_of(text: str) -> dict[str, tuple[str, str]]:
    """Footnotes by number: file and key."""
    return {number: (file, key) for number, file, key in re.findall(r"^\[\^(\d+)\]: `(.+?)`: (.+)$", text, re.M)}


def test_a_run_has_cards_of_models_preferences_and_tables(run):
    assert list(cards(run.root)) == [f"{ARM}-model.md", f"{ARM}-preferences.md", "data.md"]
    assert list(cards(run.root, ARM)) == [f"{ARM}-model.md", f"{ARM}-preferences.md", "data.md"]


def test_every_footnote_is_used_and_names_a_file_that_is_there(run):
    for text in cards(run.root).values():
        notes = notes_of(text)
        used = re.findall(r"\[\^(\d+)\](?!:)", text)
        assert set(used) == set(notes)
        assert all(list(run.root.glob(file)) for file, _ in notes.values())


def test_the_numbers_of_the_evaluation_are_at_the_places_that_are_named(run):
    text = cards(run.root)[f"{ARM}-model.md"]
    line = next(line for line in text.splitlines() if line.startswith("| GREEN["))
    number = re.search(r"\[\^(\d+)\]", line).group(1)
    file, key = notes_of(text)[number]
    rows = json.loads((run.root / file).read_text())["estimates"]
    places = [int(place) for place in re.findall(r"estimates\[(\d+)\]", key)]
    assert [(rows[p]["metric"], rows[p]["policy"], rows[p]["baseline"]) for p in places] == [
        ("green", ARM, None),
        ("green", "sft", None),
        ("green", ARM, "sft"),
    ]
    for place, cell in zip(places, line.split("|")[2:5], strict=True):
        assert f"{rows[place]['value']:.3f}" in cell
        assert f"{rows[place]['low']:.3f}" in cell
    assert f"| {N} / {N} |" in line


def test_what_a_person_added_is_kept_and_the_placeholder_is_gone(run):
    text = cards(run.root)[f"{ARM}-model.md"]
    assert ADDED in text
    assert "Not here:" not in text
    assert "Not for clinical use" in text
    assert "License of the studies: CC0" in text
    assert text.count("## Evaluation") == 1
    assert "512 MB" in text


def test_a_line_that_is_not_the_manifest_s_has_no_footnote(run):
    path = run.policy(ARM) / artifact.CARD
    text = cards(run.root)[f"{ARM}-model.md"]
    assert re.search(r"\| rows \| 40 in 7 updates\[\^\d+\] \|", text)
    path.write_text(path.read_text().replace("40 in 7", "99 in 7"))
    assert "| rows | 99 in 7 updates |" in cards(run.root)[f"{ARM}-model.md"]


def test_what_was_left_out_is_told_by_reason(run):
    text = cards(run.root)[f"{ARM}-preferences.md"]
    assert re.search(rf"\| `pairs/{ARM}` \| 40\[\^\d+\] \| tie 3\[\^\d+\] \|", text)
    assert re.search(r"`green`: `green@1`\[\^\d+\]", text)
    assert "chosen, score" in text


def test_few_studies_have_the_reason_in_place_of_an_interval(tmp_path):
    before = noisy(10, 0.4, 1)
    few = finished_run(tmp_path / "few", {"sft": {"green": before}, ARM: {"green": before}})
    about = About(ARM, "sft", "dpo", {}, None, [], "digest", ["CC0"], True)
    write_card(few.policy(ARM), about, rows=40, dropped={}, checks={}, steps=7)
    assert "no interval: 10 clusters, fewer than 20" in cards(few.root)[f"{ARM}-model.md"]


def test_no_card_holds_a_report_or_a_path_of_the_machine(run):
    for text in cards(run.root).values():
        assert "pleural effusion. No" not in text
        assert "heart is enlarged" not in text
        assert str(run.root.parent) not in text
    assert "root" not in told([{"source": "x", "root": "/data/secret", "deep": {"images": "/y"}}])


def test_a_model_that_was_trained_again_gets_no_card(run):
    folder = run.predictions(ARM).folder
    content = atomic.read_json(folder / "manifest.json")
    atomic.write_json(folder / "manifest.json", {**content, "inputs": {"policy": "another"}})
    assert "another checkpoint" in problem(run.root).what


def test_what_is_missing_is_told(run, tmp_path):
    assert ARM in problem(run.root, "absent").why
    (run.policy(ARM) / artifact.CARD).unlink()
    assert "no finished checkpoint with a card" in problem(run.root).what
    assert "no run folder" in problem(tmp_path, ARM).what
    assert "no prepared tables" in problem(tmp_path / "made" / "policy").what


def test_prepared_tables_have_a_card(tmp_path):
    root = tmp_path / "prepared"
    write_tables(root, clean(root, 16), {"made": [question(i, "test") for i in range(9)]})
    found = cards(root)
    assert list(found) == ["data.md"]
    assert re.search(r"\| sft \| 12\[\^\d+\] \| 12 \|", found["data.md"])
    assert re.search(r"Source: made-up-questions, 9 rows\[\^\d+\]", found["data.md"])
    assert "Study number" not in found["data.md"]


def test_the_command_writes_or_prints(run, tmp_path, capsys):
    out = tmp_path / "cards"
    assert main.main(["card", str(run.root), "--to", str(out)]) == 0
    assert [Path(line).name for line in capsys.readouterr().out.split()] == list(cards(run.root))
    assert (out / "data.md").stat().st_mode & 0o777 == 0o600
    assert main.main(["card", str(run.root)]) == 0
    assert "# Preferences on chest X-ray reports" in capsys.readouterr().out
    assert main.main(["card", str(tmp_path / "absent")]) == 2


def test_the_same_key_has_one_footnote():
    sources = Sources()
    assert sources.note("a", "x") == sources.note("a", "x") != sources.note("a", "y")
    assert sources.lines() == ["[^1]: `a`: x", "[^2]: `a`: y"]
