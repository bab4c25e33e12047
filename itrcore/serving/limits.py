"""What a server takes: how large a request may be, how many at a time, and for how long. docs/serving.md lists these numbers."""

from __future__ import annotations

from dataclasses import dataclass

from itrcore.cores import cores

TEXT = 1000  # characters of a query; the longest captions of the field have 500
BEST = 100  # results of a search
JSON = 16_000  # bytes of a JSON body: a text, every character of it escaped
SIDE = 512  # pixels of the longer side of a picture that is sent
CONNECTIONS = 512  # at once, of all clients
HEADERS = 10  # seconds until a request's headers are there; then its connection is closed
RETRY = 1  # seconds after which a refused client may ask again


@dataclass(frozen=True)
class Limits:
    """What whoever runs the server may change.

    workers: requests that are computed at once; queue: further ones that wait; what comes beyond gets 503
    per_client: requests of one address that are computed or wait; what comes beyond gets 429
    seconds: that a request may take, from its headers on
    upload: bytes of a picture; megapixels: of a picture
    """

    workers: int = min(4, cores())
    queue: int = 64
    per_client: int = 16
    seconds: float = 10.0
    upload: int = 8_000_000
    megapixels: float = 25.0
