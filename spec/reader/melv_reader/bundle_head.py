"""The head of a bundle (section 10.1)."""

from typing import NamedTuple

from .cursor import Cursor
from .digests import object_digest
from .header import check_header
from .limits import HEADER, TABLE
from .rules import Rejected, expect, expect_at_most

MAGIC = b"melvbndl"
LENGTH = 512
_CHECKED = 480


class BundleHead(NamedTuple):
    """Where the table is; `end` is the length of the bundle."""

    end: int
    table_offset: int
    table_len: int
    tail_offset: int
    table_digest: bytes


def read_bundle_head(data, size, where, device=False):
    """Check a head; `size` is that of the file or device."""
    header = check_header(data, where, MAGIC, None)
    cursor = Cursor(data[:LENGTH], where, HEADER)
    cursor.take(_CHECKED - HEADER)
    checksum = cursor.digest()
    found = object_digest(data[:_CHECKED])
    expect("checksum", f"{where}, byte {_CHECKED}", "checksum", found, checksum)
    end = HEADER + header.body_len
    if end > size:
        raise Rejected("truncated", where, f"expected {end} bytes, found {size}")
    if end < size and not device:
        raise Rejected("trailing-bytes", where, f"expected {end} bytes, found {size}")
    cursor = Cursor(data[:_CHECKED], where, HEADER)
    expect("key-slot", cursor.place(), "key slot", 0, cursor.u32())
    cursor.reserved(4)
    table_offset, table_len, tail_offset = (cursor.u64() for _ in range(3))
    digest = cursor.digest()
    cursor.reserved(384)
    cursor.finish()
    expect_at_most("limit", f"{where}, byte 48", "length of the table", TABLE, table_len)
    if not LENGTH <= tail_offset <= table_offset or table_offset + table_len != end:
        text = (
            f"expected {LENGTH} <= tail {tail_offset} <= table {table_offset},"
            f" and {table_offset} + {table_len} = {end}"
        )
        raise Rejected("bundle-layout", f"{where}, byte 40", text)
    return BundleHead(end, table_offset, table_len, tail_offset, digest)
