"""Holds a hundred exports open, having read a little of each, until it is ended."""

import os
import signal

import nbd

handles = []
for number in range(100):
    h = nbd.NBD()
    h.set_export_name(f"image-{number}")
    h.connect_unix(os.environ["SOCKET"])
    assert len(h.pread(65536, number << 20)) == 65536
    handles.append(h)
print("held", len(handles), flush=True)
signal.pause()
