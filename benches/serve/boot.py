"""Boots a disk through an NBD server's socket to its login prompt; prints the seconds. The disk's own
file is read for the kernel and the initrd only.

    boot.py DISK SOCKET
    boot.py --take-out DISK FOLDER    only puts vmlinuz and initrd into the folder
"""

import importlib.machinery
import importlib.util
import os
import sys
import tempfile

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "boot", "record")


def recorder():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("record", PATH)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("record", loader))
    loader.exec_module(module)
    return module


def main(disk, socket, folder=None):
    record = recorder()
    if disk == "--take-out":
        record.take_out(socket, folder)
        return
    with tempfile.TemporaryDirectory(prefix="melv-boot-", dir="/var/tmp") as work:
        record.take_out(disk, work)
        command = record.machine_command(work, socket)
        drive = command.index("-drive") + 1
        command[drive] = f"file=nbd+unix:///nginx?socket={socket},format=raw,if=virtio,snapshot=on"
        print(f"{record.boot(command):.1f}")


main(*sys.argv[1:])
