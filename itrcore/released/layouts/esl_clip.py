"""ESL on CLIP: one flat state dict of OpenAI's CLIP and what follows its towers."""

from __future__ import annotations

import math
from typing import Any

from itrcore.assets.clip import CLIPSource
from itrcore.assets.pictures import Pictures
from itrcore.methods.esl.settings import ESLCLIPSettings
from itrcore.released import images, levels
from itrcore.released.contract import Layout, Part, Sizes, Unused, axis, is_coco
from itrcore.released.text import clip

_START = "pool_frames.cross_attn."
_TEMPERATURE = Unused(
    "a temperature of the sets' attention, which single vectors do not have",
    f"{_START}sims.calculator_1.temp_scale_1.weight",
    math.log(1 / 0.07),
)
_SWITCH = "heuristic_strategy = False in modules/transformer.py, where it stands at the other"


def _esl(strategy: str, switch: str | None) -> Layout:
    rules = (
        *clip.RULES,
        *levels.of_sides(_START, strategy, "image_levels", "text_levels"),
        *levels.of_measure(_START),
    )
    unused = {**clip.UNUSED, f"{_START}sims.calculator_1.temp_scale.weight": _TEMPERATURE}
    return Layout(
        source="kkzhang95/ESL",
        parts=(Part("CLIP and similarity", rules, unused),),
        text=clip,
        image=images.pictures,
        options=_options,
        sizes={"dim": axis("clip.visual_projection.weight", 0), **levels.sizes(strategy, "image_levels")},
        built=levels.BUILT,
        flat=True,
        switch=switch,
    )


def _options(model: ESLCLIPSettings, sizes: Sizes[Pictures, CLIPSource], data: str) -> dict[str, Any]:
    recipe = sizes.settings.recipe
    return {
        "dataset_name": "MS-COCO" if is_coco(data) else "Flickr30K",
        "videos_dir": "data",
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
    }


LAYOUTS: dict[str, Layout] = {
    "esl_h_clip": _esl("heuristic", switch=None),
    "esl_a_clip": _esl("adaptive", switch=_SWITCH),
}
