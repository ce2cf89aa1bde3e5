"""Reading a recipe: from YAML and `--set` to a `Recipe`, and back to where each value came from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from chexalign.errors import UserError
from chexalign.recipe.blocks import OWN_PARAMETERS, Block
from chexalign.recipe.errors import Key, dotted, field_at, user_error
from chexalign.recipe.judges import JudgeSpec
from chexalign.recipe.whole import Recipe

_HERE = Path(__file__).resolve().parents[1]  # the folder of the whole package
_OTHER_FILES = ("accelerate", "slurm", "grids")  # folders beside the recipes, with files of other kinds


class _Loader(yaml.SafeLoader):
    """Safe YAML where 1e-4 is a number, as in YAML 1.2, and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass(frozen=True, slots=True)
class Source:
    """A recipe as it was written: plain values with the overrides applied, and where each key stands."""

    path: Path
    raw: dict[str, Any]
    lines: dict[Key, int]
    overrides: frozenset[Key] = field(default_factory=frozenset)

    def written(self, key: Key) -> Key:
        """The key as the file writes it: an arm's inherited value is written in the top-level block."""
        if key[:1] == ("arms",) and len(key) > 2:
            inherited, arms = key[2:], self.raw.get("arms")
            if not isinstance(arms, dict):
                return inherited
            own = inherited[0] == "judge" and self._given(("arms", key[1], "judge"))
            own = own or (inherited[-1] in OWN_PARAMETERS and self._other_algorithm(key[1], ()))
            if not own and not self._given(key) and self._given(inherited[:1]):
                return inherited
        if key[:2] == ("mine", "arms") and key[3:4] == ("train",) and not self._given(key):
            own = key[-1] in OWN_PARAMETERS and self._other_algorithm(key[2], ("mine",))
            return ("mine", *key[3:]) if not own and self._given(("mine", "train")) else key
        if key == ("evaluate", "max_new_tokens") and not self._given(key) and self._given(("sample", key[1])):
            return ("sample", key[1])
        return key

    def line(self, key: Key) -> int | None:
        """The line of the key, or of the nearest block around it."""
        return next((self.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self.lines), None)

    def origin(self, key: Key) -> str:
        """Where the value of the key came from: "--set", "recipe line N" or "default"."""
        key = self.written(key)
        if any(key[: len(other)] == other or other[: len(key)] == key for other in self.overrides):
            return "--set"
        return f"recipe line {self.lines[key]}" if key in self.lines else "default"

    def _other_algorithm(self, arm: str | int, block: Key) -> bool:
        """Whether an arm names an algorithm of its own, other than that of the block which holds `train` and `arms`."""
        first, second = (_at(self.raw, (*block, *key, "algorithm")) for key in (("train",), ("arms", arm, "train")))
        return second is not None and second != first

    def _given(self, key: Key) -> bool:
        return key in self.lines or any(other[: len(key)] == key for other in self.overrides)


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a resolved recipe: where it came from, and what it means."""

    key: str
    value: Any
    origin: str
    doc: str


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file, or of a built-in name such as "demo", with overrides such as "train.beta=0.05" applied.

    Raises: UserError for a missing file, broken YAML, an unknown key, a missing choice or a wrong value;
    it tells the first problem of the file in full and names the others.
    """
    return validate(read_source(path, overrides))


def read_source(path: Path | str, overrides: Sequence[str] = ()) -> Source:
    """The recipe as written, overrides applied, not yet validated.

    Raises: UserError for a file that is not a recipe, or an override that every arm replaces.
    """
    path = find_recipe(path)
    raw, lines = _parse(path)
    keys = [_override(raw, text) for text in overrides]
    for key, text in zip(keys, overrides, strict=True):
        _need_effect(raw, key, text)
    return Source(path, raw, lines, frozenset(keys))


def validate(source: Source) -> Recipe:
    """The recipe of a source, every default filled in."""
    try:
        return Recipe.model_validate(source.raw)
    except ValidationError as error:
        raise user_error(error.errors(include_url=False), source) from None


def explain(recipe: Recipe, source: Source) -> list[Row]:
    """One row per value of the recipe, in the recipe's order; `recipe` is that of `source`."""
    rows, several = [], isinstance(source.raw.get("arms"), dict)
    for key, value in _leaves(recipe, ()):
        shown = key if several or key[0] == "mine" else source.written(key)
        found = field_at(key)
        rows.append(Row(dotted(shown), value, source.origin(key), (found.description or "") if found else ""))
    return rows


def recipe_names() -> list[str]:
    """The built-in recipes by name, such as "demo"; sorted."""
    folder = _recipes_folder()
    files = [path.relative_to(folder) for path in folder.rglob("*.yaml")]
    return sorted(path.with_suffix("").as_posix() for path in files if path.parts[0] not in _OTHER_FILES)


def find_recipe(path: Path | str) -> Path:
    """The file of a recipe, given as a path or as the name of a built-in one.

    Raises: UserError when there is no such file; it names the nearest built-in recipe.
    """
    wanted = Path(path)
    built_in = _recipes_folder() / f"{wanted.as_posix().removesuffix('.yaml').removeprefix('recipes/')}.yaml"
    for candidate in (wanted, built_in):
        if candidate.is_file():
            return candidate
    names = recipe_names()
    near = difflib.get_close_matches(wanted.stem, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(
        f"there is no recipe {str(path)!r}",
        f"neither a file of that path nor a built-in recipe; the built-in ones are: {', '.join(names) or 'none'}",
        f"{hint}give the path of a YAML file, or one of these names",
    )


def _recipes_folder() -> Path:
    packaged = _HERE / "recipes"
    return packaged if packaged.is_dir() else _HERE.parents[1] / "recipes"


def _parse(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    fix = "mend the line; `recipes/demo.yaml` is a recipe that works"
    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.load(text, _Loader)
        node = yaml.compose(text, _Loader)
    except UnicodeDecodeError:
        raise UserError(f"{path} cannot be read", "it is not UTF-8 text", "give a YAML file") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line} is not YAML", str(error.problem or "it cannot be parsed"), fix) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML", str(error).splitlines()[0], fix) from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} is not a recipe", "its top level must be keys such as run, data and policy", fix)
    return raw, dict(_lines(node, ()))


def _lines(node: yaml.Node | None, key: Key) -> Iterator[tuple[Key, int]]:
    """The line on which each key of the file stands, from 1."""
    if isinstance(node, yaml.MappingNode):
        children = [(name.value, name, value) for name, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, value, value) for index, value in enumerate(node.value)]
    else:
        children = []
    for name, at, value in children:
        yield (*key, name), at.start_mark.line + 1
        yield from _lines(value, (*key, name))


def _override(raw: dict[str, Any], text: str) -> Key:
    """Sets one value of `raw` in place, as "train.beta=0.05" says; gives the key back."""
    name, equals, value = text.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        raise UserError(
            f"--set {text}", "an override is a dotted key, = and a value", "write for example --set train.beta=0.05"
        )
    block = raw
    for depth, key in enumerate(keys[:-1], start=1):
        inner = block.get(key)
        if inner is not None and not isinstance(inner, dict):
            raise UserError(
                f"--set {text}",
                f"{'.'.join(keys[:depth])} is a single value in the recipe, so it has no keys",
                f"set the whole of it, for example --set '{'.'.join(keys[:depth])}={{name: ...}}'",
            )
        inner = {} if inner is None else inner
        block[key], block = inner, inner
    try:
        block[keys[-1]] = yaml.load(value, _Loader)
    except yaml.YAMLError:
        raise UserError(f"--set {text}", "the value is not YAML", "quote it, or use [a, b] for a list") from None
    return keys


def _need_effect(raw: dict[str, Any], key: Key, text: str) -> None:
    """Refuses an override of what arms share that would change nothing, since no arm takes it over."""
    block: Key = key[:1] if key[:2] == ("mine", "train") else ()
    name = key[len(block)]
    if name not in ("judge", "pairs", "train"):
        return
    arms = _at(raw, (*block, "arms"))
    if not block and not arms and isinstance(raw.get("mine"), dict) and not raw.keys() >= {"judge", "pairs", "train"}:
        raise UserError(
            f"--set {text}",
            "no policy of the recipe learns from candidates, all learn from mined questions, so this would change "
            "nothing",
            f"set it for those: --set mine.{text}" if name == "train" else f"leave it out, or set {_MISSING}",
        )
    if not isinstance(arms, dict) or not arms:
        return
    own = key[:1] if name == "judge" else key[len(block) :]  # an arm's judge replaces the whole of it
    value = None if name == "judge" else _at(raw, key)
    if all(_replaces(_at(arm, own), value) for arm in arms.values()):
        raise UserError(
            f"--set {text}",
            f"every arm of the recipe has its own {dotted(own)}, so this would change nothing",
            f"set it for an arm, for example --set {dotted((*block, 'arms'))}.{next(iter(arms))}."
            f"{text[len(dotted(block)) + 1 :] if block else text}",
        )


_MISSING = "judge, pairs and train, which make a preference run"


def _at(block: Any, key: Key) -> Any:
    for name in key:
        block = block.get(name) if isinstance(block, dict) else None
    return block


def _replaces(own: Any, value: Any) -> bool:
    """Whether an arm's own value leaves nothing of a top-level one."""
    if isinstance(own, dict) and isinstance(value, dict) and value:
        return all(_replaces(own.get(name), inner) for name, inner in value.items())
    return own is not None


def _leaves(block: Block, key: Key) -> Iterator[tuple[Key, Any]]:
    for name, info in type(block).model_fields.items():
        value, here = getattr(block, name), (*key, info.alias or name)
        if isinstance(value, JudgeSpec):
            yield here, value.model_dump(mode="json")
        elif isinstance(value, Block):
            yield from _leaves(value, here)
        elif here in (("arms",), ("mine", "arms")):
            for arm, spec in value.items():
                yield from _leaves(spec, (*here, arm))
        elif value is not None or here[-1] not in OWN_PARAMETERS:
            young = value if isinstance(value, str | int | float) else None  # a default that is not written, see blocks
            yield here, block.model_dump(mode="json", by_alias=True).get(info.alias or name, young)
