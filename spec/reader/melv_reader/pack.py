"""Packs: files of frames (section 6.2)."""

import struct
from typing import NamedTuple

from .cursor import Cursor
from .digests import object_digest
from .guard import check_guard
from .header import check_header
from .limits import FRAME, PACK, PACK_FRAMES
from .rules import Rejected, expect, expect_at_most

MAGIC = b"melvpack"
HEAD = 48
TRAILER = 56
END = b"melvpend"
_INDEX = struct.Struct("<8sIQ")


class Pack(NamedTuple):
    """What the trailer of a pack says, and its index."""

    id: bytes
    frames: int
    frames_len: int
    index: bytes

    def places(self):
        """(key, offset, length, guard) of each frame."""
        offset = HEAD
        for key, length, guard in _INDEX.iter_unpack(self.index):
            yield key, offset, length, guard
            offset += length


def check_pack_head(blob):
    """What a reader checks of a pack that it has opened; the head."""
    expect_at_most("limit", blob.where, "length of the pack", PACK, blob.size)
    head = blob.read(0, min(HEAD, blob.size))
    check_header(head, blob.where, MAGIC, 0)
    cursor = Cursor(head, blob.where, 32)
    key_slot = cursor.u32()
    expect("key-slot", f"{blob.where}, byte 32", "key slot", 0, key_slot)
    cursor.reserved(12)
    return head


def read_pack(blob):
    """Check head, index and trailer."""
    head = check_pack_head(blob)
    where = f"{blob.where}, trailer"
    if blob.size < HEAD + TRAILER:
        text = f"{blob.size} bytes are no head and trailer"
        raise Rejected("truncated", where, text)
    trailer = blob.read(blob.size - TRAILER, TRAILER)
    expect("pack-end", where, "end mark", END, trailer[48:])
    frames, frames_len = struct.unpack_from("<QQ", trailer)
    expect_at_most("limit", where, "frames", PACK_FRAMES, frames)
    if frames == 0:
        raise Rejected("limit", where, "expected at least one frame")
    whole = HEAD + frames_len + _INDEX.size * frames + TRAILER
    expect("pack-length", where, "length of the pack", whole, blob.size)
    index = blob.read(HEAD + frames_len, _INDEX.size * frames)
    found = object_digest(head + index + trailer[:16])
    expect("checksum", where, "pack id", found, trailer[16:48])
    _check_lengths(index, frames_len, f"{blob.where}, index")
    return Pack(found, frames, frames_len, index)


def _check_lengths(index, frames_len, where):
    total = 0
    for number, (_, length, _) in enumerate(_INDEX.iter_unpack(index)):
        expect_at_most("limit", f"{where}, record {number}", "length of the frame", FRAME, length)
        total += length
    expect("pack-length", where, "sum of the frames' lengths", frames_len, total)


def check_guards(blob, pack):
    """Check every frame against its guard in the index: the first bytes of the id are its key."""
    for key, offset, length, guard in pack.places():
        where = f"{blob.where}, frame at byte {offset}"
        check_guard(blob.read(offset, length), key, guard, where)
