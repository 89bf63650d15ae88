"""Run by nbdsh: reads what ten images have in common, and tells from the server's statistics how often it
was decoded.

Without OFFSETS there, finds what they have in common and writes it there: chunks of a region whose every block
is alike in the base and all ten. Else reads those of a server whose cache is empty, WAY saying how, and prints
`name got want` lines.
"""

import json
import os
import signal
import time

import nbd

SOCKET, LOG, SERVER, OFFSETS = (os.environ[name] for name in ("SOCKET", "LOG", "SERVER", "OFFSETS"))
WAY = os.environ.get("WAY")
MIB, CHUNK = 1 << 20, 32 << 10
IMAGES, REGION = 10, 32 * MIB


def connected(name):
    h = nbd.NBD()
    h.add_meta_context("base:allocation")
    h.set_export_name(name)
    h.connect_unix(SOCKET)
    return h


def decodes():
    with open(LOG) as file:
        before = len(file.readlines())
    os.kill(int(SERVER), signal.SIGUSR1)
    while True:
        time.sleep(0.05)
        with open(LOG) as file:
            lines = file.readlines()
        if len(lines) > before and lines[-1].endswith("}\n"):
            return json.loads(lines[-1])["decodes"]


def longest_data(h):
    """Where there is most data in one piece."""
    extents, at, size = [], 0, h.get_size()

    def extent(context, offset, entries, error):
        nonlocal at
        for length, flags in zip(entries[::2], entries[1::2]):
            if flags == 0:
                extents.append((length, at))
            at += length

    while at < size:
        h.block_status(min(size - at, 1 << 30), at, extent)
    return max(extents)


def find():
    base, images = connected("base"), [connected(f"image-{number}") for number in range(IMAGES)]
    length, start = longest_data(base)
    first, end = -(-start // CHUNK) * CHUNK, start + min(length, REGION)
    region = range(first, end - CHUNK + 1, CHUNK)
    common = [at for at in region if all(h.pread(CHUNK, at) == base.pread(CHUNK, at) for h in images)]
    with open(OFFSETS, "w") as file:
        json.dump(common, file)


def at_once(offsets):
    """Ten clients, each a process that begins when all are connected."""
    ready, go = os.pipe(), os.pipe()
    children = []
    for number in range(IMAGES):
        child = os.fork()
        if child == 0:
            h = connected(f"image-{number}")
            os.close(go[1])
            os.write(ready[1], b".")
            os.read(go[0], 1)
            for at in offsets:
                h.pread(CHUNK, at)
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    os.close(go[1])
    good = sum(os.waitpid(child, 0)[1] == 0 for child in children)
    print("at_once_clients", good, IMAGES)


def measure():
    with open(OFFSETS) as file:
        offsets = json.load(file)
    print(f"{WAY}_chunks", len(offsets), len(offsets))
    before = decodes()
    if WAY == "at_once":
        at_once(offsets)
        print("at_once_decodes", decodes() - before, os.environ["ONCE"], flush=True)
        return
    images = [connected(f"image-{number}") for number in range(IMAGES)]
    for number, h in enumerate(images):
        for at in offsets:
            h.pread(CHUNK, at)
        if number == 0:
            once = decodes() - before
            print("in_turn_decodes_of_one", once, once)
    print("in_turn_decodes_of_ten", decodes() - before, once, flush=True)


measure() if WAY else find()
