"""Bundles that are not sound (section 10): each breaks one rule."""

import struct
import unittest

from melv_reader.digests import object_digest

from . import build
from .build import BLOCK, BundleParts, Frames, Image, List, block, image_objects
from .test_bundle import BundleCase


def put(offset, data):
    """A change that writes bytes at a place."""

    def write(target):
        target[offset : offset + len(data)] = data

    return write


class Broken(BundleCase):
    def setUp(self):
        super().setUp()
        self.list = List([block(n) for n in range(6)], 4)
        self.image = Image(6 * BLOCK, [(0, 6, self.list, 0)])
        self.parts = self.make({0: [[0, 1], [2, 3]], 1: [None]})

    def make(self, held, **more):
        frames = Frames(self.list, held)
        names = [(0, b"a:x"), (0, b"b:latest")]
        return BundleParts(image_objects([self.image], [frames]), names=names, **more)

    def spoil(self, rule, **changes):
        for name, value in changes.items():
            setattr(self.parts, name, value)
        self.refused(rule, self.save(self.parts))

    def table_field(self, offset, value):
        return put(offset, struct.pack("<I", value))

    def test_unspoilt(self):
        self.verify(self.save(self.parts))


class Head(Broken):
    def head(self, rule, offset, data):
        self.spoil(rule, change_head=put(offset, data))

    def test_header(self):
        self.head("magic", 0, b"melvbndm")
        self.head("version", 8, b"\2")
        self.head("digest-algorithm", 10, b"\2")
        self.head("reserved", 11, b"\1")
        self.head("refuse-bit", 12, b"\1")
        self.head("reserved", 20, b"\1")

    def test_fields(self):
        self.head("key-slot", 32, b"\1")
        self.head("reserved", 36, b"\1")
        self.head("reserved", 479, b"\1")
        self.head("page-digest", 64, b"\0")
        self.head("limit", 48, struct.pack("<Q", 2**27 + 1))
        self.head("bundle-layout", 48, struct.pack("<Q", 1))
        self.head("bundle-layout", 56, struct.pack("<Q", 511))
        self.head("bundle-layout", 56, struct.pack("<Q", 2**40))
        self.head("bundle-layout", 40, struct.pack("<Q", 2**63))
        self.head("truncated", 24, struct.pack("<Q", 2**64 - 1))
        self.head("trailing-bytes", 24, struct.pack("<Q", 600))

    def test_checksum(self):
        data = bytearray(self.parts.bytes())
        data[500] ^= 1
        path = self.folder / "a.melv"
        path.write_bytes(data)
        self.refused("checksum", str(path))

    def test_length(self):
        data = self.parts.bytes()
        path = self.folder / "a.melv"
        for rule, part in (
            ("truncated", data[:-1]),
            ("truncated", data[:511]),
            ("truncated", b""),
            ("trailing-bytes", data + b"\0"),
        ):
            path.write_bytes(part)
            self.refused(rule, str(path))


class Table(Broken):
    def test_counts(self):
        self.spoil("limit", counts=(257, 2, 5, 5))
        self.spoil("limit", counts=(0, 65537, 5, 5))
        self.spoil("limit", counts=(0, 2, 2**20 + 1, 5))
        self.spoil("limit", counts=(0, 2, 5, 2**21 + 1))
        self.spoil("limit", counts=(0, 2, 5, 1000))
        self.spoil("trailing-bytes", counts=(0, 1, 5, 5))

    def test_table_header(self):
        self.spoil("magic", change_table=put(0, b"melvbtaz"))
        self.spoil("body-length", change_table=put(24, bytes(8)))

    def test_objects(self):
        def other_kind(entries):
            entries[-1] = (5, *entries[-1][1:])

        def no_pieces(entries):
            entries[0] = (entries[0][0], 0, *entries[0][2:])

        def twice(entries):
            entries[1] = (*entries[0][:2], entries[0][2], entries[1][3])

        self.spoil("object-kind", change_entries=other_kind)
        self.spoil("bundle-layout", change_entries=no_pieces)
        self.spoil("table-order", change_entries=twice)
        self.spoil("table-order", change_entries=lambda entries: entries.reverse())

    def test_no_record(self):
        del self.parts.objects[build.RECORD, self.image.id]
        self.spoil("empty-page", names=[])

    def test_pieces(self):
        def shift(pieces):
            pieces[1] = (pieces[1][0], pieces[1][1] + 1, pieces[1][2])

        def absent(pieces):
            begin, place, length = pieces[0]
            pieces[0] = (begin + 1, place, length)

        def longer(entries):
            entries[0] = (*entries[0][:3], entries[0][3] + 1)

        def shorter(entries):
            entries[2] = (*entries[2][:3], entries[2][3] - 1)

        def empty(pieces):
            pieces[-1] = (*pieces[-1][:2], 0)

        self.spoil("bundle-layout", change_pieces=shift)
        self.spoil("piece-order", change_pieces=absent)
        self.parts.change_pieces = None
        self.spoil("piece-order", change_entries=longer)
        self.spoil("piece-order", change_entries=shorter)
        self.parts.change_entries = None
        self.spoil("piece-order", change_pieces=empty)

    def test_names(self):
        self.spoil("table-range", names=[(1, b"a:x")])
        self.spoil("table-order", names=[(0, b"b:x"), (0, b"a:x")])
        self.spoil("table-order", names=[(0, b"a:x"), (0, b"a:x")])
        self.spoil("text", names=[(0, b"a:\xff")])
        self.spoil("reference-name", names=[(0, b"a/b")])
        self.spoil("reference-name", names=[(0, b"A:x")])
        self.spoil("reference-name", names=[(0, b"a" * 256 + b":x")])
        self.spoil("limit", names=[(0, b"a" * 512)])

    def test_bases(self):
        self.spoil("missing", bases=[b"1" * 32])
        self.spoil("table-order", bases=[b"2" * 32, b"1" * 32])
        self.spoil("table-order", bases=[b"1" * 32, b"1" * 32])


class Objects(Broken):
    def test_needed_bytes_absent(self):
        key = build.LIST, self.list.id
        self.spoil("piece-absent", holes={key: [(0, 64)]})
        self.spoil("piece-absent", holes={key: [(32, 64)]})
        self.spoil("piece-absent", holes={(build.LOCATOR, self.list.id): [(0, 24)]})

    def test_part_of_a_page_absent(self):
        one = List([block(n) for n in range(1026)], 1)
        image = Image(BLOCK, [(0, 1, one, 0)])
        frames = Frames(one, {0: [None]})
        self.parts = BundleParts(image_objects([image], [frames]))
        for kind, length in ((build.LIST, 32), (build.LOCATOR, 24)):
            page = 1024 * length
            self.parts.holes = {(kind, one.id): [(page, page + 2 * length)]}
            self.verify(self.save(self.parts))
            self.spoil("piece-absent", holes={(kind, one.id): [(page + 1, page + 2 * length)]})

    def test_no_frame(self):
        self.parts = self.make({0: [None]})
        self.spoil("chunk-absent")
        self.parts = self.make({0: [[0, 1]], 1: [None]})
        self.spoil("block-absent")

    def test_missing_objects(self):
        for kind in (build.LIST, build.LOCATOR):
            data = self.parts.objects.pop((kind, self.list.id))
            self.spoil("missing")
            self.parts.objects[kind, self.list.id] = data
        key = build.PAGE_FILE, self.image.page_file_id
        del self.parts.objects[key]
        self.spoil("missing")

    def test_flags(self):
        self.locator(flags=2)
        self.spoil("reserved")

    def locator(self, flags=1, **changes):
        """The bundle with a locator whose record 0 was changed."""
        frames = Frames(self.list, {0: [[0, 1], [2, 3]], 1: [None]})
        names = ("pack", "offset", "length", "next", "guard")
        fields = dict(zip(names, struct.unpack("<IIIIQ", frames.records[0])))
        fields = {name: changes.get(name, lambda one: one)(one) for name, one in fields.items()}
        frames.records[0] = struct.pack("<IIIIQ", *fields.values())
        data = build.locator(self.list.id, 2, frames.records, [frames.pack_id], flags)
        self.parts.objects[build.LOCATOR, self.list.id] = data

    def test_records(self):
        for rule, changes in (
            ("frame-mask", {"length": lambda one: one & 0xFFFFFF}),
            ("reserved", {"length": lambda one: one | 1 << 25}),
            ("frame-place", {"offset": lambda one: 47}),
            ("frame-place", {"offset": lambda one: 2**32 - 1}),
            ("frame-guard", {"guard": lambda one: one ^ 1}),
            ("frame-guard", {"offset": lambda one: one + 1}),
            ("locator-link", {"next": lambda one: 1}),
            ("locator-link", {"next": lambda one: 3}),
            ("locator-pack", {"pack": lambda one: 1}),
            ("limit", {"length": lambda one: 0xFFFFFF}),
        ):
            self.locator(**changes)
            self.spoil(rule)

    def test_too_long_a_chain(self):
        one = List([block(0)], 1)
        image = Image(BLOCK, [(0, 1, one, 0)])
        frames = Frames(one, {0: [None, None]})
        self.parts = BundleParts(image_objects([image], [frames]))
        self.spoil("locator-link")

    def test_ids(self):
        for kind, object_id in list(self.parts.objects):
            data = self.parts.objects[kind, object_id]
            if kind in (build.PAGE_FILE, build.PACK):
                # a byte that no header has, and under no rule but the id
                self.parts.objects[kind, object_id] = data[:9] + b"\1" + data[10:]
                rule = "page-digest" if kind == build.PAGE_FILE else "checksum"
                self.spoil(rule)
                self.parts.objects[kind, object_id] = data

    def test_another_content(self):
        image = self.image
        image.content = object_digest(b"another")
        image.manifest = image._manifest(build.NONE)
        image.id = object_digest(image.manifest)
        image._record(())
        self.parts = self.make({0: [None], 1: [None]})
        self.spoil("content-id")


if __name__ == "__main__":
    unittest.main()
