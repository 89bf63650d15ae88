"""Writes a disk without holes: the blocks of other disks that are not zero, up to so many bytes.

    dense.py OUT BYTES DISK...
"""

import os
import sys

BLOCK = 4096


def blocks(path):
    zero = bytes(BLOCK)
    with open(path, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            for place in range(at, end, BLOCK):
                block = os.pread(file.fileno(), BLOCK, place)
                if block != zero:
                    yield block
            at = end


def main(out, count, *disks):
    left = int(count) // BLOCK
    with open(out, "wb") as file:
        for disk in disks:
            for block in blocks(disk):
                if left == 0:
                    return
                file.write(block)
                left -= 1


main(*sys.argv[1:])
