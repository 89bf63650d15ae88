"""Bundles: one file that holds images and what they need (section 10)."""

from .blob import FileBlob, PiecesBlob
from .bundle_head import LENGTH, read_bundle_head
from .bundle_table import read_bundle_table
from .home import FOLDERS, Home
from .rules import Rejected


class Bundle(Home):
    """A bundle, and the homes of its bases among those that are given."""

    is_bundle = True

    def __init__(self, path, homes=()):
        super().__init__(path)
        self.file = FileBlob.open(path, path)
        data = self.file.read(0, min(LENGTH, self.file.size))
        self.head = read_bundle_head(data, self.file.size, path, self.file.device)
        data = self.file.read(self.head.table_offset, self.head.table_len)
        where = f"{path}, table"
        self.table = read_bundle_table(data, self.head.table_offset, where, self.head.table_digest)
        self.base_pages = bool(self.table.bases)
        self.bases = [(image_id, _base(image_id, homes)) for image_id in self.table.bases]

    def require_bases(self):
        """Refuse a bundle of which a base is not there (10.3)."""
        for image_id, home in self.bases:
            if home is None:
                raise Rejected("missing", self.label, f"base {image_id.hex()} is not there")

    def ids(self, kind):
        numbers = range(self.table.first_of(kind), self.table.first_of(kind + 1))
        return (self.table.key(number)[1] for number in numbers)

    def find(self, kind, object_id):
        entry = self.table.find(kind, object_id)
        if entry is None:
            return None
        where = f"{self.label}, {FOLDERS[kind]}/{object_id.hex()}"
        columns = self.table.columns
        return PiecesBlob(self.file, columns, entry.first, entry.last, where, entry.size)

    def names(self):
        for name, image_id in self.table.names:
            yield name, image_id, None

    def image_of(self, name):
        """The image id that a name has, or None."""
        return dict(self.table.names).get(name)


def _base(image_id, homes):
    for home in homes:
        if home.has_image(image_id):
            return home
    return None
