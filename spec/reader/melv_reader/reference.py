"""References, the files `refs/NAME/TAG` (section 5.2)."""

import re
from typing import NamedTuple

from . import limits
from .digests import object_digest
from .header import whole_object
from .rules import Rejected, expect, expect_at_most

MAGIC = b"melvrefr"
LENGTH = 80 + limits.NAME + 32
_PART = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*\Z", re.ASCII)


class Reference(NamedTuple):
    """A name, the image that has it, and since when."""

    name: str
    image: bytes
    created: int


def is_part(text):
    """Whether a text is a NAME or a TAG."""
    return 1 <= len(text) <= limits.NAME_PART and _PART.match(text) is not None


def is_name(text):
    """Whether a text is NAME ‖ `:` ‖ TAG."""
    name, colon, tag = text.partition(":")
    return bool(colon) and is_part(name) and is_part(tag)


def read_reference(data, where, name):
    """Check the reference that lies at the path of `name`."""
    cursor = whole_object(data, where, MAGIC)
    image = cursor.digest()
    created = cursor.u64()
    length = cursor.u32()
    expect_at_most("limit", f"{where}, byte 72", "length of the name", limits.NAME, length)
    cursor.reserved(4)
    text = bytes(cursor.take(length))
    place = cursor.place()
    checksum = cursor.digest()
    cursor.finish()
    expect("checksum", place, "checksum", object_digest(data[: 80 + length]), checksum)
    try:
        found = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected("text", f"{where}, byte 80", f"the name is not UTF-8: {error}") from None
    expect("reference-name", f"{where}, byte 80", "name", name, found)
    return Reference(name, image, created)
