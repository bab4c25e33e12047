"""What `runs:` and `ensembles:` in params.yaml may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrcore.settings.strict import Digest, Name, Settings

Weights = Literal["equal", "dev"]
Scale = Literal["none", "z_score", "rank"]


class CheckpointSettings(Settings):
    """A released checkpoint, or a training of another checkout, in place of a training; `itr import` and `itr pull` write this.

    path: of a training, its folder; sha256: of the file, or of the folder's run.json, which has those of all its files
    vocabulary: the one it was trained with (SCAN's JSON, or BERT's vocab.txt); None: the data set's, or the method's BERT
    text_digest: of the ids that captions then get; with others the weights would mean nothing
    source: where a training was pulled from; None for a released checkpoint
    """

    path: str
    sha256: Digest
    text_digest: Digest
    vocabulary: str | None = None
    source: str | None = None


class RunSettings(Settings):
    """One model on one data set: trained with a seed, imported from a checkpoint, or with published weights as they are.

    method: its recipe in `recipes/`; variant: one that the recipe has; profile: changes that params.yaml has, laid over both
    """

    data: Name
    method: Name
    variant: Name | None = None
    profile: Name | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    checkpoint: CheckpointSettings | None = None

    @model_validator(mode="after")
    def _trained_or_imported(self) -> RunSettings:
        # That a training needs a seed is checked where its recipe is known (`checks.py`).
        if self.seed is not None and self.checkpoint is not None:
            raise ValueError("give seed, for a training, or checkpoint, for an import, not both")
        return self

    @property
    def changes(self) -> str:
        """What it changes of its method's recipe, for tables: `coco`, `small`, `coco+small`; `published` for nothing."""
        return "+".join(name for name in (self.variant, self.profile) if name) or "published"


class TransferSettings(Settings):
    """A run that is evaluated on another data set than its own, with its own weights and tokeniser.

    trained_on: the run's own data set; dvc.yaml cannot look it up
    """

    run: Name
    trained_on: Name
    data: Name


class EnsembleSettings(Settings):
    """A mean of the similarities of several runs on one data set.

    weights: of the members: equal, or those with the highest rsum on dev, which are chosen when it is made and stored with it
    scale: what is done to each member's similarities before: nothing; for each query, subtract their mean and divide by their
        standard deviation; or take their ranks. For members whose similarities differ in scale
    """

    data: Name
    runs: Annotated[list[Name], Field(min_length=2)]
    weights: Weights = "equal"
    scale: Scale = "none"
