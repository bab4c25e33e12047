"""Where a data set's files lie and what they are: the record that the stage `raw` leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from itrcore.errors import DataError
from itrcore.files import read_json, sealed, text_of, write_sealed
from itrcore.settings.datasets import SPLITS


@dataclass(frozen=True)
class Source:
    """Where a data set's files lie and what they are; what it does not have is None.

    features: `bottom-up attention` for SCAN's own, else `synthetic`, `simulated` or `none`; shown with every result
    splits: our split → prefix of its SCAN files
    folder: of the SCAN files
    id_mapping: the JSON file of image id → file name
    karpathy: Karpathy's JSON file
    pictures: the folder of the pictures
    vocabulary: SCAN's released vocabulary, where it lies with the files
    published: url and cache of shards that someone published (`ShardsSource`); there is nothing else then
    reads: path → SHA-256 of the files that lie outside: the stages after `raw` depend on this record alone
    content: digest of what else lies outside: names and sizes of the pictures, or what was published
    """

    features: str
    splits: dict[str, str] = field(default_factory=lambda: {split: split for split in SPLITS})
    folder: str | None = None
    id_mapping: str | None = None
    karpathy: str | None = None
    pictures: str | None = None
    vocabulary: str | None = None
    published: dict[str, str] | None = None
    reads: dict[str, str] = field(default_factory=dict)
    content: str | None = None

    def write(self, raw: Path) -> None:
        """Write `source.json`."""
        write_sealed(raw / "source.json", asdict(self))

    @classmethod
    def read(cls, raw: Path) -> Source:
        """Read `source.json`; `DataError` where the stage `raw` has not run, or the file has changed since."""
        path = raw / "source.json"
        if not path.exists():
            raise DataError.at(path, "no such file", "the output of stage raw", do="Run: dvc repro")
        try:
            source = cls(**sealed(read_json(path)))
            for name, value in vars(source).items():
                if isinstance(value, dict) and name in ("splits", "published", "reads"):
                    for key, text in value.items():
                        text_of(text, f"{key} of {name}")
                elif value is not None or name in ("features", "splits", "reads"):
                    text_of(value, name)
            return source
        except (TypeError, ValueError) as error:
            raise DataError.at(
                path, f"cannot be read ({error})", "what stage raw writes", do="Run: dvc repro"
            ) from error
