"""The recipe: what a run does, as frozen records; `chexalign.recipe.load` reads it from YAML.

The judge, the pair rule, the algorithm and the algorithm's own parameters have no default:
they are the scientific choices of a run, so a recipe names them.
"""

from __future__ import annotations

from chexalign.recipe.blocks import (
    OPTIONAL_PARAMETERS,
    OWN_PARAMETERS,
    PARAMETERS,
    Block,
    ComputeSpec,
    LoraSpec,
    SFTSpec,
    TrainSpec,
)
from chexalign.recipe.engines import ClusterSpec, EndpointSpec
from chexalign.recipe.judges import BudgetSpec, JudgeSpec, folder_name
from chexalign.recipe.mine import MinedArm, MineSpec
from chexalign.recipe.questions import CollectionSpec, QuestionsSpec
from chexalign.recipe.stages import (
    Arm,
    ColumnsSpec,
    DataSpec,
    EvaluateSpec,
    NormalizerName,
    PairsSpec,
    PolicySpec,
    SampleSpec,
    SplitName,
    TinySpec,
)
from chexalign.recipe.whole import Recipe

__all__ = [
    "OPTIONAL_PARAMETERS",
    "OWN_PARAMETERS",
    "PARAMETERS",
    "Arm",
    "Block",
    "BudgetSpec",
    "ClusterSpec",
    "CollectionSpec",
    "ColumnsSpec",
    "ComputeSpec",
    "DataSpec",
    "EndpointSpec",
    "EvaluateSpec",
    "JudgeSpec",
    "LoraSpec",
    "MineSpec",
    "MinedArm",
    "NormalizerName",
    "PairsSpec",
    "PolicySpec",
    "QuestionsSpec",
    "Recipe",
    "SFTSpec",
    "SampleSpec",
    "SplitName",
    "TinySpec",
    "TrainSpec",
    "folder_name",
]
