"""A raw disk in a file: its content id (section 4.3), and writing one with holes."""

import errno
import os
from contextlib import contextmanager

from .content import Content
from .digests import ZERO_DIGEST, block_digest
from .limits import BLOCK, DISK, SECTOR, SPAN_BLOCKS
from .rules import Rejected

_PART = BLOCK * SPAN_BLOCKS
_ZEROS = bytes(_PART)


def check_size(size, where):
    """The sizes that a disk may have (3.2)."""
    if size >= DISK or size % SECTOR:
        text = f"{size} bytes: expected a multiple of 512 below 2^63"
        raise Rejected("disk-size", where, text)


def raw_content(path):
    """The content id of a raw disk."""
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        check_size(size, path)
        content = Content(size)
        offset = 0
        while offset < size:
            offset = _next_data(file.fileno(), offset, size) // _PART * _PART
            part = os.pread(file.fileno(), min(_PART, size - offset), offset)
            if not part:
                break
            _add_part(content, part, offset)
            offset += _PART
        return content.finish()


def _next_data(descriptor, offset, size):
    """Where data begins at or behind `offset`; what lies before are holes, which read as zeros."""
    try:
        return max(offset, os.lseek(descriptor, offset, os.SEEK_DATA))
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset


def _add_part(content, part, offset):
    if part == _ZEROS[: len(part)]:
        return
    for begin in range(0, len(part), BLOCK):
        block = part[begin : begin + BLOCK].ljust(BLOCK, b"\0")
        content.add((offset + begin) // BLOCK, block_digest(block))


class RawDisk:
    """A raw disk that is being written; blocks that are not written stay holes."""

    def __init__(self, descriptor, size):
        self.descriptor = descriptor
        self.size = size
        os.ftruncate(descriptor, size)

    def write(self, first_block, blocks, digests):
        """Write consecutive blocks, but not those that are zero, nor what is beyond the disk."""
        offset = first_block * BLOCK
        if ZERO_DIGEST not in digests:
            self._write(b"".join(blocks), offset)
            return
        for index, (block, digest) in enumerate(zip(blocks, digests)):
            if digest != ZERO_DIGEST:
                self._write(block, offset + index * BLOCK)

    def _write(self, data, offset):
        view = memoryview(data)[: self.size - offset]
        while len(view):
            written = os.pwrite(self.descriptor, view, offset)
            view = view[written:]
            offset += written


@contextmanager
def new_raw_disk(path, size):
    """A disk that gets its name only once all of it is right."""
    partial = f"{path}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        yield RawDisk(descriptor, size)
        os.close(descriptor)
        descriptor = -1
        os.replace(partial, path)
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        os.unlink(partial)
        raise
