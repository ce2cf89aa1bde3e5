"""A recipe carried out: which stages there are, what each reads, and in which order they run."""

from chexalign.workflow.datasets import make_dataset
from chexalign.workflow.evaluation import Workflow
from chexalign.workflow.preference import parts_under_way

__all__ = ["Workflow", "make_dataset", "parts_under_way"]
