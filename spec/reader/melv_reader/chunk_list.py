"""Chunk lists: the ids of the chunks of consecutive blocks (section 6.1)."""

from typing import NamedTuple

from . import limits
from .digests import object_digest, table_page_digest
from .header import whole_object
from .limits import DIGEST, LIST_BLOCKS, LIST_CHUNKS, LIST_ROOT, PAGE_ENTRIES, ceil_div
from .recent import Recent
from .rules import Absent, Rejected, expect, expect_at_most

MAGIC = b"melvlist"


class Shape(NamedTuple):
    """What a manifest says of a list."""

    chunk_blocks: int
    blocks: int

    @property
    def chunks(self):
        return ceil_div(self.blocks, self.chunk_blocks)

    @property
    def pages(self):
        return ceil_div(self.chunks, PAGE_ENTRIES)

    @property
    def root_length(self):
        return 48 + DIGEST * self.pages

    @property
    def file_length(self):
        return DIGEST * self.chunks + self.root_length + 8

    def blocks_of(self, chunk):
        """Blocks of one chunk: the last one has the rest."""
        return min(self.chunk_blocks, self.blocks - chunk * self.chunk_blocks)


def check_shape(shape, place):
    """The shapes that a list may have."""
    chunk_blocks, blocks = shape
    if not 1 <= chunk_blocks <= limits.CHUNK_BLOCKS or chunk_blocks & (chunk_blocks - 1):
        text = f"expected a power of two from 1 to {limits.CHUNK_BLOCKS}, found {chunk_blocks}"
        raise Rejected("chunk-blocks", place, text)
    if not blocks:
        raise Rejected("empty-list", place, "expected at least one block, found 0")
    expect_at_most("limit", place, "blocks of a list", LIST_BLOCKS, blocks)
    expect_at_most("limit", place, "chunks of a list", LIST_CHUNKS, shape.chunks)


class ListRoot(NamedTuple):
    """A root: its shape and the digests of the pages, 32 bytes each."""

    id: bytes
    shape: Shape
    page_digests: bytes

    def page_digest(self, page):
        return self.page_digests[DIGEST * page : DIGEST * (page + 1)]


def read_list_root(data, where, digest=None):
    """Check a root, and where it is known its digest, the list id."""
    cursor = whole_object(data, where, MAGIC, digest)
    expect("block-bits", cursor.place(), "block bits", 12, cursor.u8())
    cursor.reserved(3)
    place = cursor.place()
    shape = Shape(cursor.u32(), cursor.u64())
    check_shape(shape, place)
    cursor.room(shape.pages, DIGEST, "pages")
    digests = bytes(cursor.take(DIGEST * shape.pages))
    cursor.finish()
    return ListRoot(digest or object_digest(data), shape, digests)


def find_root(blob):
    """The length of a root from the last eight bytes of the file."""
    length = int.from_bytes(blob.read(blob.size - 8, 8), "little")
    expect_at_most("limit", blob.where, "length of the root", LIST_ROOT, length)
    expect_at_most("body-length", blob.where, "length of the root", blob.size - 8, length)
    return length


class ListFile:
    """One file of a list: in a store, or in a bundle, where parts of it may be absent."""

    def __init__(self, blob, list_id=None, shape=None):
        self.blob = blob
        if shape is not None and blob.size == shape.file_length:
            length = shape.root_length
        else:
            length = find_root(blob)
        root = blob.read(blob.size - 8 - length, length)
        self.root = read_list_root(root, f"{blob.where}, root", list_id)
        if shape is not None:
            expect("list-shape", blob.where, "shape", tuple(shape), tuple(self.root.shape))
        self.shape = self.root.shape
        expect("body-length", blob.where, "length of the file", self.shape.file_length, blob.size)
        self.page_cache = Recent(16)

    def check_end(self):
        """The last eight bytes, which a reader that has the shape does not need."""
        last = int.from_bytes(self.blob.read(self.blob.size - 8, 8), "little")
        expect("body-length", self.blob.where, "last eight bytes", self.shape.root_length, last)

    def _bounds(self, page):
        offset = DIGEST * PAGE_ENTRIES * page
        return offset, min(DIGEST * PAGE_ENTRIES, DIGEST * self.shape.chunks - offset)

    def has_page(self, page):
        """Whether a page is here; a bundle may leave it out, but then all of it (10.2)."""
        return self.blob.has_any(*self._bounds(page))

    def page(self, page):
        """The ids of a page, checked; `Absent` where the page is not held here."""
        return self.page_cache.get(page, lambda: self._read_page(page))

    def _read_page(self, page):
        where = f"{self.blob.where}, page {page}"
        data = self.blob.read(*self._bounds(page))
        expected, found = self.root.page_digest(page), table_page_digest(data)
        if found != expected:
            text = f"digest of the page: expected {expected.hex()}, found {found.hex()}"
            kind = Rejected if any(data) else Absent
            raise kind("page-digest", where, text)
        return data

    def chunk_id(self, chunk):
        """The id of a chunk."""
        page, place = divmod(chunk, PAGE_ENTRIES)
        data = self.page(page)
        return bytes(data[DIGEST * place : DIGEST * (place + 1)])
