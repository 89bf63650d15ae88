"""Prints fio's log of so many 4 KiB reads at random places where a raw disk has data.

    offsets.py DISK READS SEED
"""

import json
import random
import subprocess
import sys

BLOCK = 4096


def main(disk, reads, seed):
    found = subprocess.run(["qemu-img", "map", "-f", "raw", "--output=json", disk], check=True, capture_output=True)
    extents = [extent for extent in json.loads(found.stdout) if extent["data"]]
    blocks = [
        at
        for extent in extents
        for at in range(-(-extent["start"] // BLOCK) * BLOCK, extent["start"] + extent["length"] - BLOCK + 1, BLOCK)
    ]
    chooser = random.Random(int(seed))
    print("fio version 2 iolog\nnbd add\nnbd open")
    for _ in range(int(reads)):
        print(f"nbd read {chooser.choice(blocks)} {BLOCK}")
    print("nbd close")


main(*sys.argv[1:])
