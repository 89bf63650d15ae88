"""Where the comparison works, and how it runs a program: measured, or served until it is done."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
MELV = os.path.join(TARGET, "release", "melv")
DRIVE = os.path.join(TARGET, "release", "drive")


class Bench:
    """A work folder, which goes away at the end, and the disks."""

    def __init__(self, corpus, names):
        self.corpus, self.names, self.bound = corpus, names, []
        self.work = os.environ.get("MELV_WORK") or tempfile.mkdtemp(prefix="melv-compare-", dir="/var/tmp")

    def disk(self, name):
        return os.path.join(self.corpus, name + ".raw")

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def folder(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        return path

    def bind(self, path, place):
        """Makes a file appear in another place, without a copy, until the end."""
        open(place, "xb").close()
        run(["mount", "--bind", path, place])
        self.bound.append(place)

    def shown(self, command):
        """A command line for a reader, with the three long paths by name."""
        text = shlex.join(command).replace(MELV, "melv").replace(DRIVE, "drive")
        return text.replace(self.work, "$WORK").replace(self.corpus, "$DISKS")

    def remove(self):
        while self.bound:
            run(["umount", self.bound.pop()])
        shutil.rmtree(self.work, ignore_errors=True)


def run(command, **keywords):
    """Runs it quietly; what it said is shown if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def measured(command, synced, folder, env):
    """Runs a command and a sync of what it wrote; gives seconds, CPU seconds and peak memory.

    GNU time stands between: a child's peak begins at that of the process it is forked from, and
    Python's is larger than some of what is measured here. The CPU time of the sync is not counted.
    """
    report = os.path.join(folder, "time")
    os.sync()
    begun = time.monotonic()
    process = subprocess.Popen(
        ["/usr/bin/time", "-q", "-o", report, "-f", "%U %S %M", *command],
        cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    with killed_on_failure(process):
        output, _ = process.communicate()
        if process.returncode != 0:
            sys.exit(f"{shlex.join(command)}: exit {process.returncode}:\n{output}")
        subprocess.run(["sync", *synced], check=True)
    seconds = time.monotonic() - begun
    with open(report) as file:
        user, system, kib = file.read().split()
    return {"seconds": seconds, "cpu_seconds": float(user) + float(system), "rss_mib": int(kib) / 1024}


@contextlib.contextmanager
def killed_on_failure(process):
    """The process and all it has started, whatever ends this one: the group is its own."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


@contextlib.contextmanager
def serving(command):
    """A server that ends by itself after its client, or is ended."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **quiet, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def mounted(kind, image, folder):
    """Mounted anew each time, so that nothing of it is decoded. The loop device goes with the mount."""
    run(["mount", "-t", kind, "-o", "loop,ro", image, folder])
    try:
        yield
    finally:
        run(["umount", folder])


def data_ranges(path):
    """Where a sparse file has data: pairs of start and end."""
    with open(path, "rb") as file:
        size, end = os.fstat(file.fileno()).st_size, 0
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            yield start, end


def warm(path):
    """Brings a file's data into the page cache, or that of all files in a folder."""
    if os.path.isdir(path):
        for folder, _, names in os.walk(path):
            for name in names:
                warm(os.path.join(folder, name))
        return
    with open(path, "rb", buffering=0) as file:
        for start, end in data_ranges(path):
            for offset in range(start, end, MIB):
                os.pread(file.fileno(), min(MIB, end - offset), offset)


def bytes_in(folder):
    """The length of every file below a folder."""
    return sum(
        os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names
    )
