"""The zstd profile (section 6.4), checked on the bytes before a decoder sees them."""

import zstandard

from .rules import Rejected, expect

MAGIC = bytes.fromhex("28b52ffd")
_SIZE_BYTES = (0, 2, 4, 8)
_DECODER = zstandard.ZstdDecompressor()


def _outside(where, text):
    return Rejected("zstd-profile", where, text)


def _take(data, offset, length, where):
    part = data[offset : offset + length]
    if len(part) < length:
        raise _outside(where, f"cut at byte {len(data)}")
    return int.from_bytes(part, "little")


def _frame_header(data, where):
    """Items 1 to 3: (content size, window size, where the first block begins)."""
    if data[:4] != MAGIC:
        raise _outside(where, f"magic number: expected 28b52ffd, found {bytes(data[:4]).hex()}")
    descriptor = _take(data, 4, 1, where)
    if descriptor & 0b1111:
        text = f"frame header descriptor {descriptor:#010b}: a bit of 0 to 3 is set"
        raise _outside(where, text)
    offset = 5
    single = bool(descriptor & 0b100000)
    window = None
    if not single:
        number = _take(data, offset, 1, where)
        exponent, mantissa = number >> 3, number & 7
        window = (1 << 10 + exponent) + (mantissa << 7 + exponent)
        offset += 1
    flag = descriptor >> 6
    length = _SIZE_BYTES[flag] or int(single)
    if not length:
        raise _outside(where, "no frame content size")
    size = _take(data, offset, length, where) + (256 if length == 2 else 0)
    return size, size if window is None else window, offset + length


def content_size(data, where):
    """The frame content size of a page's frame (7.5)."""
    return _frame_header(data, where)[0]


def check_profile(data, decoded, where):
    """Check a payload that decodes to `decoded` bytes."""
    size, window, offset = _frame_header(data, where)
    if size != decoded:
        raise _outside(where, f"frame content size: expected {decoded}, found {size}")
    if window > max(decoded, 1024):
        raise _outside(where, f"a window of {window} bytes for {decoded}")
    last = False
    while not last:
        head = _take(data, offset, 3, where)
        last, kind, length = head & 1, head >> 1 & 3, head >> 3
        if kind == 3:
            raise _outside(where, f"block type 3 at byte {offset}")
        offset += 3 + (1 if kind == 1 else length)
        if offset > len(data):
            raise _outside(where, "a block is cut")
    if offset != len(data):
        raise _outside(where, f"{len(data) - offset} bytes after the last block")


def decode(data, decoded, where):
    """Check the profile and decode to exactly `decoded` bytes."""
    check_profile(data, decoded, where)
    try:
        plain = _DECODER.decompress(data, max_output_size=decoded)
    except zstandard.ZstdError as error:
        raise Rejected("zstd-decode", where, str(error)) from None
    expect("decoded-length", where, "decoded length", decoded, len(plain))
    return plain
