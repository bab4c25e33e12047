"""Which words of a caption look at which regions of a picture: `explained.json` of a run, and one explanation for `itr explain`.

Only methods that attend (`itrcore.methods.contract.Attends`) can be asked, where regions have a place in the picture: boxes, or the
cells of a grid over the whole of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itrcore.data.text.tokens import Tokenised, Tokeniser
from itrcore.runs.examples import Explained, Explanation, Look, Retrieved, Word
from itrcore.runs.folder import EXPLAINED, RETRIEVED, read
from itrcore.runs.folder import write as write_record

if TYPE_CHECKING:
    from itrcore.data.feeding.images import Images
    from itrcore.data.feeding.split import Split
    from itrcore.layers.encoded import Sets
    from itrcore.methods.contract import Attends, Method

STRONGEST = 3  # regions kept of each word; the fourth of 36 hardly ever matters, and more boxes hide the picture

# Words that name nothing in a picture: they are in the caption, but get no picture of their own.
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
    """A caption's words, without special tokens: those are no words, and what they look at says nothing about any.

    Pieces of one word become that word, with the mean of their weights: each piece's sum to 1, so the word's do too.

    tokens, texts: of `encode` and `token_texts` of the caption; attention: (n_tokens, n_regions)
    `ValueError` where the three do not fit together.
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
    """Where an image's regions are, (n_regions, 4), x1, y1, x2, y2 in pixels of the picture as stored; None where unknown.

    n_regions: as many as the method attends to; of a grid, its cells, row by row
    """
    from itrcore.data.feeding.pixels import PixelImages
    from itrcore.data.feeding.regions import RegionImages

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
    """The explanation of one encoded image, which is `shown`'s at `row`, and one encoded caption.

    None where it is not known where the regions are. A box that is not finite becomes empty, and is then not drawn.
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
    """Write explained.json beside the retrieved.json that the folder holds; nothing where nothing can be explained.

    split: what the queries are of. Only what is shown is encoded, on the CPU.
    """
    import torch

    from itrcore.methods.contract import Attends

    if not isinstance(method, Attends):
        return
    method.eval()
    row_of = {image_id: row for row, image_id in enumerate(split.images.image_ids)}
    explained = []
    with torch.inference_mode():
        for query in read(folder / RETRIEVED, Retrieved, "judge").text_to_image:
            tokens = np.array(tokeniser.encode(query.caption).ids)
            # Where an image has the same caption twice, any of the two will do.
            own = np.flatnonzero(split.image_of == row_of[query.image_id]).tolist()
            caption = next(at for at in own if np.array_equal(split.tokens.ids_of(at), tokens))
            text = method.encode_texts(split.texts([caption]))
            of_query = []
            shown = {query.image_id: query.file_name} | {one.image_id: one.file_name for one in query.retrieved[:1]}
            for image_id, file_name in shown.items():
                row = row_of[image_id]
                image = method.encode_images(split.images.batch([row]))
                of_query.append(explain(method, image, text, tokeniser, query.caption, split.images, row, file_name))
            explained.append(tuple(one for one in of_query if one is not None))
    if any(explained):
        write_record(folder / EXPLAINED, Explained(text_to_image=tuple(explained)))
