"""How much a file from outside may hold. docs/security.md lists these numbers; every reader keeps to them.

They lie far above what data sets of the field need and far below what fills a machine's memory.
"""

from __future__ import annotations

JSON = 64 * 10**6  # bytes of a JSON file
KARPATHY = 512 * 10**6  # bytes of Karpathy's JSON; COCO's has 144 MB
DEPTH = 64  # objects and lists inside each other
DIGITS = 20  # of a whole number in a JSON file: 64 bits and a sign

YAML = 200_000  # bytes of a settings file; a run takes about 100
VALUES = 100_000  # of a settings file, each alias counted as often as it is used

ROWS = 10_000_000  # of a table or a text file; COCO has 616,767 captions
FOOTER = 10**6  # bytes of a Parquet file's footer
TEXT = 10**9  # bytes of a file of captions or of a table, unpacked
PICTURE = 512 * 10**6  # bytes of a picture's file
LINE = 10**6  # bytes of one line
VECTORS = 64 * 10**9  # bytes of a file of word vectors, unpacked

RATIO = 100  # unpacked to packed bytes; text has 3 to 10, the best that deflate can do is 1,030
SMALL = 16 * 10**6  # unpacked bytes that are allowed at any ratio
ENTRIES = 1_000_000  # of an archive
HEADER = 16 * 1024  # bytes of a tar's extended header: a path and a few attributes

UNANNOUNCED = 4 * 10**9  # bytes of an answer whose server does not say how long it is
NAME = 255  # bytes of a file's name, as most file systems have it
PATH = 1024  # characters of a name with its folders


def unpacked(packed: int, most: int | None = None) -> int:
    """How many bytes a file of `packed` bytes may unpack to. most: whatever the ratio is; None: any number"""
    allowed = max(SMALL, RATIO * packed)
    return allowed if most is None else min(allowed, most)
