"""Locators: where the frames of a list's chunks are (section 6.5)."""

import struct
from typing import NamedTuple

from .digests import object_digest, table_page_digest
from .header import whole_object
from .limits import (
    DIGEST,
    FRAME,
    LIST_CHUNKS,
    LOCATOR_PACKS,
    LOCATOR_RECORDS,
    LOCATOR_ROOT,
    NOWHERE,
    PAGE_ENTRIES,
    ceil_div,
)
from .recent import Recent
from .rules import Absent, Rejected, expect, expect_at_most

MAGIC = b"melvloca"
_RECORD = struct.Struct("<IIIIQ")
_TARGET = 36
_PACK_HEAD = 48


class Record(NamedTuple):
    """Where one frame is; `pack` is `NOWHERE` for a chunk without any."""

    number: int
    pack: int
    offset: int
    length: int
    partial: bool
    next: int
    guard: int


class LocatorRoot(NamedTuple):
    """A root: counts, targets of 36 bytes each, page digests of 32 bytes each."""

    list_id: bytes
    chunks: int
    records: int
    packs: int
    in_part: bool
    targets: bytes
    page_digests: bytes

    def pack_id(self, number):
        """The id of a target."""
        return self.targets[_TARGET * number + 4 : _TARGET * (number + 1)]

    def page_digest(self, page):
        """The digest of a page."""
        return self.page_digests[DIGEST * page : DIGEST * (page + 1)]


def read_locator_root(data, where):
    """Check a root."""
    cursor = whole_object(data, where, MAGIC)
    list_id = cursor.digest()
    place = cursor.place()
    chunks = cursor.u64()
    records = cursor.u64()
    packs = cursor.u32()
    expect_at_most("limit", place, "chunks", LIST_CHUNKS, chunks)
    expect_at_most("limit", place, "records", LOCATOR_RECORDS, records)
    expect_at_most("limit", place, "packs", LOCATOR_PACKS, packs)
    if records < chunks:
        raise Rejected("limit", place, f"{records} records for {chunks} chunks")
    place = cursor.place()
    flags = cursor.u32()
    if flags > 1:
        raise Rejected("reserved", place, f"flags {flags:#x}: a bit of 1 to 31 is set")
    cursor.room(packs, _TARGET, "packs")
    targets = bytes(cursor.take(_TARGET * packs))
    pages = ceil_div(records, PAGE_ENTRIES)
    cursor.room(pages, DIGEST, "pages")
    digests = bytes(cursor.take(DIGEST * pages))
    place = cursor.place()
    checksum = cursor.digest()
    cursor.finish()
    expect("checksum", place, "checksum", object_digest(data[:-DIGEST]), checksum)
    for number in range(packs):
        kind = int.from_bytes(targets[_TARGET * number : _TARGET * number + 4], "little")
        expect("target-kind", f"{where}, target {number}", "kind of target", 0, kind)
    return LocatorRoot(list_id, chunks, records, packs, bool(flags), targets, digests)


def read_record(page, number, root, where):
    """Record `number` of a locator from the page that has it; its fields, checked."""
    where = f"{where}, record {number}"
    begin = number % PAGE_ENTRIES * _RECORD.size
    data = page[begin : begin + _RECORD.size]
    if len(data) < _RECORD.size:
        raise Rejected("truncated", where, f"{len(data)} bytes of {_RECORD.size}")
    pack, offset, length, following, guard = _RECORD.unpack(data)
    if pack == NOWHERE:
        if offset or length or following or guard:
            raise Rejected("reserved", where, "a record without a frame has other fields")
        return Record(number, pack, 0, 0, False, 0, 0)
    if pack >= root.packs:
        raise Rejected("locator-pack", where, f"pack {pack} of {root.packs}")
    if offset < _PACK_HEAD:
        raise Rejected("frame-place", where, f"offset: expected at least 48, found {offset}")
    if length >> 25:
        raise Rejected("reserved", where, f"length {length:#x}: a bit of 25 to 31 is set")
    partial, length = bool(length >> 24), length & 0xFFFFFF
    expect_at_most("limit", where, "length of the frame", FRAME, length)
    if following and not max(number + 1, root.chunks) <= following < root.records:
        text = f"link to {following} of {root.records}, {root.chunks} of them chunks"
        raise Rejected("locator-link", where, text)
    return Record(number, pack, offset, length, partial, following, guard)


class Locator:
    """The file of a locator."""

    def __init__(self, blob, list_id=None, chunks=None):
        self.blob = blob
        length = self._root_length()
        data = blob.read(blob.size - 8 - length, length)
        self.root = read_locator_root(data, f"{blob.where}, root")
        if list_id is not None:
            expect("locator-list", blob.where, "list", list_id, self.root.list_id)
        if chunks is not None:
            expect("list-shape", blob.where, "chunks", chunks, self.root.chunks)
        whole = _RECORD.size * self.root.records + length + 8
        expect("body-length", blob.where, "length of the file", whole, blob.size)
        self.pages = ceil_div(self.root.records, PAGE_ENTRIES)
        self.page_cache = Recent(16)

    def _root_length(self):
        blob = self.blob
        length = int.from_bytes(blob.read(blob.size - 8, 8), "little")
        expect_at_most("limit", blob.where, "length of the root", LOCATOR_ROOT, length)
        expect_at_most("truncated", blob.where, "length of the root", blob.size - 8, length)
        return length

    def _bounds(self, page):
        first = PAGE_ENTRIES * page
        count = min(PAGE_ENTRIES, self.root.records - first)
        return _RECORD.size * first, _RECORD.size * count

    def has_page(self, page):
        """Whether a page is here; a bundle may leave it out, but then all of it (10.2)."""
        return self.blob.has_any(*self._bounds(page))

    def page(self, page):
        """The bytes of a page, checked."""
        return self.page_cache.get(page, lambda: self._read_page(page))

    def _read_page(self, page):
        data = self.blob.read(*self._bounds(page))
        where = f"{self.blob.where}, page {page}"
        digest = table_page_digest(data)
        expect("page-digest", where, "digest of the page", self.root.page_digest(page), digest)
        return data

    def record(self, number):
        """A record, checked."""
        page = self.page(number // PAGE_ENTRIES)
        return read_record(page, number, self.root, self.blob.where)

    def chain(self, chunk, blocks):
        """The records of a chunk of `blocks` blocks; `Absent` where it has no frame here."""
        record = self.record(chunk)
        if record.pack == NOWHERE:
            raise Absent("chunk-absent", self.blob.where, f"chunk {chunk} has no frame here")
        yield record
        count = 1
        while record.next:
            count += 1
            where = f"{self.blob.where}, record {record.number}"
            if count > blocks:
                text = f"more frames for chunk {chunk} than its {blocks} blocks"
                raise Rejected("locator-link", where, text)
            record = self.record(record.next)
            if record.pack == NOWHERE:
                text = "a link to a record without a frame"
                raise Rejected("locator-link", where, text)
            yield record
