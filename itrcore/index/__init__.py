"""Indexes of pictures on disk: built, brought up to date, opened, searched, their proposals scored again."""

from itrcore.index.opened import Found, PictureIndex, open_index

__all__ = ["Found", "PictureIndex", "open_index"]
