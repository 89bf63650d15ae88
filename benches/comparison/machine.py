"""What the figures were taken on and with."""

import os
import platform
import subprocess
import time

from .bench import MELV, ROOT, run

VERSIONS = {
    "melv": [MELV, "--version"],
    "qemu-img": ["qemu-img", "--version"],
    "qemu-nbd": ["qemu-nbd", "--version"],
    "Borg": ["borg", "--version"],
    "restic": ["restic", "version"],
    "casync": ["casync", "--version"],
    "mksquashfs": ["mksquashfs", "-version"],
    "mkfs.erofs": ["dpkg-query", "-W", "-f", "${Version}", "erofs-utils"],
    "nbdkit": ["nbdkit", "--version"],
    "rustc": ["rustc", "--version"],
}


def first_line(command):
    # mksquashfs tells its version and exits with an error.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "?")


def field(path, name):
    with open(path) as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith(name)), "?")


def system():
    with open("/etc/os-release") as file:
        fields = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    return fields.get("PRETTY_NAME", "?").strip('"')


def describe():
    git = lambda *words: run(["git", "-C", ROOT, *words]).strip()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": git("rev-parse", "--short", "HEAD"),
        "dirty": bool(git("status", "--porcelain")),
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_mib": int(field("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "kernel": platform.release(),
        "system": system(),
        # Figures from a machine that had other things to do are to be told from others.
        "load_before": os.getloadavg()[0],
        "versions": {name: first_line(command) for name, command in VERSIONS.items()},
    }
