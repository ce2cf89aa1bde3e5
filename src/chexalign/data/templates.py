"""Prompt templates as data: each has a name and a version, recorded in every Prompt row."""

from __future__ import annotations

from dataclasses import dataclass

from chexalign.errors import UserError
from chexalign.ids import digest
from chexalign.types import Prompt, Study


@dataclass(frozen=True, slots=True)
class Template:
    """The words of a prompt, with and without an indication."""

    name: str
    task: str
    with_indication: str
    without_indication: str

    def fill(self, study: Study) -> Prompt:
        """The prompt for a study."""
        text = self.without_indication
        if study.indication:
            text = self.with_indication.format(indication=study.indication)
        return Prompt(digest("prompt", self.name, study.id, text), study.id, self.task, text, self.name)


TEMPLATES = {
    template.name: template
    for template in (
        Template("findings@1", "findings", "Indication: {indication} Findings:", "Findings:"),
        Template("codes@1", "codes", "Codes:", "Codes:"),
        # As CheXalign asks CheXagent-2, a missing indication spelled None included.
        Template(
            "structured_findings@1",
            "structured_findings",
            'Given the indication: "{indication}", write a structured findings section for the CXR.',
            'Given the indication: "None", write a structured findings section for the CXR.',
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
