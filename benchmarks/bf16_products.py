"""What bf16 does to learning curves: rsum on dev of each evaluation, in float32, with bf16 encoders, and with bf16 products too.

    python -m benchmarks.bf16_products --json bf16_products.json

Run it where the data of the embedded experiment is (after `make demo`). Each run of params.yaml that is named trains three times
with each seed, from the same weights on the same batches: in float32; under mixed precision, so that the encoders compute in
bf16; and so that cross attention's products do, too, as in a training on a GPU. A CPU rounds to bf16 as a GPU does, so what is
learned can be compared here. Speed cannot.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from itrcore import layout
from itrcore.assets import assets
from itrcore.data.feeding.prepared import feature_width
from itrcore.files import write_json
from itrcore.methods.build import build
from itrcore.methods.esl import word_region
from itrcore.methods.scan import scan
from itrcore.methods.sgraf import alignment
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.terminal import user_errors
from itrcore.training.state import StateFolder
from itrcore.training.train import trainer_of

RUNS = ["scenes-scan_t2i_lse_bigru-1", "scenes-saf_bigru-1", "scenes-lhsc_bigru-1", "scenes-esl_a_bert-1"]
WAYS = ["float32", "bf16 encoders", "bf16 encoders and products"]


@contextmanager
def products_wide() -> Iterator[None]:
    """Meanwhile no product has narrow factors."""
    modules: list[Any] = [scan, alignment, word_region]
    kept: list[Callable[..., Any]] = [module.narrow_type for module in modules]
    for module in modules:
        module.narrow_type = lambda device: None
    try:
        yield
    finally:
        for module, function in zip(modules, kept, strict=True):
            module.narrow_type = function


def curve(params: Params, name: str, seed: int, bf16: bool) -> list[float]:
    """rsum on dev of each evaluation of a training."""
    run, settings = params.run(name), params.method_of(name)
    prepared = assets.prepare(
        settings.model, layout.vocabulary(run.data), layout.NLTK, feature_width(run.data), layout.concepts(run.data)
    )
    method = build(settings, prepared.image, prepared.text.source, seed, prepared.concepts)
    AcceleratorState._reset_state()  # it keeps the precision of the first in a process
    trainer = trainer_of(params, name, seed, method, prepared)
    if bf16:
        AcceleratorState._reset_state()  # it keeps the precision of the first in a process
        trainer.accelerator = trainer.stepper.accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    with tempfile.TemporaryDirectory() as folder:
        finished = trainer.run(StateFolder(Path(folder)), "measured", lambda state: None, lambda state: None)
    assert finished is not None
    return [point.dev.rsum for point in finished.history]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", default=RUNS, help="of params.yaml")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    params, curves = load(), dict[str, dict[str, list[list[float]]]]()
    for seed in arguments.seeds:
        for name in arguments.runs:
            made = [curve(params, name, seed, bf16=False)]
            with products_wide():
                made.append(curve(params, name, seed, bf16=True))
            made.append(curve(params, name, seed, bf16=True))
            for way, points in zip(WAYS, made, strict=True):
                curves.setdefault(name, {}).setdefault(way, []).append(points)
                print(f"{name}, seed {seed}, {way}: {', '.join(f'{point:.1f}' for point in points)}", flush=True)
            if arguments.json:
                write_json(arguments.json, {"seeds": arguments.seeds, "rsum on dev, of each seed": curves})
    for name, ways in curves.items():
        for way, seeds in ways.items():
            best = [max(points) for points in seeds]
            deviation = f" ± {stdev(best):.1f}" if len(best) > 1 else ""
            print(f"{name}, {way}: best rsum on dev {mean(best):.1f}{deviation}")
    return 0


if __name__ == "__main__":
    with user_errors():
        raise SystemExit(main())
