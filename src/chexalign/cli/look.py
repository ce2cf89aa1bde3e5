"""What a plan finds by looking: at some studies of the split, their images, their prompts, and the model's sizes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.policy.base import Ask
    from chexalign.policy.outlook import Outlook, Rates
    from chexalign.recipe import Recipe

_STUDIES = 16
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen; `outlook` and `rates` are None where the policy's sizes are not known yet."""

    lines: tuple[str, ...]
    studies: Mapping[str, int] = field(default_factory=dict)  # of each split; empty where nothing was looked at
    outlook: Outlook | None = None
    rates: Rates | None = None

    def rows(self, recipe: Recipe, split: str) -> int:
        """Studies of a split: those there are, or those that the recipe asks for where nothing was looked at."""
        asked = {str(name): n for name, n in recipe.data.split.items()}
        return self.studies.get(split, asked.get(split, 0))

    def sample_seconds(self, recipe: Recipe, prompts: int) -> float | None:
        """Seconds for the candidates of so many prompts, over the recipe's actors."""
        spec = recipe.sample
        return self._generate(recipe, prompts, spec.n, spec.max_new_tokens, spec.batch_size)

    def report_seconds(self, recipe: Recipe, reports: int) -> float | None:
        """Seconds for so many greedy reports, over the recipe's actors."""
        spec = recipe.evaluate
        return self._generate(recipe, reports, 1, spec.max_new_tokens, spec.batch_size)

    def train_seconds(self, recipe: Recipe, completions: int, *, backward: bool) -> float | None:
        """Seconds for the log-probs of so many completions, with their gradients or without."""
        if self.outlook is None or self.rates is None:
            return None
        tokens = recipe.sample.max_new_tokens
        seconds = self.outlook.train_seconds(self.rates, completions=completions, new_tokens=tokens, backward=backward)
        return round(seconds, 1)

    def _generate(self, recipe: Recipe, prompts: int, draws: int, tokens: int, batch: int | str) -> float | None:
        if self.outlook is None or self.rates is None:
            return None
        size = batch if isinstance(batch, int) else max(1, self.outlook.fits(self.rates))
        seconds = self.outlook.generate_seconds(
            self.rates, prompts=prompts, draws=draws, new_tokens=tokens, batch=min(size, max(1, prompts))
        )
        return round(seconds / (recipe.cluster.actors if recipe.cluster else 1), 1)


def look_at(recipe: Recipe, items: Sequence[Any]) -> Look:
    """Makes a few studies of the split that candidates are drawn for, reads their images and measures the model.

    Where no candidates are drawn, studies of the split that reports are evaluated on.

    Raises: UserError when no study of the split can be used, no prompt fits into the model's context, or the recipe
    sends data to a server that may not have them.
    """
    mine = [item for item in items if getattr(item, "split", None) == _split(recipe)]
    if not mine:
        return Look(())
    studies = Counter(item.split for item in items)
    chosen = mine[:: -(-len(mine) // _STUDIES)]
    with tempfile.TemporaryDirectory() as folder:
        asks, licenses, dropped = _asks(recipe, chosen, Path(folder))
        _check_servers(recipe, licenses)
        lines = [_found(len(asks), len(chosen), len(mine), dropped)]
        if recipe.sample.endpoint is not None and recipe.resolved_arms():
            return Look((*lines, _server(recipe, asks)), studies)
        if recipe.policy.tiny is not None:
            return Look(tuple(lines), studies)
        return _measured(recipe, asks, lines, studies)


def _split(recipe: Recipe) -> str:
    return recipe.sample.split if recipe.resolved_arms() else recipe.evaluate.split


def _asks(recipe: Recipe, items: Sequence[Any], folder: Path) -> tuple[list[Ask], set[str], Counter[str]]:
    """What the policy would be asked about these items, the licenses of the data, and why some are left out."""
    from chexalign.data.base import DropStudyError
    from chexalign.data.templates import get_template
    from chexalign.policy.asks import ask_of
    from chexalign.policy.hf import open_image
    from chexalign.workflow import make_dataset

    dataset, template = make_dataset(recipe), get_template(recipe.policy.template).showing(recipe.policy.max_images)
    asks, licenses, dropped = [], set(), Counter[str]()
    (folder / "images").mkdir()
    for item in items:
        try:
            study = dataset.study(item, folder / "images")
        except DropStudyError as e:
            dropped[str(e)] += 1
            continue
        try:
            prompt = template.fill(study).text
            ask = ask_of(study, prompt, root=folder, max_images=recipe.policy.max_images)
            for path in ask.images:
                open_image(path)
        except UserError:
            dropped["image_unreadable"] += 1
        else:
            licenses.add(study.license)
            if ask.images:
                asks.append(ask)
            else:
                dropped["no_image"] += 1
    if not asks:
        raise UserError(
            f"None of {len(items)} studies of the split {_split(recipe)} that were looked at can be used: "
            + ", ".join(f"{reason} {n}" for reason, n in sorted(dropped.items()))
            + ".",
            "There would be nothing to ask the policy about.",
            "Check data.images or data.root, and data.views.",
        )
    return asks, licenses, dropped


def _found(usable: int, looked_at: int, studies: int, dropped: Counter[str]) -> str:
    reasons = "".join(f"; {reason} {n}" for reason, n in sorted(dropped.items()))
    return f"images: {usable} of {looked_at} studies looked at have images that can be read (of {studies}){reasons}"


def _check_servers(recipe: Recipe, licenses: set[str]) -> None:
    """Raises: UserError when a policy or a judge would send data to a server that may not have them."""
    from chexalign.judges.stage import servers_of
    from chexalign.privacy import check_license

    arms = recipe.resolved_arms()
    judges = [*(arm.judge for arm in arms.values()), *recipe.evaluate.metrics]
    servers = [server for judge in judges for server in servers_of(judge)]
    for server in [*servers, *([recipe.sample.endpoint] if arms and recipe.sample.endpoint else [])]:
        for license_ in sorted(licenses):
            check_license(server.url, license_, endpoint_is_mine=server.endpoint_is_mine)


def _server(recipe: Recipe, asks: Sequence[Ask]) -> str:
    spec = recipe.sample.endpoint
    assert spec is not None
    size = sum(path.stat().st_size for ask in asks for path in ask.images) / len(asks) / 2**20
    return (
        f"server: {spec.url}, {spec.concurrency} requests at a time, {size:.1f} MiB of images each; time and tokens "
        "are the server's, `chexalign sample RECIPE --limit 100` measures them"
    )


def _measured(recipe: Recipe, asks: Sequence[Ask], lines: list[str], studies: Mapping[str, int]) -> Look:
    from chexalign.policy.outlook import look, measure_rates

    spec, precision = recipe.sample, recipe.compute.generate if recipe.compute else "fp32"
    new_tokens = spec.max_new_tokens
    outlook = look(Path(recipe.policy.model), asks, draws=spec.n, new_tokens=new_tokens, precision=precision)
    rates = measure_rates(precision)
    if outlook.unusable:
        lines.append(f"warning: the model cannot be asked {outlook.unusable} of these {len(asks)} prompts")
    lines += [*_context(outlook, new_tokens), *_memory(outlook, rates, spec.n, precision)]
    lines.append(
        f"seconds of the model: at {rates.flops / 1e9:,.0f} GFLOP/s in a product of matrices and "
        f"{rates.bytes / 1e9:,.0f} GB/s of memory, as this machine ({rates.device}) reached just now; 2 operations per "
        "weight and token, 6 with gradients, completions of full length; a real run is slower, try `sample --limit`"
    )
    return Look(tuple(lines), studies, outlook, rates)


def _context(outlook: Outlook, new_tokens: int) -> Iterator[str]:
    """The lengths of prompts against the model's context."""
    tokens, window = outlook.tokens, outlook.context
    if window is None:
        yield f"prompts: {min(tokens)} to {max(tokens)} tokens with images, and up to {new_tokens} more"
        return
    too_long = sum(n + new_tokens > window for n in tokens)
    if too_long == len(tokens):
        raise UserError(
            f"Prompts have {min(tokens):,} to {max(tokens):,} tokens with images, and {new_tokens:,} more follow.",
            f"The model's context holds {window:,}.",
            "Lower policy.max_images or sample.max_new_tokens.",
        )
    yield (
        f"prompts: {min(tokens):,} to {max(tokens):,} tokens with images, and up to {new_tokens:,} more; "
        f"the model's context holds {window:,}"
        + (f"; {too_long} of {len(tokens)} are too long and would be left out" if too_long else "")
    )


def _memory(outlook: Outlook, rates: Rates, draws: int, precision: str) -> Iterator[str]:
    fits = outlook.fits(rates)
    yield (
        f"memory: {outlook.parameters / 1e6:,.1f} million weights take {outlook.weight_bytes / _GIB:.2f} GiB in "
        f"{precision}, a prompt with its {draws} completions {outlook.prompt_bytes / _GIB:.2f} GiB; "
        f"{rates.free / _GIB:.1f} GiB can be used here ({rates.device}), so {fits} prompts at a time fit"
    )
    if fits == 0:
        yield "warning: the model and one prompt do not fit into this machine's memory"
