"""Run by nbdsh: talks to the server as no well-meaning client does. Prints `name got want` lines."""

import errno
import os
import random

import nbd

SOCKET, EXPORT, DISK = (os.environ[name] for name in ("SOCKET", "EXPORT", "DISK"))
MIB = 1 << 20
file = os.open(DISK, os.O_RDONLY)
SIZE = os.fstat(file).st_size


def say(name, got, want):
    print(name, str(got).replace(" ", ""), str(want).replace(" ", ""), flush=True)


def connected(structured=True, contexts=(), export=EXPORT):
    h = nbd.NBD()
    h.set_request_structured_replies(structured)
    for context in contexts:
        h.add_meta_context(context)
    h.set_export_name(export)
    h.set_strict_mode(0)
    h.connect_unix(SOCKET)
    return h


def optional():
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.set_export_name(EXPORT)
    h.connect_unix(SOCKET)
    return h


def errno_of(call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as error:
        return errno.errorcode.get(error.errnum, error.errnum)
    return "none"


def data_edges():
    """Where data ends and a hole begins, and the other way about."""
    at, edges = 0, []
    while at < SIZE:
        try:
            data = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(file, data, os.SEEK_HOLE)
        edges += [data, at]
    return edges


def ranges(count, longest):
    """Odd ranges, half of them over an edge."""
    chooser, edges = random.Random(5), data_edges()
    for number in range(count):
        length = chooser.randrange(1, longest)
        offset = chooser.choice(edges) - length // 2 if number % 2 else chooser.randrange(SIZE)
        offset = max(0, min(offset, SIZE - length))
        yield offset, length


def reads(name, structured):
    h = connected(structured)
    say(f"{name}_negotiated", h.get_structured_replies_negotiated(), structured)
    same = sum(h.pread(length, offset) == os.pread(file, length, offset) for offset, length in ranges(200, 3 * MIB))
    say(f"{name}_reads_equal", same, 200)
    say(f"{name}_longest_read_equal", h.pread(32 * MIB, 512) == os.pread(file, 32 * MIB, 512), True)
    say(f"{name}_can_df", h.can_df(), structured)
    say(f"{name}_over_longest", errno_of(h.pread, 32 * MIB + 1, 0) in ("EINVAL", "EOVERFLOW", "ERANGE"), True)
    say(f"{name}_alive_after", h.pread(512, 0) == os.pread(file, 512, 0), True)
    h.shutdown()


def fragments():
    h, edges = connected(), [edge for edge in data_edges() if MIB < edge < SIZE - MIB]
    chunks = []

    def chunk(data, offset, kind, error):
        chunks.append((offset, len(data), kind))

    good = single = holes = 0
    for edge in edges[:50]:
        offset = edge - 65536 - 100
        chunks.clear()
        buffer = h.pread_structured(131072, offset, chunk, nbd.CMD_FLAG_DF)
        single += len(chunks) == 1
        good += buffer == os.pread(file, 131072, offset)
        chunks.clear()
        buffer = h.pread_structured(131072, offset, chunk)
        holes += any(kind == nbd.READ_HOLE for _, _, kind in chunks)
        good += buffer == os.pread(file, 131072, offset)
        covered = sorted(chunks)
        good += covered[0][0] == offset and sum(length for _, length, _ in covered) == 131072
    count = len(edges[:50])
    say("df_one_chunk", single, count)
    say("fragments_equal", good, 3 * count)
    say("fragments_have_holes", holes > 0, True)
    say("df_of_1_mib", h.pread_structured(MIB, 4096, chunk, nbd.CMD_FLAG_DF) == os.pread(file, MIB, 4096), True)
    said = errno_of(h.pread_structured, 32 * MIB, 0, chunk, nbd.CMD_FLAG_DF)
    say("df_of_32_mib", said in ("none", "EOVERFLOW"), True)
    say("df_alive_after", h.pread(512, 0) == os.pread(file, 512, 0), True)
    h.shutdown()


def status():
    h = connected(contexts=["base:allocation", "x-melv:depth"])
    found = {}

    def extent(context, offset, entries, error):
        found[context] = (offset, entries)

    at, holes = 0, 0
    while at < SIZE:
        h.block_status(min(SIZE - at, 1 << 31), at, extent)
        entries = found["base:allocation"][1]
        holes += sum(length for length, flags in zip(entries[::2], entries[1::2]) if flags == 3)
        at += sum(entries[::2])
    edges = data_edges()
    data = sum(end - start for start, end in zip(edges[::2], edges[1::2]))
    say("status_holes", holes, SIZE - data)
    say("status_contexts", sorted(found), ["base:allocation", "x-melv:depth"])
    right = 0
    for offset, length in ranges(100, 8 * MIB):
        h.block_status(length, offset, extent, nbd.CMD_FLAG_REQ_ONE)
        right += all(len(entries) == 2 and 0 < entries[0] <= length for _, entries in found.values())
    say("status_req_one", right, 100)
    say("status_past_end", errno_of(h.block_status, 4096, SIZE, extent), "EINVAL")
    say("status_over_end", errno_of(h.block_status, 4096, SIZE - 1, extent), "EINVAL")
    h.shutdown()
    h = connected()
    say("status_without_context", errno_of(h.block_status, 4096, 0, extent) != "none", True)
    say("status_alive_after", h.pread(512, 0) == os.pread(file, 512, 0), True)
    h.shutdown()


def refusals():
    h = connected()
    say("read_past_end", errno_of(h.pread, 512, SIZE), "EINVAL")
    say("read_over_end", errno_of(h.pread, 512, SIZE - 1), "EINVAL")
    say("read_far_past_end", errno_of(h.pread, 512, (1 << 63) - 512), "EINVAL")
    say("write", errno_of(h.pwrite, b"x" * 100000, 0), "EPERM")
    say("write_past_end", errno_of(h.pwrite, b"x" * 512, SIZE) in ("EPERM", "ENOSPC"), True)
    say("zero", errno_of(h.zero, 4096, 0) in ("EPERM", "EINVAL"), True)
    say("trim", errno_of(h.trim, 4096, 0) in ("EPERM", "EINVAL"), True)
    say("cache_past_end", errno_of(h.cache, 4096, SIZE), "EINVAL")
    say("unknown_flag", errno_of(h.flush, 1 << 14) in ("EINVAL", "ENOTSUP"), True)
    say("flush", errno_of(h.flush), "none")
    say("cache", errno_of(h.cache, MIB, 0), "none")
    say("cache_of_all", errno_of(h.cache, (1 << 32) - 4096, 0) in ("none", "EINVAL"), True)
    say("fua_of_read", errno_of(h.pread, 512, 0, nbd.CMD_FLAG_FUA), "none")
    errno_of(h.pread, 0, 0)
    say("alive_after_all", h.pread(4096, 4096) == os.pread(file, 4096, 4096), True)
    h.shutdown()


def options():
    h, names = optional(), []
    h.opt_list(lambda name, description: names.append(name))
    say("opt_list", len(names), 8)
    h.set_export_name("no-such-image")
    say("opt_info_unknown", errno_of(h.opt_info) != "none", True)
    say("opt_go_unknown", errno_of(h.opt_go) != "none", True)
    for name in ("", "nginx:none", "@", "a/b", "n" * 4096, "nginx:latest:latest", "../nginx", "NGINX"):
        h.set_export_name(name)
        if errno_of(h.opt_info) == "none":
            say(f"opt_info_of_{name[:20] or 'empty'}", "found", "refused")
    found = []
    h.set_export_name(EXPORT)
    h.add_meta_context("base:")
    h.opt_list_meta_context(found.append)
    say("opt_list_meta_context", found, ["base:allocation"])
    h.clear_meta_contexts()
    found = []
    h.opt_list_meta_context(found.append)
    say("opt_list_all_contexts", found, ["base:allocation", "x-melv:depth"])
    h.set_full_info(True)
    h.opt_info()
    say("opt_info_name", h.get_canonical_export_name(), "nginx:latest")
    say("opt_info_size", h.get_size(), SIZE)
    h.opt_go()
    say("opt_go_after_all", h.pread(512, 0) == os.pread(file, 512, 0), True)
    h.shutdown()
    h = optional()
    say("opt_abort", errno_of(h.opt_abort), "none")


def many():
    """512 requests in flight, answered as they are ready."""
    h, wanted, done = connected(), list(ranges(512, 256 << 10)), []
    buffers = []
    for offset, length in wanted:
        buffer = nbd.Buffer(length)

        def completed(error, offset=offset):
            done.append((offset, error.value))
            return 1

        buffers.append((buffer, h.aio_pread(buffer, offset, completed)))
    while h.aio_in_flight() > 0:
        h.poll(-1)
    same = sum(b.to_bytearray() == os.pread(file, length, offset) for (b, _), (offset, length) in zip(buffers, wanted))
    say("in_flight_512_equal", same, 512)
    say("in_flight_512_errors", sum(error != 0 for _, error in done), 0)
    h.shutdown()


def connections():
    """64 clients at once, one of which goes away in the middle of its replies."""
    all_of_them = [connected() for _ in range(64)]
    rude = connected()
    for number in range(64):
        rude.aio_pread(nbd.Buffer(4 * MIB), number * 16 * MIB)
    del rude
    same = sum(h.pread(65536, n * MIB) == os.pread(file, 65536, n * MIB) for n, h in enumerate(all_of_them))
    say("connections_64_equal", same, 64)
    for h in all_of_them:
        h.shutdown()


reads("structured", True)
reads("simple", False)
fragments()
status()
refusals()
options()
many()
connections()
