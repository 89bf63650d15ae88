"""The figures as a page to read."""

from .bench import MIB
from .reads import DISK, ratios

HEAD = """# melv beside other tools

Written by `make compare`; not by hand. The disks are those of `benches/corpus/build`.

"""

MEASURED = f"""## How this is measured

Imports: the disks go in one after another, once, in the order of the list above; a disk's data is in the
page cache before its turn. Each time ends with a sync of what was written: of the file where a tool makes
one, of the file system where it keeps a store. CPU is user and system time of the tool, without the sync;
memory is the largest resident size of any of its runs. A size is the length of all files; caches that Borg
and restic keep elsewhere are not in it.

Reads are of `{DISK}` alone: sequential is 1 MiB at a time over the ranges where the raw file has data; random
is one 4 KiB block that is not zero out of every 128 KiB that have one, in random order. What is stored is in
the page cache, nothing of it is decoded: each run opens its store, starts its server or mounts its image
anew, no two random reads share 128 KiB, and a mount's pages are dropped between random reads, with the clock
stopped. Opening is not timed. All ways run in turn in each round; figures are medians of the rounds; ratios
are taken within a round, and their median is given. Every run's bytes are hashed after its clock has stopped,
and must be those of the raw file.

Not comparable: in process there is no socket, which costs tens of microseconds a read; the kernel's readahead
decodes before it is asked, which is why it is off for random reads; raw has nothing to decode and is a floor.
At depth 16 a latency includes the wait behind the others. qemu-nbd decodes in threads of its own where
several reads are under way. SquashFS compresses at zstd's level 15, its default, where melv and Borg use 3.
SquashFS, EROFS and qcow2 see one disk at a time and share nothing between disks; Borg, restic and casync
share, but offer no random reads of this size. Of those read here only melv checks what it reads: as by
default, against guards.
"""


def mib(count):
    return f"{count / MIB:.1f}"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def machine_text(machine):
    dirty = " and changes that are not committed" if machine["dirty"] else ""
    text = f"{machine['date']}, commit {machine['commit']}{dirty}, {machine['cores']} x {machine['cpu']}, "
    text += f"{machine['memory_mib']} MiB, Linux {machine['kernel']}, {machine['system']}. "
    text += f"Load average before it began: {machine['load_before']:.1f}.\n\n"
    return text + "".join(f"- {name}: {version}\n" for name, version in machine["versions"].items()) + "\n"


def imports_text(bench, rows):
    first, second = (bench.names + bench.names)[:2]
    head = ["", "stored, MiB", "all, s", f"{first}, s", f"{second} after it, s", "CPU, s", "memory, MiB"]
    lines = []
    for row in rows.values():
        seconds = lambda disk: f"{row['disks'][disk]['seconds']:.2f}"
        costs = [f"{row['seconds']:.1f}", seconds(first), seconds(second), f"{row['cpu_seconds']:.1f}"]
        costs.append(f"{row['rss_mib']:.0f}")
        index = row.get("index_bytes")
        if index is None:
            lines.append([row["title"], mib(row["stored_bytes"]), *costs])
        else:
            lines.append([row["title"], mib(row["stored_bytes"] - index), *costs])
            lines.append([row["title"] + ", with its index, a cache", mib(row["stored_bytes"])] + [""] * 5)
    return f"## Import\n\nDisks: {', '.join(bench.names)}.\n\n" + table(head, lines)


def reads_text(results, rounds):
    text = ""
    titles = {"sequential": "Sequential reads of 1 MiB", "random": "Cold random reads of 4 KiB"}
    for pattern, title in titles.items():
        head = ["", "through", "MB/s", "reads/s", "median, us", "p99, us"]
        lines, count = [], 0
        for result in results.values():
            figures = result[pattern + "_median"]
            count = f"{figures['reads']} reads, {mib(figures['bytes'])} MiB"
            speed = [f"{figures['mb_per_second']:.0f}", f"{figures['reads_per_second']:.0f}"]
            latency = [f"{figures['median_us']:.1f}", f"{figures['p99_us']:.1f}"]
            lines.append([result["title"], result["through"], *speed, *latency])
        text += f"## {title}\n\n{count}; medians of {rounds} rounds.\n\n" + table(head, lines)
    lines = [[f"`{name}`", f"{value:.2f}"] for name, value in ratios(results).items()]
    text += "melv's speed over that of qemu-nbd on the zstd qcow2, one thread against depth 1 unless named:\n\n"
    return text + table(["", "times"], lines)


def commands_text(rows, results):
    text = "## Commands\n\n`$DISKS` is the folder of the disks, `$WORK` a new one.\n\n```sh\n"
    for row in [*rows.values(), *results.values()]:
        text += f"# {row['title']}\n" + "".join(command + "\n" for command in row["commands"])
    return text + "```\n"


def page(bench, machine, rows, results, rounds):
    return (
        HEAD
        + machine_text(machine)
        + imports_text(bench, rows)
        + reads_text(results, rounds)
        + MEASURED
        + "\n"
        + commands_text(rows, results)
    )
