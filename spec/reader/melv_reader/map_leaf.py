"""Map leaves: the extents of one leaf range (section 7.4)."""

from array import array

from .cursor import unzigzag
from .header import whole_object
from .limits import DIGEST, LIST_BLOCKS
from .rules import Rejected, expect_at_most

MAGIC = b"melvmapl"
_U64 = 1 << 64


class MapLeaf:
    """Lists, and extents in columns: `start`, `blocks`, `list` (an index) and `source`."""

    def __init__(self, list_ids):
        self.list_ids = list_ids
        self.starts = array("Q")
        self.blocks = array("Q")
        self.lists = array("I")
        self.sources = array("Q")

    def extents(self):
        """(start, blocks, list, source) of each extent."""
        return zip(self.starts, self.blocks, self.lists, self.sources)

    def total(self):
        """Blocks of all extents together."""
        return sum(self.blocks)


def read_map_leaf(data, where, leaf_blocks, shapes=None, digest=None, leaf_range=None):
    """Check a leaf of `leaf_blocks` blocks; `shapes` are the manifest's lists, where known.

    `leaf_range` is 2^`leaf_bits`, which bounds the extents; the disk's last leaf may have fewer
    blocks.
    """
    cursor = whole_object(data, where, MAGIC, digest)
    lists, extents = cursor.u32(), cursor.u32()
    cursor.room(lists, DIGEST, "lists")
    if not extents:
        raise Rejected("empty-page", f"{where}, byte 36", "expected at least one extent")
    expect_at_most("limit", f"{where}, byte 36", "extents", leaf_range or leaf_blocks, extents)
    leaf = MapLeaf(_list_ids(cursor, lists, shapes))
    cursor.room(extents, 2, "extents")
    _Extents(cursor, leaf, leaf_blocks, shapes).read(extents)
    cursor.finish()
    return leaf


def _list_ids(cursor, count, shapes):
    ids = {}
    for _ in range(count):
        place = cursor.place()
        list_id = cursor.digest()
        if list_id in ids:
            raise Rejected("list-twice", place, list_id.hex())
        if shapes is not None and list_id not in shapes:
            raise Rejected("list-unknown", place, list_id.hex())
        ids[list_id] = None
    return list(ids)


class _Extents:
    """The state against which extents are coded."""

    def __init__(self, cursor, leaf, leaf_blocks, shapes):
        self.cursor = cursor
        self.leaf = leaf
        self.leaf_blocks = leaf_blocks
        lists = leaf.list_ids
        self.bounds = [LIST_BLOCKS if shapes is None else shapes[one].blocks for one in lists]
        self.end = 0
        self.current = 0
        self.expected = [0] * len(lists)
        self.used = 0

    def read(self, count):
        for number in range(count):
            self._extent(number)
        if self.used != len(self.expected):
            text = f"{len(self.expected)} lists named, {self.used} used"
            raise Rejected("list-unused", self.cursor.where, text)

    def _extent(self, number):
        cursor = self.cursor
        place = f"{cursor.place()}, extent {number}"
        head = cursor.varint()
        gap, changes, blocks = head & 1, head & 2, (head >> 2) + 1
        start = self.end
        if gap:
            start += 1 + cursor.varint()
            if start >= _U64:
                raise Rejected("varint-overflow", place, f"start {start} exceeds 64 bits")
        current = self._list(changes, place)
        step = unzigzag(cursor.varint())
        if number and not gap and not changes and step == 0:
            raise Rejected("extent-unmerged", place, "it continues the one before it")
        source = self.expected[current] + step
        self._check_range(place, start, blocks, source, self.bounds[current])
        self.end = start + blocks
        self.current = current
        self.expected[current] = source + blocks
        leaf = self.leaf
        leaf.starts.append(start)
        leaf.blocks.append(blocks)
        leaf.lists.append(current)
        leaf.sources.append(source)

    def _list(self, changes, place):
        current = self.current
        if changes:
            current = self.cursor.varint()
            if current == self.current:
                raise Rejected("list-unchanged", place, f"list {current} is in use")
            if current > self.used:
                text = f"list {current} after {self.used} lists"
                raise Rejected("list-first-use", place, text)
        if current >= len(self.expected):
            text = f"list {current} of {len(self.expected)}"
            raise Rejected("list-unused", place, text)
        self.used = max(self.used, current + 1)
        return current

    def _check_range(self, place, start, blocks, source, bound):
        if start + blocks > self.leaf_blocks:
            text = f"ends at block {start + blocks} of {self.leaf_blocks}"
            raise Rejected("extent-range", place, text)
        if source < 0 or source + blocks > bound:
            text = f"blocks [{source}, {source + blocks}) of a list of {bound}"
            raise Rejected("extent-range", place, text)
