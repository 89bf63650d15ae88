"""Where objects are: what stores (section 5) and bundles (section 10) have in common."""

from functools import partial

from .chunk_list import ListFile
from .locator import Locator
from .pack import check_pack_head
from .page_file import check_page_file_head
from .recent import Recent
from .rules import Absent

RECORD, PAGE_FILE, LIST, LOCATOR, PACK = range(5)
FOLDERS = ("manifests", "pages", "lists", "locators", "packs")


class Home:
    """A store or a bundle. `bases` are the (image id, home or None) that it builds on (10.3)."""

    is_bundle = False
    base_pages = False

    def __init__(self, label):
        self.label = label
        self.bases = []
        self._packs = Recent(32)
        self._page_files = Recent(32)
        self._lists = Recent(32)
        self._locators = Recent(8)

    def ids(self, kind):
        """The ids of all objects of a kind, in ascending order."""
        raise NotImplementedError

    def find(self, kind, object_id):
        """The bytes of an object, or None."""
        raise NotImplementedError

    def names(self):
        """(name, image id, seconds since 1970 or None) of each name, in order."""
        raise NotImplementedError

    def blob(self, kind, object_id):
        """The bytes of an object; `Absent` where it is not here."""
        blob = self.find(kind, object_id)
        if blob is None:
            raise Absent("missing", self.label, f"{FOLDERS[kind]}/{object_id.hex()}")
        return blob

    def has_image(self, image_id):
        """Whether the record of an image is here."""
        return self.find(RECORD, image_id) is not None

    def homes(self):
        """This home, then all that its bases are in, each once."""
        found = [self]
        for _, home in self.bases:
            others = home.homes() if home is not None else []
            found.extend(other for other in others if other not in found)
        return found

    def pack(self, pack_id):
        """A pack whose head is checked."""
        return self._packs.get(pack_id, partial(self._open, PACK, pack_id, check_pack_head))

    def page_file(self, file_id):
        """A page file whose header is checked."""
        make = partial(self._open, PAGE_FILE, file_id, check_page_file_head)
        return self._page_files.get(file_id, make)

    def _open(self, kind, object_id, check):
        blob = self.blob(kind, object_id)
        check(blob)
        return blob

    def list_file(self, list_id, shape=None):
        """A list whose root is checked; with the shape that a manifest gives, if any."""
        return self._lists.get((list_id, shape), partial(self._open_list, list_id, shape))

    def _open_list(self, list_id, shape):
        return ListFile(self.blob(LIST, list_id), list_id, shape)

    def locator(self, list_id, chunks):
        """The locator of a list of so many chunks."""
        make = partial(self._open_locator, list_id, chunks)
        return self._locators.get((list_id, chunks), make)

    def _open_locator(self, list_id, chunks):
        return Locator(self.blob(LOCATOR, list_id), list_id, chunks)

    def forget_locator(self, list_id, chunks):
        """Read a locator again when it is next needed: a collector may have replaced it (8.2)."""
        self._locators.forget((list_id, chunks))
