"""The command `itr`."""

from itrcore import interrupt  # noqa: F401 (before all that takes long to import)
