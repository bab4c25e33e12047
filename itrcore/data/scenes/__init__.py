"""The embedded data set: small drawn rooms with objects, captioned by a grammar, with region features."""

from itrcore.data.scenes.build import write_scenes

__all__ = ["write_scenes"]
