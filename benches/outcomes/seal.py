"""Lengths and digests of objects put right after a change, so that the checks behind them are reached.

The object digest is BLAKE3 with a derived key, here in plain Python: a millisecond for 100 bytes.
"""

import struct
from functools import lru_cache

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, AT_ROOT, KEY_CONTEXT, KEY_MATERIAL = 1, 2, 4, 8, 32, 64
CHUNK_LEN, BLOCK_LEN, WORD = 1024, 64, 0xFFFFFFFF
HEAD_LEN, HEADER_LEN = 512, 32


def compress(chaining, block, counter, length, flags):
    words = struct.unpack("<16I", block.ljust(BLOCK_LEN, b"\0"))
    state = [*chaining, *IV[:4], counter & WORD, counter >> 32, length, flags]
    for _ in range(7):
        for number, (a, b, c, d) in enumerate(COLUMNS + DIAGONALS):
            va, vb, vc, vd = state[a], state[b], state[c], state[d]
            for word, first, second in ((words[2 * number], 16, 12), (words[2 * number + 1], 8, 7)):
                va = (va + vb + word) & WORD
                vd ^= va
                vd = (vd >> first | vd << 32 - first) & WORD
                vc = (vc + vd) & WORD
                vb ^= vc
                vb = (vb >> second | vb << 32 - second) & WORD
            state[a], state[b], state[c], state[d] = va, vb, vc, vd
        words = [words[at] for at in ORDER]
    return tuple(state[at] ^ state[at + 8] for at in range(8))


def subtree(key, flags, data, number, top):
    """The chaining value of whole chunks from `number` on."""
    if len(data) > CHUNK_LEN:
        left = CHUNK_LEN
        while left * 2 < len(data):
            left *= 2
        pair = [*subtree(key, flags, data[:left], number, 0), *subtree(key, flags, data[left:], number + left // CHUNK_LEN, 0)]
        return compress(key, struct.pack("<16I", *pair), 0, BLOCK_LEN, flags | PARENT | top)
    value, starts = key, range(0, max(len(data), 1), BLOCK_LEN)
    for at in starts:
        block = data[at : at + BLOCK_LEN]
        here = flags | (CHUNK_START if at == 0 else 0) | (CHUNK_END | top if at == starts[-1] else 0)
        value = compress(value, block, number, len(block), here)
    return value


@lru_cache
def key_of(context):
    return subtree(IV, KEY_CONTEXT, context, 0, AT_ROOT)


@lru_cache(maxsize=4096)
def object_digest(data, context=b"melv 2026 object v1"):
    return struct.pack("<8I", *subtree(key_of(context), KEY_MATERIAL, data, 0, AT_ROOT))


def number(data, at, length):
    return int.from_bytes(data[at : at + length], "little")


def with_length(data):
    """An object whose header fits its length."""
    if len(data) < HEADER_LEN:
        return data
    return data[:24] + (len(data) - HEADER_LEN).to_bytes(8, "little") + data[HEADER_LEN:]


def sealed(data):
    """An object as a forger would leave it, as far as its magic says which digests it has."""
    magic = data[:8]
    if len(data) < HEADER_LEN or magic not in (b"melvstor", b"melvrefr", b"melvloca", b"melvrecd"):
        return data
    data = with_length(data)
    if magic != b"melvrecd":
        return data[:-32] + object_digest(data[:-32])
    begin = 96 + number(data, 32, 4)
    end = begin + 32 * number(data, 44, 4) + 16 * (number(data, 48, 4) + number(data, 52, 4))
    if end > len(data):
        return data
    return data[:64] + object_digest(data[:64] + data[begin:end]) + data[96:]


def sealed_bundle(data):
    """A bundle whose head fits its length and its table."""
    table = number(data, 40, 8)
    if len(data) < HEAD_LEN or not HEAD_LEN <= table < len(data):
        return data
    head = bytearray(data[:HEAD_LEN])
    head[24:32] = (len(data) - HEADER_LEN).to_bytes(8, "little")
    head[48:56] = (len(data) - table).to_bytes(8, "little")
    head[64:96] = object_digest(data[table:])
    head[480:512] = object_digest(bytes(head[:480]))
    return bytes(head) + data[HEAD_LEN:]


def sealed_locator(file):
    """The file of a locator, with the digests of its pages and of its root."""
    begin = len(file) - 8 - number(file, len(file) - 8, 8)
    pages = [file[at : min(at + 24576, begin)] for at in range(0, begin, 24576)]
    digests = b"".join(object_digest(page, b"melv 2026 page v1") for page in pages)
    if begin < 0 or len(file) - begin < 40 + len(digests):
        return file
    root = file[begin:-8]
    root = root[: len(root) - 32 - len(digests)] + digests
    return file[:begin] + root + object_digest(root) + file[-8:]


def forged_image(record, page_file, kind, part):
    """An image with this part instead of a sound one, and all that has its digest: (image, record, page file).

    The sound one has one leaf, one span page and one page file. The part is a manifest, a map or span root, a map
    leaf or a span page.
    """
    ends = [96]
    for length in (number(record, 32, 4), 32 + 32, number(record, 36, 4), number(record, 40, 4)):
        ends.append(ends[-1] + length)
    manifest, places, map_root, span_root = (record[begin:end] for begin, end in zip(ends, ends[1:]))
    places = places[32:]
    if kind in ("map-leaf", "span-page"):
        place = b"\0" * 4 + len(part).to_bytes(4, "little") + len(page_file).to_bytes(8, "little")
        page_file += part
        if kind == "map-leaf":
            places, map_root = place + places[16:], map_root[:36] + object_digest(part)
        else:
            places, span_root = places[:16] + place, span_root[:36] + object_digest(part)
    map_root = part if kind == "map-root" else map_root
    span_root = part if kind == "span-root" else span_root
    manifest = manifest[:88] + object_digest(map_root) + object_digest(span_root) + manifest[152:]
    manifest = part if kind == "manifest" else manifest
    counts = [(len(root) - HEADER_LEN) // 36 for root in (map_root, span_root)]
    places = places[:16] * counts[0] + places[16:] * counts[1]
    lengths = (len(manifest), len(map_root), len(span_root), 1, *counts, 0, 0)
    head = record[:32] + struct.pack("<8I", *lengths) + bytes(32)
    record = sealed(head + manifest + object_digest(page_file) + places + map_root + span_root)
    return object_digest(manifest), record, page_file
