"""The blocks of the recipe that name judges: plain ones, those that wrap others, and what a dear one may cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from chexalign.recipe.blocks import Block, given, mistake
from chexalign.recipe.engines import EndpointSpec


def named(value: Any) -> Any:
    """The block of a judge that is given by its name alone; any other value as it is."""
    return {"name": value} if isinstance(value, str) else value


def _how_many(value: Any) -> str:
    return "[several]" if isinstance(value, list) else "[one]"


class BudgetSpec(Block):
    """What share of the candidates a dear judge may score, and which cheap judge says which ones."""

    share: float = Field(
        gt=0, lt=1, description="share of a prompt's candidates to score, two at least", examples=[0.5]
    )
    first: JudgeRef = Field(description="cheap judge whose highest and lowest are scored", examples=["chexpert"])
    check: float = Field(
        default=0.05, gt=0, le=1, description="share of the prompts that are scored in full, to see what is lost"
    )


class JudgeSpec(Block):
    """A judge by name; a wrapper such as `lc` names the judge it wraps in `of`, and `sum` and `panel` a list."""

    name: str = Field(description="name of the judge (`chexalign list judges`)", examples=["chexpert"])
    of: JudgeRefs | None = Field(
        default=None,
        validate_default=True,
        description="the judge that this one wraps, or a list of several",
        examples=["green"],
    )
    options: dict[str, Any] = Field(default={}, description="the judge's own options")
    budget: BudgetSpec | None = Field(
        default=None,
        description="scores no more than a share of the candidates; predictions are always scored in full",
        examples=["{share: 0.5, first: chexpert}"],
    )
    label: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_]+$",
        description="tells this judge from another of the same name, in the names of folders and metrics too",
        examples=["strict"],
    )

    @field_validator("of")
    @classmethod
    def _wraps(cls, of: JudgeSpec | list[JudgeSpec] | None, info: ValidationInfo) -> JudgeSpec | list[JudgeSpec] | None:
        name = info.data.get("name")
        if of is None and name == "lc":
            raise PydanticCustomError("missing_choice", "judge lc corrects another judge for length, named here", {})
        if of is None and name in _SEVERAL:
            raise PydanticCustomError("missing_choice", f"judge {name} combines several judges, listed here", {})
        if name == "lc" and isinstance(of, list):
            raise mistake("names several judges, and lc corrects one", "name one judge")
        if name in _SEVERAL and (not isinstance(of, list) or len(of) < 2):
            raise mistake(f"names one judge, and {name} combines several", "give a list, as in [chexpert, bertscore]")
        if isinstance(of, list):
            check_names(of)
        if any(judge.name == "panel" for judge in (of if isinstance(of, list) else [of] if of else [])):
            raise mistake("names a panel, which ranks the candidates of a prompt", "name the judges of the panel")
        return of

    @field_validator("budget")
    @classmethod
    def _not_for_panels(cls, budget: BudgetSpec | None, info: ValidationInfo) -> BudgetSpec | None:
        if budget is not None and info.data.get("name") == "panel":
            raise mistake("is for a panel, which asks nothing itself", "give the judges of the panel budgets")
        return budget

    @model_serializer(mode="wrap")
    def _set_fields(self, handler: SerializerFunctionWrapHandler) -> Any:
        return given(handler(self)) if self.of or self.options or self.budget or self.label else self.name

    @property
    def inner(self) -> list[JudgeSpec]:
        """The judges that this one wraps; none for a plain one."""
        return self.of if isinstance(self.of, list) else [self.of] if self.of else []

    @property
    def measures(self) -> list[JudgeSpec]:
        """The judges that can score a report by itself: this one, or those of a panel."""
        return self.inner if self.name == "panel" else [self]

    @property
    def tables(self) -> list[JudgeSpec]:
        """The judges whose scores of the candidates this one needs, itself included; each has a folder."""
        needed = [*([self.budget.first] if self.budget else []), *(self.inner if self.name == "panel" else [])]
        return [self, *(judge for spec in needed for judge in spec.tables)]

    @property
    def unlimited(self) -> JudgeSpec:
        """The judge without its budget, as predictions are scored."""
        return self.model_copy(update={"budget": None})

    def substance(self) -> Any:
        """The block as plain values, less what changes no score: how the server or the folder of a model is reached."""
        ways: set[str] = set()
        if "url" in self.options:
            ways = {*EndpointSpec.model_fields} - {"model", "extra_body"}
        elif "folder" in self.options:
            ways = {"folder", "device", "batch_size"}  # the judge's version names the model by content
        kept = {name: value for name, value in self.options.items() if name not in ways}
        of = [judge.substance() for judge in self.inner]
        found = self.model_copy(update={"options": kept}).model_dump(mode="json")
        if not isinstance(found, dict):
            return found
        if of:
            found["of"] = of if isinstance(self.of, list) else of[0]
        if self.budget:
            found["budget"]["first"] = self.budget.first.substance()
        return found


_SEVERAL = ("sum", "panel")  # judges of a list

JudgeRef = Annotated[JudgeSpec, BeforeValidator(named)]
JudgeRefs = Annotated[
    Annotated[JudgeRef, Tag("[one]")] | Annotated[list[JudgeRef], Tag("[several]")], Discriminator(_how_many)
]


def folder_name(judge: JudgeSpec) -> str:
    """The judge's folder under scores/ and its column: "chexpert", "lc-a" for lc of a, "sum-a-and-b" for sum of two.

    One with a label is called by it: "llm-strict".
    """
    within = judge.label or "-and-".join(map(folder_name, judge.inner))
    return f"{judge.name}-{within}" if within else judge.name


def check_names(judges: Iterable[JudgeSpec], *, once: bool = True) -> None:
    """Raises: a mistake where two judges have one name; equal ones may come again where `once` is False."""
    known: dict[str, JudgeSpec] = {}
    for judge in judges:
        name = folder_name(judge)
        if known.setdefault(name, judge) != judge:
            raise mistake(
                f"gives judge {name} two sets of options, and results go by names",
                f"keep one of them, or give one a label, as in {{name: {judge.name}, label: other}}",
            )
        if once and known[name] is not judge:
            raise mistake(f"names judge {name} twice", "keep one of them")
