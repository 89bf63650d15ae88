"""Prints how many bytes of a file's allocated ranges lie in 4 KiB blocks of zeros."""

import os
import sys

BLOCK = 4096


def main(path):
    zero, found = bytes(BLOCK), 0
    with open(path, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < end:
                block = os.pread(file.fileno(), min(BLOCK, end - at), at)
                found += len(block) if block == zero[: len(block)] else 0
                at += len(block)
    print(found)


main(sys.argv[1])
