"""Where everything of a run lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chexalign.store import Manifest, Table
from chexalign.types import (
    Answer,
    Candidate,
    Counterfactual,
    ImageRef,
    MinedItem,
    Pair,
    Prediction,
    Prompt,
    Question,
    Score,
    Study,
)

SFT = "sft"
SHUFFLED = "sft_shuffled"  # the control: the SFT policy, given the image of another study


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; asking for a path makes nothing."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.yaml"

    @property
    def images(self) -> Path:
        """Images that the dataset made."""
        return self.root / "images"

    @property
    def studies(self) -> Table[Study]:
        """Studies of all splits."""
        return Table(self.root / "studies", Study)

    @property
    def question_folder(self) -> Path:
        """Where the collections of questions are, each in a folder of its own."""
        return self.root / "questions"

    def questions(self, source: str) -> Table[Question]:
        """Questions of a collection."""
        return Table(self.question_folder / source, Question)

    @property
    def prompts(self) -> Table[Prompt]:
        """Prompts of the split that candidates are drawn for."""
        return Table(self.root / "prompts", Prompt)

    @property
    def candidates(self) -> Table[Candidate]:
        """Candidates of the SFT policy."""
        return Table(self.root / "candidates", Candidate)

    def scores(self, judge: str) -> Table[Score]:
        """Scores that a judge gave the candidates."""
        return Table(self.root / "scores" / judge, Score)

    def pairs(self, arm: str) -> Table[Pair]:
        """Preference pairs of an arm."""
        return Table(self.root / "pairs" / arm, Pair)

    @property
    def agreement(self) -> Path:
        """How far the judges of the arms agree on the candidates."""
        return self.root / "pairs" / "agreement.json"

    def pretrained(self, part: str) -> Path:
        """A part of the tiny policy before SFT."""
        return self.root / "pretrain" / part

    def policy(self, name: str) -> Path:
        """A checkpoint: `sft`, or an arm."""
        return self.root / "policy" / name

    @property
    def ref_logps(self) -> Path:
        """Log-probs of all candidates that pairs use, under the reference policy."""
        return self.root / "ref_logps"

    def predictions(self, policy: str) -> Table[Prediction]:
        """What a policy writes for the studies of the evaluated split."""
        return Table(self.root / "predictions" / policy, Prediction)

    def answers(self, source: str, policy: str) -> Table[Answer]:
        """What a policy answers to the questions of a collection."""
        return Table(self.root / "answers" / source / policy, Answer)

    @property
    def mine_answers(self) -> Table[Answer]:
        """What the SFT policy answers to the questions that it learned from, with the log-probs of the tokens."""
        return Table(self.root / "mine" / "answers", Answer)

    @property
    def mine_features(self) -> Path:
        """The features by which questions are alike."""
        return self.root / "mine" / "features"

    @property
    def mine_found(self) -> Path:
        """What was found on the way to the mined sets: purity, quotas, counts."""
        return self.root / "mine" / "found.json"

    def mined(self, select: str) -> Table[MinedItem]:
        """The questions that a way of selecting them chose."""
        return Table(self.root / "mine" / "sets" / select, MinedItem)

    @property
    def counterfactuals(self) -> Table[Counterfactual]:
        """A wrong answer beside the right one, for every question that some set holds."""
        return Table(self.root / "mine" / "counterfactuals", Counterfactual)

    def metric(self, judge: str, policy: str) -> Table[Score]:
        """Scores that a judge gave a policy's predictions; `candidate_id` holds the study's id."""
        return Table(self.root / "metrics" / judge / policy, Score)

    @property
    def estimates(self) -> Path:
        """Every number with its interval."""
        return self.root / "estimates.json"

    @property
    def normalizer(self) -> str:
        """What was done to the references of the studies, by name; every number that compares with them rests on it."""
        manifest = Manifest.load(self.studies.folder)
        blocks = manifest.config.get("blocks", []) if manifest else []
        return str(blocks[0].get("normalizer", "raw")) if blocks else "raw"

    @property
    def report(self) -> Path:
        """The report, one self-contained file."""
        return self.root / "report.html"

    def image_path(self, image: ImageRef) -> Path:
        """Where the file of an image is; paths in tables are relative to the run folder unless absolute."""
        return self.root / image.path
