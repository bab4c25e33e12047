"""ESL's levels and measure, as both branches of its code name them: the one on sets, and the one on CLIP."""

from __future__ import annotations

from itrcore.released.contract import Size, axis, ratio
from itrcore.released.rules import Rule

BUILT = {"measure.weight": (1, 9)}  # eight levels above the input


def of_sides(start: str, strategy: str, images: str, texts: str) -> tuple[Rule, ...]:
    """Rules of both sides' levels. The released codes count them from 1, as the input is level 0.

    start: of the released names; images, texts: our names of the two sides' levels
    """
    names = ("kernel_img_#", "kernel_txt_#", "kernels") if strategy == "heuristic" else ("masks_#", "masks_#", "masks")
    return tuple(
        Rule(f"{start}plus_encoder.encoders_1.{side}_levels.{name}.weight", (f"{ours}.{names[2]}.#",), first=1)
        for side, name, ours in (("image", names[0], images), ("text", names[1], texts))
    )


def of_measure(start: str) -> tuple[Rule, ...]:
    """Rules of the parts of the measure that both branches have. start: of the released names"""
    return (
        Rule(f"{start}sims.calculator_1.masks_#.weight", ("measure.masks.#",)),
        Rule(f"{start}sims.calculator_1.sim_eval.weight", ("measure.weight",)),
        Rule(f"{start}sims.calculator_1.temp_scale_1.weight", ("measure.sigma",)),
        Rule(f"{start}sims.calculator_1.temp_scale_2.weight", ("measure.log_lambda",)),
    )


def sizes(strategy: str, images: str) -> dict[str, Size]:
    """How many levels there are, and how much narrower each is. images: our name of the images' levels"""
    kernel = axis(f"{images}.kernels.0", 2) if strategy == "heuristic" else ratio(f"{images}.masks.0")
    return {"levels": axis("measure.weight", 1, less=1), "kernel": kernel}
