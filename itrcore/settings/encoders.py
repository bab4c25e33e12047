"""What a recipe may say of encoders: of captions, of pictures, of both."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from itrcore.settings.strict import Count, Settings, Share


class BiGRUSettings(Settings):
    """Text encoder: word embedding → bidirectional GRU → mean of the two directions."""

    kind: Literal["bigru"]
    word_dim: Count
    dropout: Share  # on the word embeddings
    init: Literal["random", "glove"]  # what the word embeddings start from; glove: the data set's vocabulary.glove


class BertShape(Settings):
    """A BERT that starts at random."""

    hidden: Count
    layers: Count
    heads: Count
    intermediate: Count
    positions: Annotated[int, Field(ge=8)]  # longer captions are cut

    @model_validator(mode="after")
    def _heads_fit(self) -> BertShape:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        return self


class BertSettings(Settings):
    """Text encoder: BERT's last hidden state → linear layer."""

    kind: Literal["bert"]
    weights: str  # a BERT's name on the Hugging Face hub, the folder of one, or `random`
    revision: str | None = None  # of the hub's repository
    shape: BertShape | None = None  # of `random`, whose word pieces are the data set's own (vocabulary.word_pieces)
    dropout: Share  # after the linear layer
    # BERT is not trained, whatever recipe.factors says: its hidden states of each caption are computed once and kept.
    freeze: bool = False

    @model_validator(mode="after")
    def _size_fits(self) -> BertSettings:
        _weights_fit(
            self.weights,
            self.revision,
            self.shape is not None,
            "shape (hidden, layers, heads, intermediate, positions)",
        )
        if self.freeze and self.shape is not None:
            raise ValueError("freeze is for pretrained weights: a BERT that starts at random would stay so; remove it")
        return self


class CLIPShape(Settings):
    """A CLIP that starts at random: its picture and text towers. Both end in vectors of `model.dim`."""

    picture: Count  # side in pixels
    patch: Count
    image_hidden: Count
    image_layers: Count
    image_heads: Count
    image_intermediate: Count
    text_hidden: Count
    text_layers: Count
    text_heads: Count
    text_intermediate: Count
    positions: Annotated[int, Field(ge=8)]  # longer captions are cut

    @model_validator(mode="after")
    def _parts_fit(self) -> CLIPShape:
        if self.picture % self.patch:
            raise ValueError(f"picture {self.picture} must be a multiple of patch {self.patch}")
        for tower, hidden, heads in (
            ("image", self.image_hidden, self.image_heads),
            ("text", self.text_hidden, self.text_heads),
        ):
            if hidden % heads:
                raise ValueError(f"{tower}_hidden {hidden} must be a multiple of {tower}_heads {heads}")
        return self


class CLIPSettings(Settings):
    """Both towers of a CLIP."""

    kind: Literal["clip"]
    weights: str  # a CLIP's name on the Hugging Face hub, the folder of one, or `random`
    revision: str | None = None  # of the hub's repository
    shape: CLIPShape | None = None  # of `random`, whose word pieces are the data set's own (vocabulary.word_pieces)
    strip: str  # characters taken off both ends of a caption: "." for Flickr30K, "" for MS-COCO, as published

    @model_validator(mode="after")
    def _size_fits(self) -> CLIPSettings:
        _weights_fit(self.weights, self.revision, self.shape is not None, "shape with the sizes of its towers")
        return self


class TowersSettings(Settings):
    """Both towers of a published dual encoder, with its own tokeniser and its own way to read pictures.

    weights: a CLIP's, SigLIP's or ALIGN's name on the Hugging Face hub, or the folder of one; revision: of the hub's repository
    """

    shape: ClassVar[None] = None  # none starts at random

    kind: Literal["towers"]
    weights: str
    revision: str | None = None

    @model_validator(mode="after")
    def _is_published(self) -> TowersSettings:
        if self.weights == "random":
            raise ValueError("weights: random is for model.text.kind clip; a dual encoder needs published weights")
        return self


TextSettings = Annotated[BiGRUSettings | BertSettings, Field(discriminator="kind")]


class ResNetShape(Settings):
    """A ResNet of bottleneck blocks that starts at random: channels and blocks of its four stages."""

    embedding: Count  # channels of the stem
    widths: Annotated[list[Annotated[int, Field(ge=4, multiple_of=4)]], Field(min_length=4, max_length=4)]
    depths: Annotated[list[Count], Field(min_length=4, max_length=4)]


class GridSettings(Settings):
    """Grid features: a ResNet's last cells in place of precomputed regions, trained along with the method.

    backbone: bottom-up attention's detector (ResNet-101), ImageNet's ResNet-152 or WSL's ResNeXt-101
    """

    backbone: Literal["detector", "imagenet_res152", "wsl"]
    weights: str  # a name on the Hugging Face hub, a folder or a file, as the backbone has it, or `random`
    shape: ResNetShape | None = None  # of `random`
    picture: Annotated[int, Field(ge=32, multiple_of=32)]  # side in pixels that pictures are stretched to
    random_crop: Annotated[float, Field(gt=0.0, le=1.0)]  # training: the least share of each side that a crop keeps
    flip: bool  # training: left and right swapped in half of the pictures
    warmup_epochs: Annotated[int, Field(ge=0)]  # the backbone is frozen in these
    stage_epochs: Annotated[
        int, Field(ge=0)
    ]  # after them, epochs until the next of its stages trains too; 0: all at once

    @model_validator(mode="after")
    def _size_fits(self) -> GridSettings:
        _weights_fit(self.weights, None, self.shape is not None, "shape (embedding, widths, depths)")
        if self.backbone == "wsl" and self.shape is not None:
            raise ValueError(
                "the backbone wsl has a form of its own and cannot start at random; choose detector or imagenet_res152"
            )
        return self


def _weights_fit(weights: str, revision: str | None, has_shape: bool, shape: str) -> None:
    """`ValueError` unless exactly what starts at random has a shape: weights bring their own."""
    if (weights == "random") != has_shape:
        raise ValueError(
            f"shape is for weights: random; those of {weights} have their own"
            if has_shape
            else f"weights: random needs {shape}"
        )
    if weights == "random" and revision is not None:
        raise ValueError("revision is for weights from the hub; remove it")
