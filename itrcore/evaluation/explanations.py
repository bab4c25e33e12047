"""Which words of a caption look at which regions of a picture: `explained.json` of a run, one explanation for `itr explain`.

It takes a method that attends (`itrcore.methods.contract.Attends`), and regions whose place in the picture is known: boxes,
or the cells of a grid over the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itrcore.data.feeding.images import Images
from itrcore.data.feeding.pixels import PixelImages
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.text.tokens import Tokenised, Tokeniser
from itrcore.layers.encoded import Sets
from itrcore.methods.contract import Attends, Method
from itrcore.runs.examples import Explained, Explanation, Look, Retrieved, Word
from itrcore.runs.folder import EXPLAINED, RETRIEVED, read
from itrcore.runs.folder import write as write_record

STRONGEST = 3  # regions kept of each word; the fourth of 36 hardly ever matters, and more boxes hide the picture

# Words that name nothing in a picture: they stay in the caption, but get no picture of their own.
_FUNCTION_WORDS = """
    a an the this that these those some any each every no both all another other such
    i you he she it we they me him her us them my your his its our their who whom whose which what where when why how
    himself herself itself themselves there here
    of in on at by to from with without for into onto upon off as than through during while
    and or but nor so if because though although then also too very just not n't 's
    is are was were be been being am 're 'm do does did has have had having can could may might will would
    <unk> [unk]
"""


def words(tokens: Tokenised, texts: Sequence[str], attention: np.ndarray) -> tuple[Word, ...]:
    """The words of a caption, without special tokens.

    Pieces of one word become that word, with the mean of their weights, which sums to 1 as theirs do.
    tokens, texts: of `encode` and `token_texts` of the caption; attention: (n_tokens, n_regions), rows sum to 1
    `ValueError` where the three differ in length.
    """
    if not len(tokens.ids) == len(texts) == len(attention):
        raise ValueError(f"{len(tokens.ids)} tokens, {len(texts)} texts, {len(attention)} rows of attention")
    rows: dict[int, list[int]] = {}
    for token, word in enumerate(tokens.words):
        if word >= 0:
            rows.setdefault(word, []).append(token)
    return tuple(_word("".join(texts[i] for i in pieces), attention[pieces].mean(0)) for pieces in rows.values())


def _word(text: str, weights: np.ndarray) -> Word:
    strongest = np.argsort(-weights, kind="stable")[:STRONGEST]
    named = any(map(str.isalnum, text)) and text.lower() not in _FUNCTION_WORDS.split()
    looks = tuple(Look(region=int(region), weight=round(float(weights[region]), 4)) for region in strongest)
    return Word(text=text, named=named, looks=looks)


def boxes_of(images: Images, row: int, n_regions: int) -> np.ndarray | None:
    """Where an image's regions are: (n_regions, 4), x1, y1, x2, y2 in pixels of the stored picture; None where unknown.

    n_regions: how many the method attends to; of a grid these are its cells, row by row
    """
    if isinstance(images, RegionImages):
        return images.store.boxes(row)
    side = math.isqrt(n_regions)
    if isinstance(images, PixelImages) and images.given.framing == "stretch" and side**2 == n_regions:
        y, x = np.divmod(np.arange(n_regions), side)
        cells: np.ndarray = np.stack([x, y, x + 1, y + 1], 1) / side * np.tile(images.store.image(row).size, 2)
        return cells
    return None


def explain(
    method: Attends,
    image: Sets,
    text: Sets,
    tokeniser: Tokeniser,
    caption: str,
    shown: Images,
    row: int,
    file_name: str | None,
) -> Explanation | None:
    """The explanation of one encoded image and one encoded caption; None where the place of the regions is unknown.

    caption: as text; shown, row: where the image is read from, for its boxes; file_name: of the picture
    A box that is not finite becomes empty, and is then not drawn.
    """
    attention = method.attention(image, text).float().cpu().numpy()
    boxes = boxes_of(shown, row, attention.shape[1])
    if boxes is None:
        return None
    finite = np.where(np.isfinite(boxes).all(1, keepdims=True), boxes, 0)
    return Explanation(
        caption=caption,
        image_id=shown.image_ids[row],
        file_name=file_name,
        boxes=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in finite.astype(float).round(1).tolist()),
        words=words(tokeniser.encode(caption), tokeniser.token_texts(caption), attention),
    )


def write(folder: Path, method: Method[Any, Any], split: Split, tokeniser: Tokeniser) -> None:
    """Write explained.json beside the folder's retrieved.json; write nothing where nothing can be explained.

    split: of the queries. Only the images and captions that are shown are encoded, on the CPU.
    """
    if not isinstance(method, Attends):
        return
    method.eval()
    row_of = {image_id: row for row, image_id in enumerate(split.images.image_ids)}
    explained = []
    with torch.inference_mode():
        for query in read(folder / RETRIEVED, Retrieved, "judge").text_to_image:
            tokens = np.array(tokeniser.encode(query.caption).ids)
            # Where an image has the same caption twice, the first will do.
            own = np.flatnonzero(split.image_of == row_of[query.image_id]).tolist()
            caption = next(row for row in own if np.array_equal(split.tokens.ids_of(row), tokens))
            text = method.encode_texts(split.texts([caption]))
            of_query = []
            pictures = {query.image_id: query.file_name}
            pictures |= {image.image_id: image.file_name for image in query.retrieved[:1]}
            for image_id, file_name in pictures.items():
                row = row_of[image_id]
                image = method.encode_images(split.images.batch([row]))
                of_query.append(explain(method, image, text, tokeniser, query.caption, split.images, row, file_name))
            explained.append(tuple(explanation for explanation in of_query if explanation is not None))
    if any(explained):
        write_record(folder / EXPLAINED, Explained(text_to_image=tuple(explained)))
