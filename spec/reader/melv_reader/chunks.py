"""Blocks of chunk lists, from wherever their frames are (sections 6, 8.1 and 10.3)."""

from functools import partial
from typing import NamedTuple

from .frame import check_chunk_id, open_frame
from .guard import check_guard
from .recent import Recent
from .rules import Absent, Rejected

_KEPT_BLOCKS = 16384


class _Chunk:
    """What is known of a chunk so far: blocks by place, the digests of all, frames decoded."""

    def __init__(self, blocks):
        self.blocks = [None] * blocks
        self.digests = None
        self.decoded = set()

    def lacks(self, first, end):
        return None in self.blocks[first:end]

    def add(self, frame):
        """Take the blocks of a frame; copied where others of the frame are here already."""
        self.digests = frame.digests
        new = [place for place in frame.blocks if self.blocks[place] is None]
        whole = len(new) == len(frame.blocks)
        for place in new:
            block = frame.blocks[place]
            self.blocks[place] = block if whole else bytes(block)


class _Wanted(NamedTuple):
    """Blocks [first, end) of a chunk."""

    chunk: _Chunk
    chunk_id: bytes
    list_id: bytes
    shape: object
    number: int
    first: int
    end: int


class Chunks:
    """Reads blocks of lists from a home and, where it lacks them, from those of its bases."""

    def __init__(self, home):
        self.homes = home.homes()
        self.kept = Recent(_KEPT_BLOCKS, lambda chunk: len(chunk.blocks))

    def blocks(self, list_id, shape, source, count):
        """Blocks [source, source + count): ([bytes], [digest]) for each chunk touched."""
        end = source + count
        while source < end:
            number, first = divmod(source, shape.chunk_blocks)
            last = min(shape.chunk_blocks, first + end - source)
            chunk = self._chunk(list_id, shape, number, first, last)
            yield chunk.blocks[first:last], chunk.digests[first:last]
            source += last - first

    def _chunk(self, list_id, shape, number, first, end):
        blocks = shape.blocks_of(number)
        chunk = self.kept.get((list_id, number), lambda: _Chunk(blocks))
        if chunk.lacks(first, end):
            chunk_id = self.chunk_id(list_id, shape, number)
            wanted = _Wanted(chunk, chunk_id, list_id, shape, number, first, end)
            self._first(partial(_load, wanted))
        return chunk

    def _first(self, take):
        """The first home from which it can be taken; else the first one's reason.

        With bases, a block that nobody has is absent, whatever else is (10.3).
        """
        reason = None
        for home in self.homes:
            try:
                return take(home)
            except Absent as absent:
                reason = reason or absent
        if len(self.homes) > 1 and reason.rule == "chunk-absent":
            raise Absent("block-absent", reason.place, reason.text)
        raise reason

    def list_file(self, list_id, shape):
        """The file of a list, wherever it is."""
        return self._first(lambda home: home.list_file(list_id, shape))

    def chunk_id(self, list_id, shape, number):
        """The id of a chunk, from whichever file of the list has its page."""
        return self._first(lambda home: home.list_file(list_id, shape).chunk_id(number))


def _load(wanted, home):
    """Take the blocks wanted from one home.

    Where a pack is gone the locator is read again, once: a collector may have moved things (8.2).
    """
    try:
        _follow(wanted, home)
    except Absent as absent:
        if absent.rule != "missing":
            raise
        home.forget_locator(wanted.list_id, wanted.shape.chunks)
        _follow(wanted, home)


def _follow(wanted, home):
    """Decode frames of the chunk in one home until the blocks wanted are there."""
    chunk, number = wanted.chunk, wanted.number
    blocks = wanted.shape.blocks_of(number)
    locator = home.locator(wanted.list_id, wanted.shape.chunks)
    seen = set()
    for record in locator.chain(number, blocks):
        place = home, record.pack, record.offset
        if place not in chunk.decoded:
            frame = read_frame(home, locator, record, wanted.chunk_id, blocks)
            if not seen.isdisjoint(frame.blocks):
                text = f"a frame of chunk {number} repeats blocks of another"
                raise Rejected("frame-mask", locator.blob.where, text)
            seen.update(frame.blocks)
            chunk.add(frame)
            chunk.decoded.add(place)
        if not chunk.lacks(wanted.first, wanted.end):
            return
    place = wanted.first + chunk.blocks[wanted.first : wanted.end].index(None)
    text = f"no frame of chunk {number} holds block {place}"
    raise Absent("block-absent", locator.blob.where, text)


def read_frame(home, locator, record, chunk_id, blocks):
    """Read a frame from its pack, and check guard and chunk id."""
    pack = home.pack(locator.root.pack_id(record.pack))
    end = record.offset + record.length
    if end > pack.size:
        where = f"{locator.blob.where}, record {record.number}"
        text = f"the frame ends at byte {end} of {pack.size} of its pack"
        raise Rejected("frame-place", where, text)
    where = f"{pack.where}, frame at byte {record.offset}"
    data = pack.read(record.offset, record.length)
    check_guard(data, chunk_id, record.guard, where)
    frame = open_frame(data, blocks, where, record.partial)
    check_chunk_id(frame, chunk_id, where)
    return frame
