"""Writes a disk without holes: the whole blocks of other disks that are not zero, up to so many bytes.

    dense.py OUT BYTES DISK...
"""

import sys
from itertools import chain, islice

from allocated import BLOCK, blocks


def main(out, count, *disks):
    held = (block for block in chain.from_iterable(map(blocks, disks)) if len(block) == BLOCK and any(block))
    with open(out, "wb") as file:
        file.writelines(islice(held, int(count) // BLOCK))


main(*sys.argv[1:])
