"""One disk out of each tool: front to back, and cold 4 KiB here and there."""

import contextlib
import dataclasses
import json
import os
import random
import statistics
import sys
from collections.abc import Callable

from .bench import DRIVE, MIB, data_ranges, mounted, run, serving, warm

DISK = "base"
BLOCK = 4096
# At least as much as they decode at once, so that no read finds what an earlier one has decoded. EROFS
# may decode more: what a mount keeps is dropped before each read.
REGION = 128 << 10
SEED = 1
FIGURES = ("reads_per_second", "mb_per_second", "median_us", "p99_us")


@dataclasses.dataclass
class Way:
    """A way to the data. `ready` takes a pattern; while it is held, its arguments to `drive` work."""

    key: str
    title: str
    through: str
    ready: Callable[[str], contextlib.AbstractContextManager[list[str]]]
    commands: list[str]


def sequential_plan(path):
    """1 MiB at a time over what the disk has data in."""
    for start, end in data_ranges(path):
        while start < end:
            length = min(MIB - start % MIB, end - start)
            yield start, length
            start += length


def random_plan(path):
    """A block of each region that has one that is not zero, in random order."""
    chooser, found, zeros = random.Random(SEED), [], bytes(BLOCK)
    touched = lambda start, end: range(start // REGION, -(-end // REGION))
    regions = sorted({region for run in data_ranges(path) for region in touched(*run)})
    with open(path, "rb", buffering=0) as file:
        for region in regions:
            data = os.pread(file.fileno(), REGION, region * REGION)
            blocks = [at for at in range(0, len(data), BLOCK) if data[at : at + BLOCK] != zeros]
            if blocks:
                found.append((region * REGION + chooser.choice(blocks), BLOCK))
    chooser.shuffle(found)
    return found


def write_plan(bench, pattern, reads):
    with open(bench.path(pattern + ".plan"), "w") as file:
        file.writelines(f"{offset} {length}\n" for offset, length in reads)


def in_process(bench, threads):
    store = bench.path("melv")

    @contextlib.contextmanager
    def ready(_):
        warm(store)
        yield ["melv", store, DISK, str(threads)]

    command = bench.shown([DRIVE, "PLAN", "melv", store, DISK, str(threads)])
    word = "thread" if threads == 1 else "threads"
    return Way(f"melv-{threads}", f"melv, {threads} {word}", "in process", ready, [command])


def socket(bench, key, title, server, behind, depth):
    place = bench.path("nbd.socket")
    command = [*server, behind]

    @contextlib.contextmanager
    def ready(_):
        warm(behind)
        with contextlib.suppress(FileNotFoundError):
            os.remove(place)
        with serving(command):
            yield ["nbd", place, "", str(depth)]

    commands = [bench.shown(command), bench.shown([DRIVE, "PLAN", "nbd", place, "", str(depth)])]
    return Way(f"{key}-{depth}", f"{title}, depth {depth}", "socket", ready, commands)


def kernel(bench, kind, title):
    image, folder = bench.path(kind, f"{DISK}.{kind}"), bench.folder("mnt")
    path = os.path.join(folder, DISK + ".raw")

    @contextlib.contextmanager
    def ready(pattern):
        warm(image)
        with mounted(kind, image, folder):
            yield ["file", path, "cold" if pattern == "random" else "readahead"]

    drive_it = [DRIVE, "PLAN", "file", path, "readahead|cold"]
    commands = [["mount", "-t", kind, "-o", "loop,ro", image, folder], drive_it]
    return Way(kind, title, "kernel", ready, [bench.shown(command) for command in commands])


def plain_file(bench):
    path = bench.disk(DISK)

    @contextlib.contextmanager
    def ready(pattern):
        warm(path)
        yield ["file", path, "random" if pattern == "random" else "readahead"]

    command = bench.shown([DRIVE, "PLAN", "file", path, "readahead|random"])
    return Way("raw", "the raw file, nothing to decode", "kernel", ready, [command])


def ways(bench):
    place, raw = bench.path("nbd.socket"), bench.disk(DISK)
    qcow2 = bench.path("qcow2", DISK + ".qcow2")
    qemu = ["qemu-nbd", "--read-only", f"--socket={place}"]
    nbdkit = ["nbdkit", "--foreground", "--exit-with-parent", "--readonly", f"--unix={place}", "file"]
    found = [plain_file(bench), in_process(bench, 1), in_process(bench, 2)]
    for depth in (1, 16):
        found += [
            socket(bench, "qemu-zstd", "qemu-nbd, zstd qcow2", [*qemu, "--format=qcow2"], qcow2, depth),
            socket(bench, "qemu-raw", "qemu-nbd, raw", [*qemu, "--format=raw"], raw, depth),
            socket(bench, "nbdkit-raw", "nbdkit, raw", nbdkit, raw, depth),
        ]
    return [*found, kernel(bench, "squashfs", "SquashFS, zstd"), kernel(bench, "erofs", "EROFS, lz4hc")]


def drive(bench, way, pattern):
    with way.ready(pattern) as arguments:
        return json.loads(run([DRIVE, bench.path(pattern + ".plan"), *arguments]))


def read_out(bench, rounds):
    """All ways in turn, round after round; gives every figure of every round."""
    found = ways(bench)
    write_plan(bench, "sequential", sequential_plan(bench.disk(DISK)))
    write_plan(bench, "random", random_plan(bench.disk(DISK)))
    results = {way.key: {"title": way.title, "through": way.through, "commands": way.commands} for way in found}
    for pattern in ("sequential", "random"):
        expected = drive(bench, plain_file(bench), pattern)["blake3"]
        for way in found:
            results[way.key][pattern] = []
        # One round that is not counted: programs and libraries come off the disk once.
        for turn in range(-1, rounds):
            # Begun with another each time, so that none always runs after the same one.
            shift = turn % len(found)
            for way in found[shift:] + found[:shift]:
                figures = drive(bench, way, pattern)
                if figures["blake3"] != expected:
                    sys.exit(f"{way.title}: {pattern}: not the bytes of the raw file")
                if turn >= 0:
                    results[way.key][pattern].append(figures)
            print(f"  {pattern} round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    for result in results.values():
        for pattern in ("sequential", "random"):
            result[pattern + "_median"] = medians(result[pattern])
    return results


def medians(turns):
    found = {figure: statistics.median(turn[figure] for turn in turns) for figure in FIGURES}
    return found | {"reads": turns[0]["reads"], "bytes": turns[0]["bytes"]}


def ratio(results, one, other, pattern, figure):
    """Of two ways in the same round; the median of the rounds."""
    pairs = zip(results[one][pattern], results[other][pattern])
    return statistics.median(mine[figure] / theirs[figure] for mine, theirs in pairs)


def ratios(results):
    return {
        "vs_qemu_cold_random": ratio(results, "melv-1", "qemu-zstd-1", "random", "reads_per_second"),
        "vs_qemu_sequential": ratio(results, "melv-1", "qemu-zstd-1", "sequential", "mb_per_second"),
        "vs_qemu_cold_random_2_threads_depth_16": ratio(
            results, "melv-2", "qemu-zstd-16", "random", "reads_per_second"
        ),
        "vs_qemu_sequential_2_threads_depth_16": ratio(
            results, "melv-2", "qemu-zstd-16", "sequential", "mb_per_second"
        ),
    }
