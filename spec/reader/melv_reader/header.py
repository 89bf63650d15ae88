"""The header that objects begin with (sections 3.1 and 3.3)."""

from typing import NamedTuple

from .cursor import Cursor
from .digests import check_object
from .limits import HEADER
from .rules import Rejected, expect


class Header(NamedTuple):
    """What a header says and a reader does not demand."""

    minor: int
    ignore_mask: int
    writer_mask: int
    body_len: int


def check_header(data, where, magic, body_len, writer_mask=False):
    """Check the first 32 bytes of `data`.

    `body_len` is the value that the field must have, or None where the caller checks it (10.1).
    Only the store header may have a writer mask.
    """
    cursor = Cursor(data, where)
    expect("magic", cursor.place(), "magic", magic, bytes(cursor.take(8)))
    expect("version", cursor.place(), "major version", 1, cursor.u8())
    minor = cursor.u8()
    expect("digest-algorithm", cursor.place(), "digest algorithm", 1, cursor.u8())
    cursor.reserved(1)
    refuse = cursor.u32()
    if refuse:
        raise Rejected("refuse-bit", f"{where}, byte 12", f"unknown bits {refuse:#x}")
    ignore = cursor.u32()
    writer = cursor.u32()
    if writer and not writer_mask:
        raise Rejected("reserved", f"{where}, byte 20", f"expected 0, found {writer:#x}")
    body = cursor.u64()
    if body_len is not None:
        expect("body-length", f"{where}, byte 24", "body length", body_len, body)
    return Header(minor, ignore, writer, body)


def whole_object(data, where, magic, digest=None):
    """Check header and, where it is known, digest of a whole object; a cursor behind the header.

    The header comes first, so that a newer object is told from a damaged one (3.3).
    """
    check_header(data, where, magic, len(data) - HEADER)
    if digest is not None:
        check_object(data, digest, where)
    return Cursor(data, where, HEADER)
