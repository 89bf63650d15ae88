"""Frames: some or all blocks of a chunk, as stored (sections 6.3 and 6.4)."""

from typing import NamedTuple

from . import zstd_profile
from .cursor import Cursor
from .digests import block_digest, chunk_id
from .limits import BLOCK
from .rules import Rejected, expect

RAW = 0
ZSTD = 1


class Frame(NamedTuple):
    """A decoded frame: block bytes by place, and the digests of all blocks of the chunk."""

    blocks: dict
    digests: list
    partial: bool


def open_frame(data, blocks, where, partial=None):
    """Decode a frame of a chunk of `blocks` blocks.

    `partial` is what the locator's record says of it (6.5), None where there is none. The caller
    has checked the guard.
    """
    cursor = Cursor(data, where)
    codec = cursor.u8()
    if codec not in (RAW, ZSTD):
        raise Rejected("codec", f"{where}, byte 0", f"expected 0 or 1, found {codec}")
    expect("transform", f"{where}, byte 1", "transform", 0, cursor.u8())
    flags = cursor.u8()
    if flags > 1:
        raise Rejected("reserved", f"{where}, byte 2", f"flags: expected 0 or 1, found {flags}")
    cursor.reserved(1)
    if partial is not None:
        expect("frame-mask", f"{where}, byte 2", "partial flag", int(partial), flags)
    held = _mask(cursor, blocks) if flags else list(range(blocks))
    absent = {}
    if flags:
        holds = set(held)
        absent = {n: cursor.digest() for n in range(blocks) if n not in holds}
    plain = _payload(cursor, codec, len(held) * BLOCK)
    return _frame(held, absent, plain, blocks, bool(flags))


def _mask(cursor, blocks):
    """The blocks that a partial frame holds."""
    place = cursor.place()
    length = (blocks + 7) // 8
    bits = int.from_bytes(cursor.take(length), "little")
    if bits == 0 or bits >= (1 << blocks) - 1:
        text = f"mask {bits:#x} of a chunk of {blocks} blocks is empty, full or too long"
        raise Rejected("frame-mask", place, text)
    return [n for n in range(blocks) if bits >> n & 1]


def _payload(cursor, codec, length):
    """The blocks held, decoded."""
    place = cursor.place()
    payload = cursor.take(cursor.left)
    if codec == RAW:
        expect("raw-length", place, "length of raw bytes", length, len(payload))
        return bytes(payload)
    return zstd_profile.decode(payload, length, place)


def _frame(held, absent, plain, blocks, partial):
    view = memoryview(plain)
    found = {n: view[at * BLOCK : (at + 1) * BLOCK] for at, n in enumerate(held)}
    digests = [absent[n] if n in absent else block_digest(found[n]) for n in range(blocks)]
    return Frame(found, digests, partial)


def check_chunk_id(frame, expected, where):
    """Reject a frame whose blocks are another chunk's (4.1, 6.3)."""
    expect("chunk-id", where, "chunk id", expected, chunk_id(frame.digests))
