"""The store header, the file `melv.store` (section 5.1)."""

from .cursor import Cursor
from .digests import object_digest
from .header import check_header
from .limits import HEADER, NONE
from .rules import Rejected, expect

MAGIC = b"melvstor"
LENGTH = 96


def read_store_header(data, where):
    """Check a store header; its writer mask."""
    header = check_header(data, where, MAGIC, len(data) - HEADER, writer_mask=True)
    cursor = Cursor(data, where, HEADER)
    domain = cursor.digest()
    place = cursor.place()
    checksum = cursor.digest()
    cursor.finish()
    expect("checksum", place, "checksum", object_digest(data[:64]), checksum)
    expect("domain", f"{where}, byte 32", "domain", NONE, domain)
    return header.writer_mask


def check_writable(writer_mask, where):
    """What a writer must refuse (3.1, 9.3)."""
    if writer_mask:
        raise Rejected("writer-bit", f"{where}, byte 20", f"unknown bits {writer_mask:#x}")
