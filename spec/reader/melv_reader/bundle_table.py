"""The table of a bundle: its bases, objects, pieces and names (section 10.1)."""

import struct
from array import array
from bisect import bisect_left
from itertools import accumulate, pairwise
from typing import NamedTuple

from . import limits
from .bundle_head import LENGTH as HEAD_LENGTH
from .header import whole_object
from .limits import DIGEST
from .reference import is_name
from .rules import Rejected, expect, expect_at_most

MAGIC = b"melvbtab"
KINDS = 5
_RECORD, _LIST, _LOCATOR = 0, 2, 3
_OBJECT = struct.Struct("<II32sQ")
_LEAST_NAME = 8 + 3


class Entry(NamedTuple):
    """An object: pieces [`first`, `last`) are its own."""

    kind: int
    id: bytes
    size: int
    first: int
    last: int


class BundleTable:
    """The table; objects stay bytes until they are asked for, and pieces are columns."""

    def __init__(self, bases, objects, firsts, columns):
        self.bases = bases
        self.objects = objects
        self.firsts = firsts
        self.columns = columns
        self.names = []
        self.images = self.first_of(_RECORD + 1)

    def __len__(self):
        return len(self.objects) // _OBJECT.size

    @property
    def pieces(self):
        """The number of pieces."""
        return len(self.columns[0])

    def key(self, number):
        """(kind, id) of an object."""
        kind, _, object_id, _ = _OBJECT.unpack_from(self.objects, _OBJECT.size * number)
        return kind, object_id

    def entry(self, number):
        """An object by its number."""
        kind, _, object_id, size = _OBJECT.unpack_from(self.objects, _OBJECT.size * number)
        return Entry(kind, object_id, size, self.firsts[number], self.firsts[number + 1])

    def first_of(self, kind):
        """The number of the first object of a kind, or where it would be."""
        return bisect_left(range(len(self)), (kind, b""), key=self.key)

    def find(self, kind, object_id):
        """An object by its kind and id, or None."""
        number = bisect_left(range(len(self)), (kind, object_id), key=self.key)
        if number < len(self) and self.key(number) == (kind, object_id):
            return self.entry(number)
        return None


def read_bundle_table(data, table_offset, where, digest=None):
    """Check a table that begins at `table_offset` of its bundle."""
    cursor = whole_object(data, where, MAGIC, digest)
    bases, names, objects, pieces = (cursor.u32() for _ in range(4))
    most = limits.BASES, limits.NAMES, limits.OBJECTS, limits.PIECES
    counts = bases, names, objects, pieces
    for name, limit, found in zip(("bases", "names", "objects", "pieces"), most, counts):
        expect_at_most("limit", f"{where}, byte 32", name, limit, found)
    cursor.room(1, bases * DIGEST + objects * 48 + pieces * 24 + names * _LEAST_NAME, "tables")
    base_ids = _bases(cursor, bases)
    entries = bytes(cursor.take(_OBJECT.size * objects))
    firsts = _check_objects(entries, pieces, where)
    columns = _columns(cursor.take(24 * pieces))
    table = BundleTable(base_ids, entries, firsts, columns)
    if not table.images:
        raise Rejected("empty-page", where, "expected at least one record")
    for number in range(objects):
        _check_pieces(table.entry(number), columns, f"{where}, object {number}")
    _check_cover(columns, table_offset, where)
    for base in base_ids:
        if table.find(_RECORD, base):
            text = f"image {base.hex()} is a base of its own bundle"
            raise Rejected("table-range", where, text)
    table.names = _names(cursor, names, table)
    cursor.finish()
    return table


def _bases(cursor, count):
    ids = []
    for _ in range(count):
        place = cursor.place()
        image_id = cursor.digest()
        if ids and image_id <= ids[-1]:
            raise Rejected("table-order", place, f"base {image_id.hex()} after {ids[-1].hex()}")
        ids.append(image_id)
    return ids


def _check_objects(entries, pieces, where):
    """Check the object entries; the number of each one's first piece, and of the end."""
    counts = array("I")
    last = None
    for number, (kind, count, object_id, _) in enumerate(_OBJECT.iter_unpack(entries)):
        place = f"{where}, object {number}"
        if kind >= KINDS:
            raise Rejected("object-kind", place, f"expected 0 to {KINDS - 1}, found {kind}")
        if not count:
            raise Rejected("bundle-layout", place, "expected at least one piece, found 0")
        if last is not None and (kind, object_id) <= last:
            raise Rejected("table-order", place, f"{kind}, {object_id.hex()} after the last")
        last = kind, object_id
        counts.append(count)
    expect("bundle-layout", where, "sum of the objects' pieces", pieces, sum(counts))
    return array("I", accumulate(counts, initial=0))


def _columns(data):
    """(offsets in the object, offsets in the bundle, lengths)."""
    words = array("Q")
    words.frombytes(data)
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        words.byteswap()
    return words[0::3], words[1::3], words[2::3]


def _check_pieces(entry, columns, where):
    """The pieces of one object: in order, not empty, not overlapping, inside it."""
    begins, _, lengths = columns
    end = 0
    for piece in range(entry.first, entry.last):
        begin, length = begins[piece], lengths[piece]
        place = f"{where}, piece {piece}"
        if not length:
            raise Rejected("piece-order", place, "a piece of no bytes")
        if begin < end:
            raise Rejected("piece-order", place, f"begins at {begin}, the last one ends at {end}")
        if begin > end and entry.kind not in (_LIST, _LOCATOR):
            raise Rejected("piece-order", place, f"bytes [{end}, {begin}) are absent")
        end = begin + length
    if end > entry.size:
        raise Rejected("piece-order", where, f"ends at {end} of {entry.size}")
    if end < entry.size and entry.kind not in (_LIST, _LOCATOR):
        raise Rejected("piece-order", where, f"bytes [{end}, {entry.size}) are absent")


def _check_cover(columns, table_offset, where):
    """All pieces together cover [512, `table_offset`) without gap or overlap."""
    _, places, lengths = columns
    end = HEAD_LENGTH
    for piece in sorted(range(len(places)), key=places.__getitem__):
        expect("bundle-layout", f"{where}, piece {piece}", "offset", end, places[piece])
        end += lengths[piece]
    expect("bundle-layout", where, "end of the pieces", table_offset, end)


def _names(cursor, count, table):
    """[(name, image id)], in strictly ascending order of the names' bytes."""
    texts = []
    found = []
    for _ in range(count):
        place = cursor.place()
        number = cursor.u32()
        length = cursor.u32()
        expect_at_most("limit", place, "length of the name", limits.NAME, length)
        text = bytes(cursor.take(length))
        if number >= table.images:
            raise Rejected("table-range", place, f"image {number} of {table.images}")
        texts.append((text, place))
        found.append((_name(text, place), table.key(number)[1]))
    for (before, _), (text, place) in pairwise(texts):
        if text <= before:
            raise Rejected("table-order", place, f"name {text!r} after {before!r}")
    return found


def _name(text, place):
    try:
        name = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected("text", place, f"the name is not UTF-8: {error}") from None
    if not is_name(name):
        raise Rejected("reference-name", place, f"{name!r} is not of the form NAME:TAG")
    return name
