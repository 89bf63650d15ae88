"""Images: their map, their span table and their blocks (sections 7 and 8.1)."""

from functools import partial

from . import tables
from .chunks import Chunks
from .home import RECORD
from .limits import NOWHERE, SPAN_BLOCKS
from .map_leaf import read_map_leaf
from .page_file import read_page
from .recent import Recent
from .record import read_record
from .rules import Absent, Rejected


class Image:
    """An image of a store or bundle."""

    def __init__(self, home, image_id, chunks=None):
        self.home = home
        self.id = image_id
        self.where = f"{home.label}, image {image_id.hex()}"
        self.record = self._read_record()
        self.manifest = self.record.manifest
        self.chunks = chunks or Chunks(home)
        self.bases = Recent(4)

    def _read_record(self):
        blob = self.home.blob(RECORD, self.id)
        return read_record(blob, self.id, self.home.base_pages)

    def _page(self, root, index):
        """A page by its entry in a root (`map_root` or `span_root`): (bytes, digest, place)."""
        digest, place = getattr(self.record, root)[index]
        if place.file == NOWHERE:
            return self._base_page(root, index, digest)
        try:
            blob = self.home.page_file(self.record.file_id(place.file))
        except Absent:
            # A collector may have moved the page (8.2): the record is read again, once.
            self.record = self._read_record()
            digest, place = getattr(self.record, root)[index]
            blob = self.home.page_file(self.record.file_id(place.file))
        where = f"{blob.where}, bytes [{place.offset}, {place.offset + place.length})"
        return read_page(blob, place.offset, place.length), digest, where

    def _base_page(self, root, index, digest):
        """A page that a base has for the same leaf range (10.3)."""
        for image_id, home in self.home.bases:
            base = self.bases.get(image_id, partial(Image, home, image_id, self.chunks))
            entry = getattr(base.record, root).get(index)
            if entry is not None and entry[0] == digest:
                return base._page(root, index)
        text = f"no base has page {index} of the {root.replace('_', ' ')}, {digest.hex()}"
        raise Rejected("missing", self.where, text)

    def check_lists(self):
        """The roots of all lists; their shapes are checked before extents are against them."""
        for list_id, shape in self.manifest.lists.items():
            self.chunks.list_file(list_id, shape)

    def leaf(self, index):
        """A map leaf, checked."""
        data, digest, where = self._page("map_root", index)
        manifest = self.manifest
        blocks, whole = manifest.leaf_blocks(index), 1 << manifest.leaf_bits
        return read_map_leaf(data, where, blocks, manifest.lists, digest, whole)

    def span_page(self, index):
        """A span page, checked: {span in the leaf range: digest}."""
        data, digest, where = self._page("span_root", index)
        spans = self.manifest.leaf_spans(index)
        return tables.read_table(data, where, tables.SPAN_PAGE, spans, digest)

    def spans(self):
        """(span in the disk, digest) of each span that the table has, in order."""
        first = self.manifest.leaf_bits - SPAN_BLOCKS.bit_length() + 1
        for index in self.record.span_root:
            for span, digest in self.span_page(index).items():
                yield (index << first) + span, digest

    def runs(self):
        """(first block, [bytes], [digest]) of all blocks that extents cover, in order."""
        self.check_lists()
        lists = self.manifest.lists
        for index in self.record.map_root:
            leaf = self.leaf(index)
            base = index << self.manifest.leaf_bits
            for start, count, number, source in leaf.extents():
                list_id = leaf.list_ids[number]
                block = base + start
                for blocks, digests in self.chunks.blocks(list_id, lists[list_id], source, count):
                    yield block, blocks, digests
                    block += len(blocks)
