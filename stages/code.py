"""Stage `code`: what the code of each stage says, so that a stage runs again when that changes and not for a comment."""

from __future__ import annotations

import compileall
import sys
from pathlib import Path

from itrcore import code, layout, registry
from itrcore.files import replacing, write_json
from itrcore.runs import inputs
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, _: str) -> None:
    """Write a record for each module of `stages`, one for the embedded data set, and one of all modules."""
    _compile()
    modules = code.modules()
    entries = {name.partition(".")[2]: name for name in modules if name.startswith("stages.")}
    entries["scenes"] = "itrcore.data.scenes.build"
    protocols = [registry.module(listed.place) for listed in registry.PROTOCOLS.values()]
    extractors = [inputs.EXTRACTION, *map(registry.module, registry.EXTRACTORS.values())]
    # The report shows what protocols say of their figures; the stage extractor records what extractors do.
    more = {"report": protocols, "extractor": extractors}
    folder = layout.code("all").parent
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        for name, entry in entries.items():
            write_json(temporary / f"{name}.json", code.of(entry, *more.get(name, ()), also=code.FORMS))
        write_json(temporary / "all.json", code.of(*modules))
    say(f"{folder}: {len(modules)} modules")


def _compile() -> None:
    """What Python keeps of modules lies beside them, where DVC takes a new one for a change; so all are there before it looks.

    In the folders of experiments the code is outside of DVC's project, and no .dvcignore holds.
    """
    if not sys.dont_write_bytecode:
        for package in ("itrcore", "stages"):
            compileall.compile_dir(Path(__file__).parents[1] / package, quiet=2)


if __name__ == "__main__":
    run_stage(main)
