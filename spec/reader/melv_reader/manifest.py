"""The manifest: what an image is (section 7.1)."""

from typing import NamedTuple

from . import limits
from .chunk_list import Shape, check_shape
from .disk import check_size
from .header import whole_object
from .limits import NONE, ceil_div
from .rules import Rejected, expect, expect_at_most

MAGIC = b"melvmani"
_KEY = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-_")


class Manifest(NamedTuple):
    """An image; `lists` maps list ids to shapes."""

    logical_bits: int
    physical_bits: int
    leaf_bits: int
    size: int
    data_blocks: int
    content: bytes
    map_root: bytes
    span_root: bytes
    parent: bytes
    lists: dict
    metadata: dict

    @property
    def blocks(self):
        """Blocks of the disk."""
        return ceil_div(self.size, limits.BLOCK)

    @property
    def leaves(self):
        """Leaf ranges of the disk."""
        return ceil_div(self.blocks, 1 << self.leaf_bits)

    def leaf_blocks(self, leaf):
        """Blocks of one leaf range: the last one may have fewer."""
        return min(1 << self.leaf_bits, self.blocks - (leaf << self.leaf_bits))

    def leaf_spans(self, leaf):
        """Spans of one leaf range."""
        return ceil_div(self.leaf_blocks(leaf), limits.SPAN_BLOCKS)


def leaf_bits_of(blocks):
    """The leaf size that a disk of so many blocks demands."""
    bits = 16
    while ceil_div(blocks, 1 << bits) > limits.ROOT_ENTRIES:
        bits += 1
    return bits


def read_manifest(data, where, digest=None):
    """Check a manifest, and where it is known its digest, the image id."""
    expect_at_most("limit", where, "length of the manifest", limits.MANIFEST, len(data))
    cursor = whole_object(data, where, MAGIC, digest)
    expect("image-kind", cursor.place(), "image kind", 0, cursor.u8())
    expect("block-bits", cursor.place(), "block bits", 12, cursor.u8())
    logical, physical = cursor.u8(), cursor.u8()
    if not 9 <= logical <= physical <= 12:
        text = f"expected 9 <= logical <= physical <= 12, found {logical} and {physical}"
        raise Rejected("sector-bits", f"{where}, byte 34", text)
    leaf_bits = cursor.u8()
    cursor.reserved(3)
    size = cursor.u64()
    check_size(size, f"{where}, byte 40")
    blocks = ceil_div(size, limits.BLOCK)
    expect("leaf-bits", f"{where}, byte 36", "leaf bits", leaf_bits_of(blocks), leaf_bits)
    data_blocks = cursor.u64()
    content, map_root, span_root, parent = (cursor.digest() for _ in range(4))
    expect_at_most("data-blocks", f"{where}, byte 48", "data blocks", blocks, data_blocks)
    counts = cursor.u32(), cursor.u32()
    empty = [data_blocks == 0, map_root == NONE, span_root == NONE, counts[0] == 0]
    if any(empty) and not all(empty):
        text = f"data blocks {data_blocks}, lists {counts[0]}: roots and lists do not go with them"
        raise Rejected("data-blocks", f"{where}, byte 48", text)
    lists = _lists(cursor, counts[0])
    metadata = _metadata(cursor, counts[1])
    cursor.finish()
    sizes = logical, physical, leaf_bits, size, data_blocks
    return Manifest(*sizes, content, map_root, span_root, parent, lists, metadata)


def _lists(cursor, count):
    """The list records, in strictly ascending order of their ids."""
    expect_at_most("limit", cursor.place(), "lists", limits.MANIFEST_LISTS, count)
    cursor.room(count, 48, "lists")
    lists = {}
    last = b""
    for _ in range(count):
        place = cursor.place()
        list_id = cursor.digest()
        if list_id <= last:
            raise Rejected("list-order", place, f"{list_id.hex()} after {last.hex()}")
        last = list_id
        chunk_blocks = cursor.u32()
        cursor.reserved(4)
        shape = Shape(chunk_blocks, cursor.u64())
        check_shape(shape, place)
        lists[list_id] = shape
    return lists


def _metadata(cursor, count):
    """The metadata records, in strictly ascending order of their keys."""
    cursor.room(count, 9, "metadata keys")
    metadata = {}
    last = None
    total = 0
    for _ in range(count):
        place = cursor.place()
        lengths = cursor.u32(), cursor.u32()
        total += sum(lengths)
        expect_at_most("limit", place, "bytes of metadata", limits.METADATA, total)
        key, value = (bytes(cursor.take(length)) for length in lengths)
        if not key or not _KEY.issuperset(key):
            raise Rejected("text", place, f"key {key!r}: expected a-z, 0-9, '.', '-' and '_'")
        if last is not None and key <= last:
            raise Rejected("metadata-order", place, f"{key!r} after {last!r}")
        last = key
        try:
            metadata[key.decode("ascii")] = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Rejected("text", place, f"the value of {key!r} is not UTF-8: {error}") from None
    return metadata
