"""What mining would come to, and whether it can, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chexalign.errors import UserError

if TYPE_CHECKING:
    from chexalign.cli.plan_questions import Listed
    from chexalign.recipe import MinedArm, MineSpec, Recipe


@dataclass(frozen=True, slots=True)
class Mining:
    """How many questions mining begins with; none of it is known better before the policy has answered."""

    spec: MineSpec
    listed: Listed
    gallery: int  # the most questions that SFT learns from
    modalities: tuple[str, ...]

    @property
    def asked(self) -> int:
        """Questions that the policy is asked."""
        return min(self.spec.ask or self.gallery, self.gallery)

    @property
    def budget(self) -> int:
        """Questions of a set."""
        from chexalign.mine.quotas import budget_of

        return budget_of(self.gallery, share=self.spec.share)

    def wrong_answers(self, arms: Mapping[str, MinedArm] | None = None) -> int:
        """The most questions in the sets of these arms, or of all, one that is in several counted once."""
        selects = {arm.select for arm in (self.spec.arms if arms is None else arms).values()}
        return min(self.gallery, len(selects) * self.budget)


def mining_of(recipe: Recipe, listed: Mapping[str, Listed]) -> Mining | None:
    """What the recipe mines, after checks; None where it mines nothing.

    Raises: UserError when sets cannot be filled, likeness rests on findings that no question has, or the questions
    would be sent to a server that may not have them.
    """
    from chexalign.mine.vectors.feature_stage import modalities

    if recipe.mine is None or recipe.questions is None:
        return None
    spec = recipe.mine
    collection = next(c for c in recipe.questions.collections if c.source == spec.collection)
    about = listed[spec.collection]
    weighed = tuple(modalities([spec.likeness, *spec.purity]))
    mining = Mining(spec, about, about.learned(collection), weighed)
    if not mining.gallery:
        raise UserError(
            f"mine.collection is {spec.collection}, of which SFT can learn no question.",
            f"None of its training questions has an image and at most {recipe.policy.max_images} of them.",
            "Raise policy.max_images, or name another collection.",
        )
    _check_budget(mining)
    _check_findings(mining)
    _check_server(mining)
    return mining


def mining_rows(mining: Mining) -> Iterator[tuple[str, int, str, str]]:
    """Stage, rows, unit and how they come about: from answers to the sets and their wrong answers."""
    spec, gallery = mining.spec, mining.gallery
    how = f"at most: {mining.asked} of the {gallery} questions that SFT learns from, with confidence"
    yield "mine/answers", mining.asked, "answers", how
    vectors = gallery * len(mining.modalities)
    yield "mine/features", vectors, "vectors", f"at most: {gallery} questions x {', '.join(mining.modalities)}"
    for select in spec.selects:
        how = f"at most: {spec.share:.0%} of {gallery}, {_found_by(mining, select)}"
        yield f"mine/sets/{select}", mining.budget, "questions", how
    edits = spec.counterfactual
    source = f"up to {edits.proposals} by {edits.endpoint.model}" if edits.endpoint else "by rules"
    own = "the policy's own first, then edits" if edits.own == "first" else "edits"
    how = f"at most, sets: {len(spec.selects)}; {own} {source}"
    yield "mine/counterfactuals", mining.wrong_answers(), "wrong answers", how


def mining_warnings(mining: Mining) -> Iterator[str]:
    """What is asked for and not there, where the run would go on with less."""
    spec, about = mining.spec, mining.listed
    if spec.ask is not None and spec.ask > mining.gallery:
        yield f"mine.ask is {spec.ask}, and SFT learns from at most {mining.gallery} questions: all of them are asked"
    if spec.seeds > mining.asked:
        yield f"mine.seeds is {spec.seeds}, and {mining.asked} questions are asked: every failure becomes a seed"
    if {"mined", "confidence"} <= set(spec.selects) and spec.seeds >= mining.budget:
        yield (
            f"mine.seeds is {spec.seeds}, and a set has {mining.budget} questions: seeds come first, so the sets mined "
            "and confidence are the same"
        )
    lacking = about.usable - about.explained
    if lacking:
        what = f"{lacking} of {about.usable} training questions of {spec.collection} have no rationale"
        yield f"{what}: their pairs hold short answers alone, and no likeness of rationales finds them"
    if about.founded < about.usable:
        n = about.usable - about.founded
        yield (
            f"{n} of {about.usable} training questions of {spec.collection} have no evidence: whether an edit "
            "contradicts the image cannot be seen in them"
        )


def _found_by(mining: Mining, select: str) -> str:
    spec = mining.spec
    if select in ("mined", "similarity"):
        return f"from {min(spec.seeds, mining.asked)} seeds and {spec.k} neighbors of each"
    return "the first failures" if select == "confidence" else "drawn at random"


def _check_budget(mining: Mining) -> None:
    """A set is taken from what is found: seeds and their neighbors, or failures among the questions asked."""
    spec, seeds = mining.spec, min(mining.spec.seeds, mining.asked)
    most = {"mined": seeds * (spec.k + 1), "similarity": seeds * (spec.k + 1), "confidence": mining.asked}
    for select in spec.selects:
        if mining.budget > min(most.get(select, mining.gallery), mining.gallery):
            raise UserError(
                f"mine.share is {spec.share}, so that the set {select} has {mining.budget} questions.",
                f"At most {most[select]} can be found for it: "
                + (f"{seeds} seeds and {spec.k} neighbors of each." if select != "confidence" else "those asked."),
                "Lower mine.share, or raise mine.ask." if select == "confidence" else "Raise mine.seeds or mine.k.",
            )


def _check_findings(mining: Mining) -> None:
    if "findings" in mining.modalities and not mining.listed.founded:
        raise UserError(
            f"mine.likeness or mine.purity weighs findings, and no training question of {mining.spec.collection} has "
            "evidence.",
            "Findings are taken from it, and all questions would be alike.",
            "Name combinations without d, such as q+e and q+v.",
        )


def _check_server(mining: Mining) -> None:
    from chexalign.privacy import check_license

    server = mining.spec.counterfactual.endpoint
    if server is not None:
        check_license(server.url, mining.listed.license, endpoint_is_mine=server.endpoint_is_mine)
