"""Bundles that are sound (section 10): one image, two, partial frames, bases."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

from melv_reader.cli import main
from melv_reader.opening import open_complete
from melv_reader.rules import Rejected
from melv_reader.verify import verify

from . import build
from .build import (
    BLOCK,
    BundleParts,
    Frames,
    Image,
    List,
    block,
    image_objects,
    write_store,
)


class BundleCase(unittest.TestCase):
    """A folder of its own for each test."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def save(self, parts, name="a.melv"):
        path = self.folder / name
        path.write_bytes(parts.bytes())
        return str(path)

    def export(self, path, image=None, bases=()):
        """The disk that the command exports."""
        out = self.folder / "out.raw"
        arguments = ["export", path, str(out)] + (["--image", image] if image else [])
        for base in bases:
            arguments += ["--base", str(base)]
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(main(arguments), 0)
        return out.read_bytes()

    def verify(self, path, bases=()):
        verify(open_complete(path, [str(base) for base in bases]))

    def refused(self, rule, path, bases=()):
        """Both a full check and reading every image, one or both, name the rule."""
        with self.assertRaises(Rejected) as caught:
            self.verify(path, bases)
        self.assertEqual(caught.exception.rule, rule, str(caught.exception))


class OneAndTwoImages(BundleCase):
    def test_one_image_whole_frames(self):
        one = List([block(n) for n in range(7)], 4)
        image = Image(20 * BLOCK + 512, [(1, 2, one, 0), (5, 3, one, 2), (20, 1, one, 6)])
        frames = Frames(one, {0: [None], 1: [None]})
        parts = BundleParts(image_objects([image], [frames]), names=[(0, b"web:1.0")])
        path = self.save(parts)
        self.assertEqual(self.export(path), image.disk())
        self.assertEqual(self.export(path, "web:1.0"), image.disk())
        self.assertEqual(self.export(path, image.id.hex()), image.disk())
        self.verify(path)

    def test_two_images_of_two_lists(self):
        one = List([block(n) for n in range(5)], 2)
        two = List([block(100 + n) for n in range(3)], 8)
        first = Image(8 * BLOCK, [(0, 5, one, 0)])
        second = Image(9 * BLOCK, [(0, 2, one, 1), (2, 3, two, 0), (8, 1, one, 4)])
        frames = [Frames(one, {n: [None] for n in range(3)}), Frames(two, {0: [[2], [0, 1]]})]
        number = sorted([first.id, second.id]).index(second.id)
        parts = BundleParts(image_objects([first, second], frames), names=[(number, b"b:x")])
        path = self.save(parts)
        self.assertEqual(self.export(path, first.id.hex()), first.disk())
        self.assertEqual(self.export(path, "b:x"), second.disk())
        self.verify(path)

    def test_partial_frames_of_a_chunk_used_in_part(self):
        one = List([block(n) for n in range(9)], 16)
        image = Image(4 * BLOCK, [(0, 1, one, 1), (2, 2, one, 7)])
        path = self.save(BundleParts(image_objects([image], [Frames(one, {0: [[1, 7], [8]]})])))
        self.assertEqual(self.export(path), image.disk())
        self.verify(path)

    def test_objects_in_several_pieces(self):
        one = List([block(n) for n in range(2)], 2)
        image = Image(2 * BLOCK, [(0, 2, one, 0)])
        parts = BundleParts(image_objects([image], [Frames(one, {0: [None]})]))

        def cut(entries):
            kind, count, object_id, length = entries[0]
            entries[0] = kind, count + 1, object_id, length

        def split(pieces):
            begin, place, length = pieces[0]
            pieces[:1] = [(begin, place, 100), (begin + 100, place + 100, length - 100)]

        parts.change_entries, parts.change_pieces = cut, split
        path = self.save(parts)
        self.assertEqual(self.export(path), image.disk())
        self.verify(path)

    def test_absent_pages(self):
        one = List([block(n) for n in range(2050)], 1)
        image = Image(2 * BLOCK, [(0, 2, one, 1030)])
        frames = Frames(one, {1030: [None], 1031: [None]})
        holes = {
            (build.LIST, one.id): [(0, 32768), (65536, 65536 + 64)],
            (build.LOCATOR, one.id): [(0, 24576), (49152, 49152 + 48)],
        }
        path = self.save(BundleParts(image_objects([image], [frames]), holes=holes))
        self.assertEqual(self.export(path), image.disk())
        self.verify(path)


class Bases(BundleCase):
    def setUp(self):
        super().setUp()
        self.one = List([block(n) for n in range(8)], 4)
        self.base = Image(8 * BLOCK, [(0, 6, self.one, 0)])
        frames = Frames(self.one, {0: [None], 1: [[0, 1]]})
        names = [("base:latest", self.base)]
        self.store = write_store(self.folder / "store", [self.base], [frames], names)

    def test_the_store_is_sound(self):
        self.verify(str(self.store))
        self.assertEqual(self.export(str(self.store), "base"), self.base.disk())

    def test_blocks_of_base_and_bundle_in_one_chunk(self):
        two = List([block(50)], 1)
        image = Image(9 * BLOCK, [(0, 8, self.one, 0), (8, 1, two, 0)])
        frames = [Frames(self.one, {1: [[2, 3]]}), Frames(two, {0: [None]})]
        path = self.save(BundleParts(image_objects([image], frames), [self.base.id]))
        self.assertEqual(self.export(path, bases=[self.store]), image.disk())
        self.verify(path, [self.store])
        self.refused("missing", path)

    def test_a_list_left_out_and_pages_of_the_base(self):
        two = List([block(50)], 1)
        image = Image(8 * BLOCK + 512, [(0, 6, self.one, 0)], base_pages=("leaf",))
        self.assertEqual(image.leaf, self.base.leaf)
        other = Image(8 * BLOCK, [(0, 6, self.one, 0), (6, 1, two, 0)])
        objects = image_objects([image, other], [Frames(two, {0: [None]})])
        path = self.save(BundleParts(objects, [self.base.id]))
        self.assertEqual(self.export(path, image.id.hex(), [self.store]), image.disk())
        self.assertEqual(self.export(path, other.id.hex(), [self.store]), other.disk())
        self.verify(path, [self.store])

    def test_nothing_but_a_record(self):
        image = Image(8 * BLOCK, [(0, 6, self.one, 0)], ("leaf", "span"), parent=b"p" * 32)
        path = self.save(BundleParts(image_objects([image], []), [self.base.id]))
        self.assertEqual(self.export(path, bases=[self.store]), image.disk())
        self.verify(path, [self.store])

    def test_bases_in_a_bundle_with_a_base(self):
        two = List([block(50)], 1)
        middle = Image(8 * BLOCK, [(0, 6, self.one, 0), (6, 1, two, 0)])
        objects = image_objects([middle], [Frames(two, {0: [None]})])
        between = self.save(BundleParts(objects, [self.base.id]), "between.melv")
        top = Image(9 * BLOCK, [(0, 6, self.one, 0), (6, 1, two, 0)], ("leaf",))
        path = self.save(BundleParts(image_objects([top], []), [middle.id]))
        for bases in ([between, self.store], [self.store, between]):
            self.assertEqual(self.export(path, bases=bases), top.disk())
            self.verify(path, bases)
        self.refused("missing", path, [self.store])
        self.refused("missing", path, [between])

    def test_a_base_without_the_page(self):
        image = Image(8 * BLOCK, [(0, 5, self.one, 0)], ("leaf",))
        path = self.save(BundleParts(image_objects([image], []), [self.base.id]))
        self.refused("missing", path, [self.store])

    def test_base_pages_where_there_is_no_base(self):
        image = Image(8 * BLOCK, [(0, 6, self.one, 0)], ("leaf",))
        frames = Frames(self.one, {0: [None], 1: [None]})
        path = self.save(BundleParts(image_objects([image], [frames])))
        self.refused("page-place", path)
        store = write_store(self.folder / "other", [image], [frames])
        self.refused("page-place", str(store))

    def zero_page(self, store, one, page):
        """Leave a page of a list out of a store, as section 10.4 allows."""
        path = store / "lists" / one.id.hex()
        data = bytearray(path.read_bytes())
        data[32768 * page : 32768 * (page + 1)] = bytes(32768)
        path.write_bytes(data)

    def test_lists_in_part_in_stores(self):
        one = List([block(n) for n in range(2050)], 1)
        low = Image(BLOCK, [(0, 1, one, 7)])
        high = Image(BLOCK, [(0, 1, one, 1031)])
        held = Frames(one, {7: [None]}), Frames(one, {1031: [None]})
        left = write_store(self.folder / "left", [low], [held[0]])
        right = write_store(self.folder / "right", [high], [held[1]])
        self.zero_page(left, one, 1)
        self.zero_page(right, one, 0)
        self.verify(str(left))
        self.verify(str(right))
        image = Image(2 * BLOCK, [(0, 1, one, 7), (1, 1, one, 1031)])
        path = self.save(BundleParts(image_objects([image], []), sorted([low.id, high.id])))
        for bases in ([left, right], [right, left]):
            self.assertEqual(self.export(path, bases=bases), image.disk())
            self.verify(path, bases)
        self.zero_page(left, one, 0)
        self.refused("page-digest", str(left))

    def test_neither_bundle_nor_base_has_a_block(self):
        image = Image(8 * BLOCK, [(0, 8, self.one, 0)])
        frames = Frames(self.one, {1: [[2]]})
        path = self.save(BundleParts(image_objects([image], [frames]), [self.base.id]))
        self.refused("block-absent", path, [self.store])


if __name__ == "__main__":
    unittest.main()
