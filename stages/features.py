"""Stage `features@<data>`: region features computed from the pictures in shards, where params.yaml asks for them."""

from __future__ import annotations

from itrcore import intact, layout
from itrcore.data.shards import writing
from itrcore.files import read_json, replacing
from itrcore.progress import counting
from itrcore.runs import inputs
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage

_ON_A_GPU = 4  # processes: decoding is slower than the model, and each has a copy of it there


def main(params: Params, name: str) -> None:
    """Compute the features of every picture with a pretrained model, or record that none are asked for."""
    settings, label = params.dataset(name).features, params.dataset(name).label
    inputs.check_extraction(params, name)
    if settings is None or label is None:
        with replacing(layout.features(name)) as folder:
            folder.mkdir(parents=True)
            intact.seal(folder)
        say(f"{name}: no features are computed; datasets.{name}.features asks for some")
        return
    from itrcore.cores import cores  # here: what follows imports torch, and most data sets have no such features
    from itrcore.device import make_accelerator
    from itrcore.extraction import shards

    device = make_accelerator(params.training).device
    with counting(f"{name}: {label}", "images") as progress:
        finished = shards.write(
            layout.image_shards(name),
            layout.captions(name),
            label,
            settings,
            layout.STATE / "features" / name / "regions",
            device,
            layout.verified(name, layout.image_shards(name)),
            progress,
            None if device.type == "cpu" else min(_ON_A_GPU, cores()),
        )
    described = read_json(finished / "shards.json")
    with replacing(layout.features(name)) as folder:
        writing.move(finished, folder / "regions")
    say(
        f"{name}: {label}, {described['width']:,} wide, of {sum(s['samples'] for s in described['splits'].values()):,} pictures"
    )


if __name__ == "__main__":
    run_stage(main)
