"""Runs the command, and tells how it ended: exit code, and facts that are for machines."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

SECONDS = 30
BLOCK = 4096
# Fields of JSON that differ from run to run, and fields that hold texts for people.
VOLATILE = {"seconds", "created", "hint"}
TEXTS = {"error", "unsupported"}
SHOWN = ("ok", "format", "size", "content", "image", "same", "offset", "images", "chunks")


def short_sum(data):
    return hashlib.sha256(data).hexdigest()[:12]


def marks_of(text):
    """All of a message that is for machines: rule and byte."""
    found = re.findall(r"\(rule ([a-z0-9-]+)\)", text)[:1]
    at = re.findall(r"at byte ([0-9]+)", text)[:1]
    return [f"rule={rule}" for rule in found] + [f"byte={byte}" for byte in at]


def stable(value, work, key=None):
    """JSON without times, messages and the folder of work."""
    if isinstance(value, dict):
        return {key: stable(value[key], work, key) for key in sorted(value) if key not in VOLATILE}
    if key == "warnings":
        return len(value)
    if isinstance(value, list):
        return [stable(item, work, key) for item in value]
    if isinstance(value, str):
        return marks_of(value) if key in TEXTS else value.replace(work, "WORK")
    return value


def shown(value):
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]
    return len(value) if isinstance(value, list) else json.dumps(value)


def facts_of_json(found, work):
    found = stable(found, work)
    facts = [f"{key}={shown(found[key])}" for key in SHOWN if key in found]
    rules = {mark for part in ("damaged", "objects") for item in found.get(part, []) for mark in item.get("error", [])}
    facts += sorted(rule for rule in rules if rule.startswith("rule="))
    return facts + [f"json={short_sum(json.dumps(found).encode())}"]


def parsed(line):
    """The JSON object of a line, if it is one."""
    try:
        found = json.loads(line) if line.startswith(b"{") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def facts_of_errors(stderr, work):
    facts, others = [], 0
    for line in stderr.splitlines():
        found = parsed(line)
        if found is None:
            others += 1
            facts += marks_of(line.decode(errors="replace"))
        elif "error" in found:
            facts += [f"code={found.get('code')}", *marks_of(found["error"])]
            facts += ["hint"] if found.get("hint") else []
            facts += [f"choice={short_sum(json.dumps(stable(found['images'], work)).encode())}"] if "images" in found else []
        else:
            facts += facts_of_json(found, work)
    return facts + ([f"lines={others}"] if others else [])


def tree(root):
    """A sum over the files of a folder, of stores in it all but the index, locks, and the times in references."""
    if not os.path.isdir(root):
        return "tree=none"
    sums, left = hashlib.sha256(), 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "index")
        below = os.path.relpath(folder, root).split("/")
        if "tmp" in below:
            left += len(files)
            continue
        for name in sorted(files):
            if name != "lock":
                data = b"" if "refs" in below else read(os.path.join(folder, name))
                sums.update(os.fsencode("/".join([*below, name])) + b"\0" + hashlib.sha256(data).digest())
    return f"tree={sums.hexdigest()[:12]}" + (f" left={left}" if left else "")


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def files_of(*parts):
    """The files of a folder: (name, bytes) of each, in order."""
    folder = os.path.join(*parts)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [(name, read(os.path.join(folder, name))) for name in names if os.path.isfile(os.path.join(folder, name))]


class Runner:
    def __init__(self, work, melv):
        self.work = work
        self.lines = {}
        self.inputs = 0
        self.slowest = (0, "")
        self.melv = os.path.join(work, "melv")
        shutil.copy(melv, self.melv)
        self.home = os.path.join(work, "home")
        os.mkdir(self.home)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def spawn(self, command, store, stdin=None, user=None, folder="."):
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": self.home, "LANG": "C.UTF-8", "TZ": "UTC", "TERM": "dumb", "MELV_STORE": store,
        }
        as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
        process = subprocess.Popen(
            command, cwd=self.path(folder), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, start_new_session=True, **as_user,
        )
        try:
            out, errors = process.communicate(stdin, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "hang", b"", b""
        code = process.returncode
        return (f"signal-{-code}" if code < 0 else str(code)), out, errors

    def run(self, name, *arguments, store="store", threads=1, out=None, writes=False, must=None, **more):
        """Runs a command, and keeps its outcome. `out` is `-` where standard output is a disk, else a file that is
        made; after a command that `writes` the store is summed. Cases that follow may need that it ends with `must`.
        """
        command = [self.melv, "--json", "--threads", str(threads), *arguments]
        self.keep(name, command, store, out, store if writes else None, must, more)

    def shell(self, name, line, folder):
        """The same for a line of sh in a folder, where $MELV is the command, and `s` the store."""
        line = line.replace("$MELV", f"{self.melv} --json --threads 1")
        self.keep(name, ["sh", "-c", line], "s", None, folder, None, {"folder": folder})

    def keep(self, name, command, store, out, written, must, more):
        begun = time.monotonic()
        code, stdout, stderr = self.spawn(command, store, **more)
        self.slowest = max(self.slowest, (time.monotonic() - begun, name))
        facts = []
        if out == "-":
            facts += [f"bytes={len(stdout)}", f"sum={short_sum(stdout)}"]
        elif found := parsed(stdout):
            facts += facts_of_json(found, self.work)
        if out and out != "-":
            made = self.path(out)
            facts += [f"made={os.path.getsize(made)}", f"sum={short_sum(read(made))}"] if os.path.exists(made) else ["made=none"]
        facts += facts_of_errors(stderr, self.work)
        facts += [tree(self.path(written))] if written else []
        if name in self.lines:
            sys.exit(f"two cases are called {name}")
        self.lines[name] = f"{code}\t{' '.join(facts)}"
        if must is not None and code != must:
            sys.exit(f"{name}: exit {code}, and other cases need {must}: {stderr.decode(errors='replace')}")

    def fresh(self, *parts, like=None):
        """An empty place, or a copy of a folder."""
        place = self.path(*parts)
        if os.path.isdir(place):
            shutil.rmtree(place)
        elif os.path.exists(place):
            os.unlink(place)
        if like:
            shutil.copytree(self.path(like), place)
        return parts[0]

    def tidy(self):
        """Removes all but the command and the files of `base`: a group finds the same, whichever ran before."""
        kept = ("melv", "home", "base", "one.raw", "two.raw", "three.raw", "four.raw", "base.melv", "patch.melv")
        for name in os.listdir(self.work):
            if name not in kept:
                self.fresh(name)

    # Disks and stores that are made here ----------------------------------------------------------

    def disk(self, seed, blocks, tail=0):
        """Zeros, text and noise, in runs."""
        rng, data = random.Random(f"disk {seed}"), bytearray()
        while len(data) < blocks * BLOCK:
            run = rng.randrange(1, 12) * BLOCK
            kind = rng.randrange(3)
            text = b"%08d of disk %s\n" % (rng.randrange(1 << 20), str(seed).encode())
            data += bytes(run) if kind == 0 else rng.randbytes(run) if kind == 1 else (text * (run // len(text) + 1))[:run]
        return bytes(data[: blocks * BLOCK]) + rng.randbytes(tail)

    def later(self, data, seed):
        """The disk a while later."""
        rng, data = random.Random(f"later {seed}"), bytearray(data)
        for _ in range(6):
            at = rng.randrange(len(data) // BLOCK) * BLOCK
            data[at : at + BLOCK] = rng.randbytes(BLOCK)
        return bytes(data)

    def base(self):
        """The store that most groups begin with, in `base`, its disks, and bundles of it; made once."""
        if os.path.exists(self.path("base.melv")):
            return
        first, other = self.disk("first", 90), self.disk("other", 40, 512)
        disks = {"one.raw": first, "two.raw": self.later(first, 1), "three.raw": other, "four.raw": self.later(other, 2)}
        for name, data in disks.items():
            write(self.path(name), data)
        made = {"store": "base", "threads": 2, "must": "0"}
        options = {"one": [], "two": ["--parent", "one"], "three": ["--chunk", "4K"], "four": ["--chunk", "64K"]}
        for name, more in options.items():
            self.run(f"base/import-{name}", "import", f"{name}.raw", "--name", name, *more, writes=True, **made)
        self.run("base/tag", "tag", "one", "one:first", writes=True, **made)
        self.run("base/save", "save", "one", "two", "base.melv", out="base.melv", **made)
        self.run("base/save-patch", "save", "two", "--without", "one", "patch.melv", out="patch.melv", **made)
