"""`itr explain`: which words of a caption look at which regions of a picture, as a table and as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from itrcore import layout
from itrcore.answer import Answer
from itrcore.errors import DataError
from itrcore.terminal import Screen, say

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from itrcore.data.captions import Image
    from itrcore.runs.examples import Explanation
    from itrcore.settings.params import Params

FOLDER = Path("explanations")


def explain(
    run: str = typer.Argument(help="a run in params.yaml, of a method whose words look at regions"),
    image: int | None = typer.Option(None, help="id of a test image; else the caption's own, or the first"),
    caption_id: int | None = typer.Option(None, help="id of a test caption; else the image's first"),
    text: str | None = typer.Option(None, help="a caption of your own"),
    out: Path | None = typer.Option(None, help=f"the PNG; else {FOLDER}/RUN/IMAGE-CAPTION.png"),
) -> Answer:
    """Show which regions of a test picture each word of a caption looks at."""
    if text is not None and caption_id is not None:
        raise DataError("--text and --caption-id both give a caption; expected one of them")
    if text is not None and text.encode("utf-8", "ignore").decode() != text:
        raise DataError("--text is not UTF-8; expected a caption")
    if text is not None and not text.strip():
        raise DataError("--text is empty; expected a caption")
    if out is not None and out.suffix.lower() != ".png":
        raise DataError.at(out, "another ending", "a file that ends in .png")
    from itrcore.report import explanation_picture
    from itrcore.settings.load import load

    params = load()
    data = params.run(run).data
    row, shown, caption, name = _chosen(data, image, caption_id, text)
    explanation = _explain(params, run, row, shown.file_name, caption)
    path = out or FOLDER / run / f"{shown.image_id}-{name}.png"
    facts = [run, f"image {shown.image_id}", *([shown.file_name] if shown.file_name else [])]
    try:
        picture = _picture(data, row, shown)
    except DataError:
        _print(explanation, Screen(highlight=False))  # as much as there is
        raise
    explanation_picture.write(explanation, picture, " · ".join(facts), path)

    def show() -> None:
        _print(explanation, Screen(highlight=False))
        say(str(path))

    return Answer({"run": run, "picture": path, "explanation": explanation}, show)


def _chosen(data: str, image_id: int | None, caption_id: int | None, text: str | None) -> tuple[int, Image, str, str]:
    """The image's row in test, the image, the caption, and the caption's name in file names.

    `DataError` where test has no image or caption of that id.
    """
    from itrcore.data import captions
    from itrcore.runs.folder import SPLIT

    images = captions.read(layout.captions(data), SPLIT)
    row_of = {image.image_id: row for row, image in enumerate(images)}
    place = {id_: (row, at) for row, image in enumerate(images) for at, id_ in enumerate(image.caption_ids)}
    for what, wanted, known in (("image", image_id, row_of), ("caption", caption_id, place)):
        if wanted is not None and wanted not in known:
            ids = f"{len(known):,} from {min(known)} to {max(known)}"
            raise DataError(f"{data}: no {what} {wanted} in test; expected the id of one of its {what}s ({ids})")
    chosen = 0 if image_id is None else row_of[image_id]
    described, at = (chosen, 0) if caption_id is None else place[caption_id]  # the image whose caption it is
    row = described if image_id is None else chosen
    if text is not None:
        return row, images[row], text, "text"
    return row, images[row], images[described].captions[at], str(images[described].caption_ids[at])


def _explain(params: Params, run: str, row: int, file_name: str | None, caption: str) -> Explanation:
    import numpy as np
    import torch

    from itrcore.data.feeding.batches import TextBatch
    from itrcore.data.feeding.prepared import open_split
    from itrcore.evaluation import explanations
    from itrcore.evaluation.load import load_run
    from itrcore.methods.contract import Attends
    from itrcore.runs.folder import SPLIT

    data = params.run(run).data
    trained = load_run(layout.run(data, run))
    method, tokeniser = trained.method, trained.assets.text.tokeniser
    if not isinstance(method, Attends):
        attending = ", ".join(name for name, recipe in params.recipes.items() if recipe.settings.model.attends)
        raise DataError(
            f"{run}: in {trained.record.family} no word looks at regions; expected a run of a method whose words do"
            f" ({attending})"
        )
    split = open_split(data, SPLIT, tokeniser, method.input)
    ids = np.array(tokeniser.encode(caption).ids)
    method.eval()
    with torch.inference_mode():
        image = method.encode_images(split.images.batch([row]))
        words = method.encode_texts(TextBatch.pad([ids]))
        explanation = explanations.explain(method, image, words, tokeniser, caption, split.images, row, file_name)
    if explanation is None:
        raise DataError.at(
            split.images.folder,
            "its regions have no boxes",
            "boxes of the regions beside their features",
            do="docs/data.md says where they are read from.",
        )
    if not explanation.words:
        raise DataError(f"no words in the caption {caption!r}; expected at least one")
    return explanation


def _picture(data: str, row: int, image: Image) -> Picture:
    from itrcore.data import pictures
    from itrcore.data.feeding.shown import ShownPictures
    from itrcore.runs.folder import SPLIT

    name = Path(image.file_name or f"picture of image {image.image_id}")  # for messages
    return pictures.decode(ShownPictures(data, SPLIT).bytes(row, image), name)


def _print(explanation: Explanation, console: Console) -> None:
    console.print(Text(explanation.caption, style="bold"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("word")
    table.add_column("strongest regions and their weights")
    for word in explanation.words:
        # One digit more than elsewhere: with even attention all would read the same.
        looks = ", ".join(f"{look.region + 1} ({100 * look.weight:.1f} %)" for look in word.looks)
        table.add_row(Text(word.text), looks, style=None if word.named else "dim")
    console.print(table)
