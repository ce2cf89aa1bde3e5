"""Prompt templates as data: each has a name and a version, recorded in every Prompt row.

A template has one or several wordings, and the first is used of which everything that it speaks of is known:

    {indication} {question}     as the study or the question has them
    {views}                     the views of the study's own images, as "frontal and lateral"
    {options} {letters}         of a multiple choice: "(A) left, (B) right" and "(A), (B)"

What a wording speaks of without a field (an earlier image, a lateral one) stands in `given`. `<image>` is the place of
an image in the text; where a wording has none, the images go before it.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chexalign.errors import UserError
from chexalign.ids import digest
from chexalign.types import Prompt, Study


@dataclass(frozen=True, slots=True)
class Wording:
    """A prompt's text with fields, and what else must be known of a study: `prior`, `lateral`."""

    text: str
    given: tuple[str, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Everything that must be known for this wording to be used."""
        return frozenset({name for _, name, _, _ in string.Formatter().parse(self.text) if name} | set(self.given))


@dataclass(frozen=True, slots=True)
class Template:
    """The wordings of a prompt, those that say more first."""

    name: str
    task: str
    wordings: tuple[Wording, ...]
    n_images: int | None = None  # images of a study that the wordings speak of; those after them are not counted
    absent: str | None = None  # what stands for a missing indication; None where another wording does

    @property
    def asks(self) -> bool:
        """True when every wording holds a question, so that a study alone makes no prompt."""
        return all("question" in wording.needs for wording in self.wordings)

    def showing(self, max_images: int) -> Template:
        """The template for a policy that is shown the first `max_images` images of a study, and told of no others."""
        return replace(self, n_images=min(max_images, self.n_images or max_images))

    def fill(self, study: Study, *, question: str | None = None, options: Sequence[str] = ()) -> Prompt:
        """The prompt for a study, or for a question about it.

        Raises: UserError when no wording fits.
        """
        known = self._known(study, question, options)
        wording = next((wording for wording in self.wordings if wording.needs <= known.keys()), None)
        if wording is None:
            lacking = sorted(set().union(*(w.needs for w in self.wordings)) - known.keys())
            raise UserError(
                f"The prompt template {self.name} does not fit the study {study.id}.",
                f"It speaks of what is not known of it: {', '.join(lacking)}.",
                "Use another template, such as findings@1, in policy.template.",
            )
        text = wording.text.format_map(known)
        return Prompt(digest("prompt", self.name, study.id, text), study.id, self.task, text, self.name)

    def _known(self, study: Study, question: str | None, options: Sequence[str]) -> dict[str, str]:
        images = study.images[: self.n_images]
        views = [image.view for image in images if image.role == "current" and image.view != "unknown"]
        letters = [f"({letter})" for letter in string.ascii_uppercase[: len(options)]]
        found = {
            "indication": study.indication or self.absent,
            "views": " and ".join(dict.fromkeys(views)) or None,
            "lateral": "lateral" if "lateral" in views else None,
            "prior": "prior" if any(image.role == "prior" for image in images) else None,
            "question": question,
            "options": ", ".join(f"{letter} {text}" for letter, text in zip(letters, options, strict=False)) or None,
            "letters": ", ".join(letters) or None,
        }
        return {name: value for name, value in found.items() if value}


_INDICATION = "Indication: {indication}\n"
_WRITE = "Write the findings section of the radiology report for this {views} chest X-ray, in plain sentences."
_WRITE_ANY = "Write the findings section of the radiology report for this chest X-ray, in plain sentences."
_COMPARE = " The last image is an earlier frontal view of the same patient: say what has changed since."

# As the model's published processor puts it together; a section that is missing is N/A. With an earlier image the
# model is used to the earlier report, which a study does not hold.
# Source: processing_maira2.py of microsoft/maira-2, "{...}" there being its sections.
_MAIRA2 = (
    " Provide a description of the findings in the radiology study in comparison to the prior frontal image."
    " INDICATION: {indication} TECHNIQUE: N/A COMPARISON: N/A"
)
_MAIRA2_PRIOR = "and the prior frontal image<image> PRIOR_REPORT: N/A"

TEMPLATES = {
    template.name: template
    for template in (
        Template("findings@1", "findings", (Wording("Indication: {indication} Findings:"), Wording("Findings:"))),
        Template("codes@1", "codes", (Wording("Codes:"),)),
        # As CheXalign asks CheXagent-2, a missing indication spelled None included.
        Template(
            "structured_findings@1",
            "structured_findings",
            (Wording('Given the indication: "{indication}", write a structured findings section for the CXR.'),),
            absent="None",
        ),
        # For models that follow instructions and were made for no prompt in particular.
        Template(
            "findings_by_view@1",
            "findings",
            tuple(Wording(start + write) for write in (_WRITE, _WRITE_ANY) for start in (_INDICATION, "")),
        ),
        Template(
            "findings_with_prior@1",
            "findings",
            (
                *(Wording(start + _WRITE_ANY + _COMPARE, ("prior",)) for start in (_INDICATION, "")),
                *(Wording(start + _WRITE_ANY) for start in (_INDICATION, "")),
            ),
        ),
        Template("vqa@1", "vqa", (Wording("{question}"),)),
        # Source: get_prompt of evaluation_chexbench in github.com/Stanford-AIMI/CheXagent.
        Template(
            "multiple_choice@1",
            "multiple_choice",
            (
                Wording(
                    "{question}\nOptions: {options}\nDirectly answer the question by choosing one option: {letters}."
                ),
            ),
        ),
        # CheXagent-8B takes two images. Which of its instructions CheXalign used is not published; these two are among
        # those that it was trained on. Source: data_chexinstruct templates in github.com/Stanford-AIMI/CheXagent.
        Template(
            "chexagent_findings@1",
            "findings",
            (
                Wording(
                    "Describe any alterations, improvements, or worsening of findings between the two examinations",
                    ("prior",),
                ),
                Wording("Write an example findings section for the CXR"),
            ),
            n_images=2,
        ),
        Template(
            "maira2_findings@1",
            "findings",
            (
                Wording(
                    f"Given the current frontal image<image> the current lateral image<image> {_MAIRA2_PRIOR}{_MAIRA2}",
                    ("lateral", "prior"),
                ),
                Wording(f"Given the current frontal image<image> {_MAIRA2_PRIOR}{_MAIRA2}", ("prior",)),
                Wording(
                    f"Given the current frontal image<image> and the current lateral image<image>{_MAIRA2}",
                    ("lateral",),
                ),
                Wording(f"Given the current frontal image only<image>{_MAIRA2}"),
            ),
            n_images=3,
            absent="N/A",
        ),
        # LLaVA-Rad sees the frontal image alone. Source: llava/utils.py of github.com/microsoft/LLaVA-Rad.
        Template(
            "llava_rad_findings@1",
            "findings",
            (
                Wording(
                    "Provide a description of the findings in the radiology image given the following indication:"
                    " {indication}"
                ),
                Wording("Provide a description of the findings in the radiology image."),
            ),
            n_images=1,
        ),
    )
}


def get_template(name: str) -> Template:
    """The template of a name.

    Raises: UserError naming those that exist.
    """
    if name not in TEMPLATES:
        raise UserError(
            f"There is no prompt template {name!r}.",
            "Templates are named name@version: " + ", ".join(sorted(TEMPLATES)) + ".",
            "Use one of these in policy.template.",
        )
    return TEMPLATES[name]
