"""Stores: folders of objects and references (section 5.3)."""

import os
import re

from .blob import FileBlob
from .home import FOLDERS, Home
from .limits import DIGEST
from .reference import LENGTH as REFERENCE_LENGTH
from .reference import is_part, read_reference
from .rules import Rejected
from .store_header import LENGTH as HEADER_LENGTH
from .store_header import read_store_header

_DIGEST = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


class Store(Home):
    """A folder with a file `melv.store`."""

    def __init__(self, path):
        super().__init__(path)
        self.root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.folders = {}
        where = f"{path}/melv.store"
        blob = FileBlob.open("melv.store", where, self.root)
        if blob.size > HEADER_LENGTH:
            data = blob.read(0, HEADER_LENGTH + 1)
        else:
            data = blob.read(0, blob.size)
        self.writer_mask = read_store_header(data, where)

    def __del__(self):
        for descriptor in [getattr(self, "root", None), *getattr(self, "folders", {}).values()]:
            if descriptor is not None:
                os.close(descriptor)

    def _folder(self, name):
        """A folder of objects, opened once, or None; symbolic links are not followed."""
        if name not in self.folders:
            self.folders[name] = _open_folder(name, self.root)
        return self.folders[name]

    def ids(self, kind):
        folder = self._folder(FOLDERS[kind])
        if folder is None:
            return []
        names = sorted(name for name in os.listdir(folder) if _DIGEST.match(name))
        return [bytes.fromhex(name) for name in names]

    def find(self, kind, object_id):
        assert len(object_id) == DIGEST
        folder = self._folder(FOLDERS[kind])
        if folder is None:
            return None
        return _open_file(object_id.hex(), folder, f"{self.label}/{FOLDERS[kind]}")

    def names(self):
        for reference in self.references():
            yield reference.name, reference.image, reference.created

    def references(self):
        """Every reference, checked; each must lead to an image (5.2)."""
        refs = _open_folder("refs", self.root)
        if refs is None:
            return
        try:
            for name in sorted(filter(is_part, os.listdir(refs))):
                folder = _open_folder(name, refs)
                if folder is None:
                    continue
                try:
                    for tag in sorted(filter(is_part, os.listdir(folder))):
                        reference = self._reference(name, tag, folder)
                        if reference is not None:
                            yield reference
                finally:
                    os.close(folder)
        finally:
            os.close(refs)

    def _reference(self, name, tag, folder):
        blob = _open_file(tag, folder, f"{self.label}/refs/{name}")
        if blob is None:
            return None
        if blob.size > REFERENCE_LENGTH:
            # longer than any reference; the first bytes tell what is wrong with it
            data = blob.read(0, REFERENCE_LENGTH + 1)
        else:
            data = blob.read(0, blob.size)
        reference = read_reference(data, blob.where, f"{name}:{tag}")
        if not self.has_image(reference.image):
            text = f"expected manifests/{reference.image.hex()}, found nothing"
            raise Rejected("missing", blob.where, text)
        return reference

    def image_of(self, name):
        """The image id that a name has, or None; only this reference is read."""
        for reference in self._named(name):
            return reference.image
        return None

    def _named(self, name):
        part, _, tag = name.partition(":")
        refs = _open_folder("refs", self.root)
        folder = None
        try:
            if refs is not None and is_part(part) and is_part(tag):
                folder = _open_folder(part, refs)
            if folder is not None:
                reference = self._reference(part, tag, folder)
                if reference is not None:
                    yield reference
        finally:
            for descriptor in (folder, refs):
                if descriptor is not None:
                    os.close(descriptor)


def _open_folder(name, parent):
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Rejected("missing", name, f"expected a folder: {error.strerror}") from None


def _open_file(name, folder, where):
    try:
        return FileBlob.open(name, f"{where}/{name}", folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        text = f"expected a regular file: {error.strerror}"
        raise Rejected("missing", f"{where}/{name}", text) from None
