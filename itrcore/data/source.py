"""Where a data set's SCAN files lie and what they are: the record that the stage `raw` leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itrcore.errors import DataError
from itrcore.files import read_json


@dataclass(frozen=True)
class Source:
    """Where a data set's SCAN files lie and what they are.

    folder: of the SCAN files; splits: our split → prefix of its files; pictures: folder of the images, where there is one
    features: `bottom-up attention` for SCAN's own, else `synthetic` or `simulated`; shown with every result
    content: digest of the files where they lie outside; the stages after this one depend on this record alone
    """

    folder: str
    splits: dict[str, str]
    features: str
    pictures: str | None
    content: str | None = None

    @classmethod
    def read(cls, raw: Path) -> Source:
        """Read `source.json`; `DataError` where the stage `raw` has not run."""
        path = raw / "source.json"
        if not path.exists():
            raise DataError.at(path, "no such file", "the output of stage raw", do="Run: dvc repro")
        return cls(**read_json(path))
