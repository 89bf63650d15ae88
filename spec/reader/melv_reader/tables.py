"""Digest tables: map root, span root, span page (section 7.3)."""

import struct

from .header import whole_object
from .rules import Rejected

MAP_ROOT = b"melvmapr"
SPAN_ROOT = b"melvspnr"
SPAN_PAGE = b"melvspnp"
_ENTRY = struct.Struct("<I32s")


def read_table(data, where, magic, index_max, digest=None):
    """Check a table whose indexes are below `index_max`: {index: digest}, in order."""
    cursor = whole_object(data, where, magic, digest)
    if not cursor.left:
        raise Rejected("empty-page", cursor.place(), "expected at least one entry")
    entries = {}
    last = -1
    while cursor.left >= _ENTRY.size:
        place = cursor.place()
        index, entry = _ENTRY.unpack(cursor.take(_ENTRY.size))
        if index <= last:
            raise Rejected("table-order", place, f"index {index} after {last}")
        if index >= index_max:
            raise Rejected("table-range", place, f"index {index} of {index_max}")
        last = index
        entries[index] = entry
    cursor.finish()
    return entries
