"""The registry finds built-ins and plugins, loads them late, and says what is wrong."""

from __future__ import annotations

import sys
import tomllib

import pytest

from chexalign import registry as module
from chexalign.errors import UserError
from chexalign.registry import KINDS, Entry, Registry

ENTRIES = [
    Entry("judges", "ordered", "collections:OrderedDict", "chexalign"),
    Entry("judges", "broken", "a_module_that_is_nowhere:Judge", "acme-judges"),
    Entry("judges", "no_class", "collections:NoSuchClass", "acme-judges"),
]


def test_get_imports_the_module_only_when_asked(monkeypatch):
    entries = [Entry("judges", "late", "wave:Wave_read", "chexalign")]
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    judges = Registry("judges", entries)
    assert judges.names() == ["late"]
    assert "wave" not in sys.modules
    assert judges.get("late").__name__ == "Wave_read"
    assert "wave" in sys.modules


def test_an_unknown_name_gets_the_nearest_and_the_list():
    with pytest.raises(UserError) as caught:
        Registry("judges", ENTRIES).get("orderd")
    assert caught.value.what == "there is no judge 'orderd'"
    assert "did you mean 'ordered'?" in caught.value.fix
    assert "`chexalign list judges`" in caught.value.fix


def test_an_unknown_name_with_nothing_near_has_no_suggestion():
    with pytest.raises(UserError) as caught:
        Registry("pair_rules", []).get("zzz")
    assert caught.value.what == "there is no pair rule 'zzz'"
    assert "did you mean" not in caught.value.fix


@pytest.mark.parametrize("name", ["broken", "no_class"])
def test_a_plugin_that_cannot_be_loaded_is_named_with_its_package(name):
    with pytest.raises(UserError, match="acme-judges") as caught:
        Registry("judges", ENTRIES).get(name)
    assert caught.value.__cause__ is not None


def test_a_name_that_two_packages_claim_is_refused():
    twice = [*ENTRIES, Entry("judges", "ordered", "collections:Counter", "acme-judges")]
    with pytest.raises(UserError, match="claimed by several packages: acme-judges, chexalign"):
        Registry("judges", twice).get("ordered")


@pytest.mark.parametrize("kind", KINDS)
def test_built_ins_are_those_of_pyproject_even_with_stale_metadata(kind, monkeypatch):
    monkeypatch.setattr(module.metadata, "entry_points", lambda group: [])
    declared = tomllib.loads(module._PYPROJECT.read_text())["project"]["entry-points"]
    assert {entry.name: entry.target for entry in Registry(kind).entries()} == declared[f"chexalign.{kind}"]


def test_without_a_source_tree_the_metadata_speaks(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PYPROJECT", tmp_path / "pyproject.toml")
    assert "dpo" in Registry("losses").names()


def test_someone_elses_pyproject_is_not_ours(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    monkeypatch.setattr(module, "_PYPROJECT", tmp_path / "pyproject.toml")
    assert module._source_tree("chexalign.judges") is None
