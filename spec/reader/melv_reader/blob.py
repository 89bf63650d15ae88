"""The bytes of an object: from memory, from a file, or from pieces of a bundle."""

import os
import stat
from bisect import bisect_right

from .rules import Absent, Rejected


class Blob:
    """Bytes that can be read by position; `where` names them in errors."""

    def __init__(self, where, size):
        self.where = where
        self.size = size

    def read(self, offset, length):
        """Exactly `length` bytes; the caller has checked `length` against a limit."""
        if offset < 0 or offset + length > self.size:
            text = f"bytes [{offset}, {offset + length}) of {self.size}"
            raise Rejected("truncated", self.where, text)
        return self._read(offset, length)

    def has_any(self, offset, length):
        """Whether any of these bytes are here; parts of a bundle's objects may be absent (10.1)."""
        return True

    def _read(self, offset, length):
        raise NotImplementedError


class BytesBlob(Blob):
    """Bytes in memory."""

    def __init__(self, data, where):
        super().__init__(where, len(data))
        self.data = data

    def _read(self, offset, length):
        return self.data[offset : offset + length]


class FileBlob(Blob):
    """A regular file, or a block device."""

    def __init__(self, descriptor, where):
        self.descriptor = descriptor
        mode = os.fstat(descriptor).st_mode
        self.device = stat.S_ISBLK(mode)
        if not self.device and not stat.S_ISREG(mode):
            self.close()
            raise Rejected("missing", where, "expected a regular file")
        super().__init__(where, os.lseek(descriptor, 0, os.SEEK_END))

    @classmethod
    def open(cls, path, where, folder=None):
        """Open a file; symbolic links inside a store (`folder` given) are not followed (5.3)."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        if folder is not None:
            flags |= os.O_NOFOLLOW
        return cls(os.open(path, flags, dir_fd=folder), where)

    def close(self):
        """Close the file, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self):
        self.close()

    def _read(self, offset, length):
        parts = []
        while length:
            part = os.pread(self.descriptor, length, offset)
            if not part:
                raise Rejected("truncated", self.where, f"the file ended at byte {offset}")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class PiecesBlob(Blob):
    """An object of a bundle (10.1): pieces [(offset in the object, offset in the bundle, length)].

    `begins`, `places` and `lengths` are the columns of the table of pieces, of which
    [`first`, `last`) are those of this object.
    """

    def __init__(self, bundle, columns, first, last, where, size):
        super().__init__(where, size)
        self.bundle = bundle
        self.begins, self.places, self.lengths = columns
        self.first = first
        self.last = last

    def _parts(self, offset, length):
        """Places in the bundle of [offset, offset + length), or None where bytes are absent."""
        end = offset + length
        index = bisect_right(self.begins, offset, self.first, self.last) - 1
        while offset < end:
            if not self.first <= index < self.last:
                yield None
                return
            inside = offset - self.begins[index]
            count = min(self.lengths[index] - inside, end - offset)
            if inside < 0 or count <= 0:
                yield None
                return
            yield self.places[index] + inside, count
            offset += count
            index += 1

    def has_any(self, offset, length):
        index = bisect_right(self.begins, offset, self.first, self.last)
        if index > self.first and self.begins[index - 1] + self.lengths[index - 1] > offset:
            return True
        return index < self.last and self.begins[index] < offset + length

    def _read(self, offset, length):
        parts = []
        for part in self._parts(offset, length):
            if part is None:
                text = f"bytes [{offset}, {offset + length}) are not all in the bundle"
                raise Absent("piece-absent", self.where, text)
            parts.append(self.bundle.read(*part))
        return parts[0] if len(parts) == 1 else b"".join(parts)
