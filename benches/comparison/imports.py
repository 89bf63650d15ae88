"""The disks into each tool, one after another: stored size, time, CPU, memory."""

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable

from .bench import MELV, bytes_in, measured, run, warm

BUZHASH = "buzhash,10,23,16,4095"
FIXED = "fixed,4096"


@dataclasses.dataclass
class Peer:
    """A tool. `stored` is what its size is taken of; `command` takes in a disk, by its name."""

    key: str
    title: str
    stored: str
    command: Callable[[str], list[str]]
    # What to sync after it: the one file that it wrote, or all of the file system that a store lies on.
    synced: Callable[[str], list[str]]
    prepare: list[list[str]] = dataclasses.field(default_factory=list)
    env: dict[str, str] = dataclasses.field(default_factory=dict)


def peers(bench):
    return [
        melv(bench),
        one_file(bench, "qcow2", "qcow2, zstd", lambda disk, out: [
            "qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", bench.disk(disk), out,
        ]),
        borg(bench, "borg-buzhash", "Borg, chunks by content", ["--chunker-params=" + BUZHASH]),
        # Only the chunker of fixed length can pass over holes.
        borg(bench, "borg-fixed", "Borg, chunks of 4 KiB", ["--chunker-params=" + FIXED, "--sparse"]),
        restic(bench),
        casync(bench),
        one_file(bench, "squashfs", "SquashFS, zstd 128 KiB", lambda disk, out: [
            "mksquashfs", bench.disk(disk), out, "-comp", "zstd", "-b", "128K", "-noappend", "-no-progress",
        ]),
        one_file(bench, "erofs", "EROFS, lz4hc 64 KiB", lambda disk, out: [
            "mkfs.erofs", "-zlz4hc", "-C65536", out, folder_of(bench, disk),
        ]),
    ]


def melv(bench):
    store = bench.path("melv")
    command = lambda disk: [MELV, "--store", store, "-q", "import", bench.disk(disk), "--name", disk]
    return Peer("melv", "melv", store, command, lambda _: ["-f", store])


def one_file(bench, key, title, command):
    """A tool that makes one file of one disk, and knows of no other."""
    folder = bench.folder(key)
    out = lambda disk: os.path.join(folder, f"{disk}.{key}")
    return Peer(key, title, folder, lambda disk: command(disk, out(disk)), lambda disk: [out(disk)])


def folder_of(bench, disk):
    """A folder with this disk alone in it: mkfs.erofs takes no file."""
    folder = bench.folder("folders", disk)
    place = os.path.join(folder, disk + ".raw")
    if not os.path.exists(place):
        bench.bind(bench.disk(disk), place)
    return folder


def borg(bench, key, title, chunker):
    repository = bench.path(key)
    create = ["borg", "create", "-C", "zstd,3", *chunker]
    env = {"BORG_BASE_DIR": bench.folder("caches", key), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
    return Peer(
        key, title, repository,
        lambda disk: [*create, f"{repository}::{disk}", bench.disk(disk)],
        lambda _: ["-f", repository],
        [["borg", "init", "--encryption=none", repository]],
        env,
    )


def restic(bench):
    repository = bench.path("restic")
    env = {"RESTIC_PASSWORD": "none", "RESTIC_CACHE_DIR": bench.folder("caches", "restic")}
    return Peer(
        "restic", "restic", repository,
        lambda disk: ["restic", "-q", "-r", repository, "--compression", "auto", "backup", bench.disk(disk)],
        lambda _: ["-f", repository],
        [["restic", "-q", "-r", repository, "init", "--repository-version", "2"]],
        env,
    )


def casync(bench):
    folder = bench.folder("casync")
    store = os.path.join(folder, "store.castr")
    index = lambda disk: os.path.join(folder, disk + ".caibx")
    command = lambda disk: ["casync", "make", f"--store={store}", index(disk), bench.disk(disk)]
    return Peer("casync", "casync", folder, command, lambda _: ["-f", folder])


def take_in(bench, peer):
    """All disks into one tool; gives its row."""
    scratch = bench.folder("scratch")
    # No tool finds settings and caches of the user's, or leaves any.
    env = os.environ | {"HOME": scratch, "TMPDIR": scratch} | peer.env
    for command in peer.prepare:
        run(command, env=env)
    costs = {}
    for disk in bench.names:
        command = peer.command(disk)
        warm(bench.disk(disk))
        costs[disk] = measured(command, peer.synced(disk), scratch, env)
        print(f"  {peer.key} {disk} {costs[disk]['seconds']:.2f} s", file=sys.stderr, flush=True)
    first = bench.names[0]
    row = {
        "title": peer.title,
        "stored_bytes": bytes_in(peer.stored),
        "seconds": sum(cost["seconds"] for cost in costs.values()),
        "cpu_seconds": sum(cost["cpu_seconds"] for cost in costs.values()),
        "rss_mib": max(cost["rss_mib"] for cost in costs.values()),
        "disks": costs,
        "commands": [bench.shown(command) for command in [*peer.prepare, peer.command(first)]],
    }
    if peer.key == "melv":
        row["index_bytes"] = bytes_in(os.path.join(peer.stored, "index"))
    return row


def leave_only_read(bench, peer):
    """Frees what no read will need; the page cache has better uses."""
    if peer.key not in ("melv", "qcow2", "squashfs", "erofs"):
        shutil.rmtree(peer.stored)
