"""The blocks of a raw disk that its file allocates."""

import os

BLOCK = 4096


def blocks(path):
    """Each block of 4 KiB in the allocated ranges, in order; the last one may be shorter."""
    with open(path, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < end:
                block = os.pread(file.fileno(), min(BLOCK, end - at), at)
                yield block
                at += len(block)
