"""Packs details for a page: compressed in parcels, which a browser unpacks one at a time.

A page with ten thousand task instances must open at once, so that what nobody asked for yet
stays packed; browsers unpack gzip themselves (DecompressionStream, in all since 2023).
"""

import base64
import gzip
from collections.abc import Iterable, Sequence

import msgspec

PARCEL = 200
"""Task instances in a parcel: some 100 kB of JSON, unpacked within a frame or two."""


def pack(value: object) -> str:
    """Return a value as JSON, gzip and base64; the same value gives the same text."""
    data = gzip.compress(msgspec.json.encode(value), compresslevel=6, mtime=0)
    return base64.b64encode(data).decode()


def parcels(values: Sequence[object], size: int = PARCEL) -> Iterable[str]:
    """Pack values in parcels of `size`."""
    for start in range(0, len(values), size):
        yield pack(values[start : start + size])
