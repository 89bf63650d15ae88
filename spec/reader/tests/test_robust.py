"""A damaged or hostile file is rejected, never anything else."""

import contextlib
import io
import random
import unittest

from melv_reader.cli import main
from melv_reader.limits import TABLE

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
from .test_bundle import BundleCase


class Robust(BundleCase):
    def setUp(self):
        super().setUp()
        self.list = List([block(n) for n in range(6)], 4)
        self.image = Image(8 * BLOCK, [(0, 2, self.list, 0), (4, 4, self.list, 2)])
        self.frames = Frames(self.list, {0: [[0, 1], [2, 3]], 1: [None]})
        self.parts = BundleParts(image_objects([self.image], [self.frames]), names=[(0, b"a:x")])

    def run_command(self, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main([str(one) for one in arguments])
        return code, out.getvalue()

    def test_any_byte_of_a_bundle(self):
        random.seed(1)
        data = self.parts.bytes()
        path = self.folder / "a.melv"
        for _ in range(300):
            spoilt = bytearray(data)
            for _ in range(random.choice((1, 1, 4))):
                spoilt[random.randrange(len(data))] ^= 1 << random.randrange(8)
            path.write_bytes(spoilt)
            code, text = self.run_command("verify", path)
            # minor versions and ignore masks are the only bytes that nothing binds
            self.assertIn(code, (0, 4), text)
            if code == 0:
                self.assertEqual(self.export(str(path)), self.image.disk())

    def test_any_file_of_a_store(self):
        random.seed(2)
        store = write_store(self.folder / "s", [self.image], [self.frames], [("a:x", self.image)])
        files = sorted(path for path in store.rglob("*") if path.is_file())
        for _ in range(300):
            path = random.choice(files)
            data = path.read_bytes()
            spoilt = bytearray(data)
            spoilt[random.randrange(len(data))] ^= 1 << random.randrange(8)
            path.write_bytes(spoilt if random.random() < 0.7 else spoilt[: random.randrange(200)])
            code, text = self.run_command("verify", store)
            self.assertIn(code, (0, 4), text)
            path.write_bytes(data)

    def test_a_table_that_is_not_there(self):
        path = self.folder / "a.melv"
        path.write_bytes(self.parts.bytes()[:512])
        with open(path, "ab") as file:
            file.truncate(TABLE * 64)
        self.assertEqual(self.run_command("list", path)[0], 4)

    def test_what_a_folder_may_hold(self):
        store = write_store(self.folder / "s", [self.image], [self.frames])
        pack = next((store / "packs").iterdir())
        moved = self.folder / "elsewhere"
        pack.rename(moved)
        pack.symlink_to(moved)
        self.assertEqual(self.run_command("verify", store)[0], 4)
        pack.unlink()
        pack.mkdir()
        self.assertEqual(self.run_command("verify", store)[0], 4)

    def test_usage(self):
        self.assertEqual(self.run_command("list", self.folder / "no")[0], 2)
        self.assertEqual(self.run_command("list", self.folder)[0], 2)
        path = self.save(self.parts)
        self.assertEqual(self.run_command("export", path, path + "o", "--image", "no")[0], 2)
        code, text = self.run_command("list", path)
        self.assertEqual((code, text.split()[:2]), (0, [self.image.id.hex(), "a:x"]))

    def test_an_export_that_fails_leaves_nothing(self):
        data = bytearray(self.parts.bytes())
        data[data.index(block(5)) + 1] ^= 1
        path = self.folder / "a.melv"
        path.write_bytes(data)
        out = self.folder / "out"
        code, text = self.run_command("export", path, out)
        self.assertEqual(code, 4, text)
        self.assertIn("frame-guard", text)
        self.assertFalse(list(self.folder.glob("out*")))

    def test_content(self):
        path = self.folder / "d.raw"
        path.write_bytes(self.image.disk())
        self.assertEqual(self.run_command("content", path), (0, self.image.content.hex() + "\n"))
        path.write_bytes(b"x")
        self.assertEqual(self.run_command("content", path)[0], 4)


if __name__ == "__main__":
    unittest.main()
