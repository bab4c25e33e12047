"""What recipes of SGR, SAF and LHSC may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import CrossSettings
from itrcore.settings.strict import Count, Settings, Share


class ReasoningSettings(Settings):
    """SGR: graph reasoning over a pair's alignments, step by step."""

    kind: Literal["sgr"]
    steps: Count


# What batch normalisation of the gate is over in training: all pairs of a batch at once; or one caption and all images, as in
# the released code.
GateNorm = Literal["pairs", "caption"]


class FiltrationSettings(Settings):
    """SAF: attention filtration of a pair's alignments."""

    kind: Literal["saf"]
    gate_norm: GateNorm = "pairs"


class AlignmentSettings(CrossSettings):
    """A vector of alignment for each word and one for the whole pair: SGRAF and LHSC.

    alignment_dim: of these vectors; dropout: in the attention that makes an item's whole vector
    ranked_regions: None: images may have any number of regions. A number: as in the released code, batch normalisation has
        weights for each region's place, so that every image must have exactly so many
    """

    alignment_dim: Count
    dropout: Share
    ranked_regions: Annotated[int, Field(ge=2)] | None = None

    @property
    def attends(self) -> bool:
        """Every word to the regions."""
        return True


class SGRAFSettings(AlignmentSettings):
    """SGRAF's two halves, SGR and SAF; the published figures of SGRAF are of an ensemble of both."""

    kind: Literal["sgraf"]
    module: Annotated[ReasoningSettings | FiltrationSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """SGR or SAF."""
        return self.module.kind


class LHSCSettings(AlignmentSettings):
    """LHSC: layers of relations between regions and between words below SAF's similarity.

    layers: on each side; heads: of a layer between regions
    padding: masked: only a caption's words take part. released: its padding takes part too, as in the released code, so that
        a caption's vectors depend on its batch
    gate_norm: as SAF's
    """

    kind: Literal["lhsc"]
    text: BiGRUSettings
    layers: Count
    heads: Count
    padding: Literal["masked", "released"]
    gate_norm: GateNorm = "pairs"

    @model_validator(mode="after")
    def _heads_fit(self) -> LHSCSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        return self
