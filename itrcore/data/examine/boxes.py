"""Figures of the region boxes of each split, read from the SCAN folder, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from itrcore.data import scan
from itrcore.data.examine.problems import Finding, Problem, Splits, name_of

_BEYOND = 1.0  # pixels that a box may reach beyond its picture, whose size may have been rounded


@dataclass(frozen=True)
class Boxes:
    """A split's region boxes.

    count: of all images; area: median share of the picture's area that a box covers, None where no picture is known
    """

    count: int
    area: float | None


@dataclass(frozen=True)
class AllBoxes:
    """All splits' boxes."""

    splits: dict[str, Boxes]
    problems: list[Problem]


def examine(
    files: Mapping[str, scan.ScanSplit], splits: Splits, sizes: Mapping[str, Mapping[int, tuple[int, int]]]
) -> AllBoxes:
    """Look at every box. sizes: split → position → width and height of the picture, where it is known."""
    figures: dict[str, Boxes] = {}
    problems: list[Problem] = []
    for split, images in splits.items():
        if split not in files or files[split].boxes is None:
            continue
        broken = Finding("error", f"boxes of {split} that are not finite")
        empty = Finding("warning", f"boxes of {split} without an area")
        outside = Finding("warning", f"boxes of {split} outside of their picture")
        count, areas = 0, []
        for position, image in enumerate(images):
            boxes = files[split].boxes_of(position)
            assert boxes is not None
            count += len(boxes)
            finite = np.isfinite(boxes).all(1)
            name = name_of(split, image)
            _note(broken, name, boxes, ~finite)
            x1, y1, x2, y2 = boxes.T
            flat = finite & ((x2 <= x1) | (y2 <= y1))
            _note(empty, name, boxes, flat)
            # An unknown size leaves the two sides on which a picture starts.
            width, height = sizes.get(split, {}).get(position, (np.inf, np.inf))
            beyond = (x2 > width + _BEYOND) | (y2 > height + _BEYOND)
            beyond |= (x1 < -_BEYOND) | (y1 < -_BEYOND)
            _note(outside, name, boxes, finite & beyond)
            if np.isfinite(width):
                areas.append(((x2 - x1) * (y2 - y1))[finite & ~flat] / (width * height))
        problems += [*broken.problems(), *empty.problems(), *outside.problems()]
        known = np.concatenate(areas) if areas else np.empty(0)
        figures[split] = Boxes(count, float(np.median(known)) if len(known) else None)
    return AllBoxes(figures, problems)


def _note(finding: Finding, name: str, boxes: np.ndarray, which: np.ndarray) -> None:
    if which.any():
        corners = ", ".join(f"{value:g}" for value in boxes[np.flatnonzero(which)[0]])
        finding.add(f"{name}: {int(which.sum())}, the first ({corners})", int(which.sum()))
