"""What a released code must be told beside the weights, and where it will not evaluate a model as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from itrcore.assets.clip import CLIPSource, CLIPText
from itrcore.assets.grid import Grid
from itrcore.assets.pieces import BertSource, Pieces
from itrcore.assets.text import TextSide
from itrcore.methods.contract import Method
from itrcore.methods.esl.settings import ESLCLIPSettings, ESLSettings, LevelSettings
from itrcore.methods.scan.settings import SCANSettings
from itrcore.methods.sgraf.settings import AlignmentSettings, LHSCSettings, ReasoningSettings, SGRAFSettings
from itrcore.methods.vse.settings import ESASettings, VSESettings
from itrcore.released import bert as released_bert
from itrcore.released import clip as released_clip
from itrcore.released import grid as released_grid
from itrcore.released.convert import Sizes, label
from itrcore.released.cross_attention import REGIONS
from itrcore.released.forms import Layout
from itrcore.released.layouts import layout_of
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.losses import TripletSettings
from itrcore.settings.methods import CrossSettings, MethodSettings, SetSettings
from itrcore.settings.pooling import GPOSettings, LSESettings

_TEMPERATURE = 0.1  # of the released GPO's softmax
_SOFTMAX_SCALE = 9.0  # of the attention in SGRAF and LHSC
_STEPS = 3  # SGR's default
_GRAPH = {"layers": 4, "heads": 4}  # of LHSC
_BERT_BASE_CONFIG = {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
_CLIP_CONFIG = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_GRID_PICTURE = 256  # side in pixels where `input_scale_factor` is 1
_STRIPPED = {"f30k": ".", "coco": ""}  # off both ends of a caption, before CLIP sees it


def options(sizes: Sizes, data_name: str) -> dict[str, Any]:
    """The fields of `opt` or `config` that the released evaluations read, and what else they build: losses, optimisers.

    data_name: `f30k` or `coco`, by which the released code finds its data
    """
    if isinstance(sizes.settings.model, ESLCLIPSettings):
        return _clip_options(sizes, sizes.settings.model, data_name)
    settings, text = sizes.settings, sizes.settings.model.text
    assert isinstance(settings.loss, TripletSettings)  # the loss of every other method
    values: dict[str, Any] = {
        "data_name": data_name,
        "data_path": "data",
        "vocab_path": "vocab",
        "vocab_size": sizes.n_tokens,
        "batch_size": settings.recipe.batch_size,
        "workers": 0,
        "img_dim": sizes.image.width,
        "embed_size": settings.model.dim,
        "num_layers": 1,
        "no_imgnorm": False,
        "no_txtnorm": False,
        "precomp_enc_type": "basic",
        "backbone_source": "detector",
        "backbone_path": "",
        "margin": settings.loss.margin,
        "max_violation": True,
        "optim": "adam",
        "learning_rate": settings.recipe.learning_rate,
        "grad_clip": settings.recipe.clip_norm,
    }
    if isinstance(text, BiGRUSettings):
        values["word_dim"] = text.word_dim
    if isinstance(sizes.source, BertSource):
        values[released_bert.HEADS] = sizes.source.config.num_attention_heads
    if isinstance(settings.model, ESASettings):
        values["hardnum"] = settings.model.views
    if isinstance(settings.model, CrossSettings):
        # Their codes make file names of the data's name alone, and their vocabularies have no mask token.
        values |= {"data_name": f"{data_name}_precomp", "vocab_size": sizes.n_tokens - 1}
        values |= _cross_options(settings.model)
    if isinstance(settings.model, SetSettings) and (grid := settings.model.grid) is not None:
        values |= {
            "precomp_enc_type": "backbone",
            "img_dim": sizes.image.architecture["hidden_sizes"][-1] if isinstance(sizes.image, Grid) else None,
            released_grid.SOURCE: grid.backbone,
            "backbone_lr_factor": settings.recipe.factors["backbone"],
            "input_scale_factor": grid.picture / _GRID_PICTURE,
        }
    if isinstance(settings.model, LevelSettings):
        values["kernel_size"] = settings.model.kernel
    return values | {name: need.value for name, need in layout_of(settings).needs.items()}


def _cross_options(model: CrossSettings) -> dict[str, Any]:
    if isinstance(model, SCANSettings):
        pooling = {"lambda_lse": model.pooling.scale} if isinstance(model.pooling, LSESettings) else {}
        return {"lambda_softmax": model.softmax_scale, **pooling}
    assert isinstance(model, AlignmentSettings)
    values: dict[str, Any] = {"sim_dim": model.alignment_dim}
    if isinstance(model, SGRAFSettings):  # read for SAF too
        values["sgr_step"] = model.module.steps if isinstance(model.module, ReasoningSettings) else _STEPS
    if isinstance(model, LHSCSettings):
        values["drop_out"] = 0.0  # in its attention between words
    return values


def _clip_options(sizes: Sizes, model: ESLCLIPSettings, data_name: str) -> dict[str, Any]:
    recipe = sizes.settings.recipe
    assert isinstance(sizes.source, CLIPSource)
    config = sizes.source.config
    shape = released_clip.shape(config)
    return {
        "dataset_name": "MS-COCO" if data_name == "coco" else "Flickr30K",
        "videos_dir": "data",
        "input_res": shape.picture,
        "exp_name": "exported",
        "model_path": ".",
        "output_dir": ".",
        "tb_log_dir": "logs",
        "no_tensorboard": True,
        "num_workers": 0,
        "seed": 24,
        "log_step": 100,
        "evals_per_epoch": recipe.evaluations,
        "eval_window_size": 5,
        "metric": "t2v",
        "huggingface": False,  # its own tokeniser, whose ids are the same
        "arch": "clip_transformer",
        "clip_arch": released_clip.published_name(config) or "none of OpenAI's",
        "embed_dim": model.dim,
        "kernel_size": model.kernel,
        "num_mha_heads": 1,
        "sim_dim": 256,
        "pooling_type": "transformer",
        "loss": "clip",
        "batch_size": recipe.batch_size,
        "num_epochs": recipe.epochs,
        "clip_lr": recipe.learning_rate * recipe.factors["clip"],
        "noclip_lr": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        **{key: getattr(shape, key) for key in released_clip.HEADS},
    }


def cautions(method: Method[Any, Any], layout: Layout) -> list[str]:
    """Where the method is not as the released code builds it, so that this cannot evaluate it as it stands."""
    shapes = {name: tuple(tensor.shape) for name, tensor in method.state_dict().items()}
    said = [
        f"{label(layout, ours)} is {shapes.get(ours, 'not there')}; the released code builds {shape}"
        for ours, shape in layout.built.items()
        if shapes.get(ours) != shape
    ]
    return [*said, f"it needs {layout.switch}"] if layout.switch else said


def other_values(settings: MethodSettings, text: TextSide, data_name: str) -> Iterator[str]:
    """What no weight's shape tells and the released codes have fixed. data_name: `f30k` or `coco`"""
    pooling = settings.model.pooling if isinstance(settings.model, VSESettings) else None
    if isinstance(pooling, GPOSettings) and pooling.temperature != _TEMPERATURE:
        yield f"its pooling's temperature is {pooling.temperature:g}; the released code has {_TEMPERATURE:g}"
    if isinstance(settings.model, AlignmentSettings):
        yield from _other_values_of_alignment(settings.model)
    if isinstance(settings.model, ESLSettings) and settings.model.grid is not None:
        yield "ESL's evaluation stops at batches of pictures; its training reads them"
    if isinstance(text, Pieces):
        for key, value in _BERT_BASE_CONFIG.items():
            if (found := getattr(text.config, key)) != value:
                yield f"its BERT's {key} is {found}; the released code builds bert-base-uncased, with {value}"
        if not text.tokeniser.lower:
            yield "its captions keep upper case; the released code's BERT is uncased"
    if isinstance(text, CLIPText):
        yield from _other_values_of_clip(text, data_name)


def _other_values_of_alignment(model: AlignmentSettings) -> Iterator[str]:
    if model.softmax_scale != _SOFTMAX_SCALE:
        yield f"its attention's softmax scale is {model.softmax_scale:g}; the released code has {_SOFTMAX_SCALE:g}"
    if model.ranked_regions not in (None, REGIONS):
        yield f"its images have {model.ranked_regions} regions; the released code builds {REGIONS}"
    if isinstance(model, LHSCSettings):
        for key, value in _GRAPH.items():
            if (found := getattr(model, key)) != value:
                yield f"it has {found} {key}; the released code builds {value}"
        if model.padding == "masked":
            yield "what pads its captions takes no part (padding: masked); in the released code it does"


def _other_values_of_clip(text: CLIPText, data_name: str) -> Iterator[str]:
    if released_clip.published_name(text.config) is None:
        names = ", ".join(released_clip.PUBLISHED)
        yield f"its CLIP has the sizes of none of OpenAI's; the released code builds these alone: {names}"
    for tower in ("vision", "text"):
        for key, value in _CLIP_CONFIG.items():
            if (found := getattr(getattr(text.config, f"{tower}_config"), key)) != value:
                yield f"the {key} of its CLIP's {tower} tower is {found}; the released code builds OpenAI's, with {value}"
    if (strip := text.tokeniser.strip) != _STRIPPED[data_name]:
        yield f"{strip!r} is stripped off its captions; the released code strips {_STRIPPED[data_name]!r} off {data_name}'s"
