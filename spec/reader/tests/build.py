"""Builds tiny objects by hand, as sections 6, 7 and 10 lay them out; for tests alone."""

import struct
from dataclasses import dataclass, field

from melv_reader.content import Content
from melv_reader.digests import block_digest, chunk_id, object_digest, table_page_digest
from melv_reader.guard import guard

BLOCK = 4096
NONE = bytes(32)
NOWHERE = 2**32 - 1
RECORD, PAGE_FILE, LIST, LOCATOR, PACK = range(5)
FOLDERS = ("manifests", "pages", "lists", "locators", "packs")


def header(magic, body_len):
    return magic + bytes((1, 0, 1, 0)) + bytes(12) + struct.pack("<Q", body_len)


def obj(magic, body):
    return header(magic, len(body)) + body


def block(number):
    """A block that is like no other."""
    return struct.pack("<Q", number + 1) * 512


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number):
    return 2 * number if number >= 0 else -2 * number - 1


class List:
    """A chunk list of whole blocks (6.1)."""

    def __init__(self, blocks, chunk_blocks):
        self.blocks = blocks
        self.chunk_blocks = chunk_blocks
        cuts = range(0, len(blocks), chunk_blocks)
        self.chunks = [blocks[cut : cut + chunk_blocks] for cut in cuts]
        self.ids = [chunk_id([block_digest(one) for one in chunk]) for chunk in self.chunks]
        pages = [b"".join(self.ids[cut : cut + 1024]) for cut in range(0, len(self.ids), 1024)]
        body = struct.pack("<B3xIQ", 12, chunk_blocks, len(blocks))
        self.root = obj(b"melvlist", body + b"".join(map(table_page_digest, pages)))
        self.id = object_digest(self.root)
        self.file = b"".join(pages) + self.root + struct.pack("<Q", len(self.root))

    def frame(self, chunk, held=None):
        """A raw frame of a chunk: whole, or of the blocks held."""
        blocks = self.chunks[chunk]
        if held is None:
            return bytes(4) + b"".join(blocks)
        mask = sum(1 << one for one in held).to_bytes((len(blocks) + 7) // 8, "little")
        absent = [block_digest(one) for n, one in enumerate(blocks) if n not in held]
        return bytes((0, 0, 1, 0)) + mask + b"".join(absent) + b"".join(blocks[n] for n in held)


class Frames:
    """A pack (6.2) and the locator (6.5) that finds its frames, for one list."""

    def __init__(self, chunk_list, held):
        """`held`: {chunk: [None for a whole frame, or the blocks of a partial one]}."""
        self.list = chunk_list
        chunks = len(chunk_list.chunks)
        self.records = [struct.pack("<IIIIQ", NOWHERE, 0, 0, 0, 0)] * chunks
        self.frames = []
        for chunk, frames in sorted(held.items()):
            self._chunk(chunk, frames)
        self.pack, self.pack_id = pack(self.frames)
        in_part = len(held) < chunks or any(frames != [None] for frames in held.values())
        packs = [self.pack_id]
        self.locator = locator(chunk_list.id, chunks, self.records, packs, int(in_part))

    def _chunk(self, chunk, frames):
        numbers = [chunk, *range(len(self.records), len(self.records) + len(frames) - 1)]
        self.records += [b""] * (len(frames) - 1)
        for at, blocks in enumerate(frames):
            data = self.list.frame(chunk, blocks)
            offset = 48 + sum(len(one) for one, _, _ in self.frames)
            one_guard = guard(data, self.list.ids[chunk])
            length = len(data) | (0 if blocks is None else 1 << 24)
            following = (*numbers[1:], 0)[at]
            record = struct.pack("<IIIIQ", 0, offset, length, following, one_guard)
            self.records[numbers[at]] = record
            self.frames.append((data, self.list.ids[chunk], one_guard))


def pack(frames):
    """(file, id) of [(frame, chunk id, guard)]."""
    head = header(b"melvpack", 0) + bytes(16)
    body = b"".join(data for data, _, _ in frames)
    index = b"".join(key[:8] + struct.pack("<IQ", len(data), one) for data, key, one in frames)
    counts = struct.pack("<QQ", len(frames), len(body))
    pack_id = object_digest(head + index + counts)
    return head + body + index + counts + pack_id + b"melvpend", pack_id


def locator(list_id, chunks, records, packs, flags=0):
    """The file of a locator."""
    pages = [b"".join(records[cut : cut + 1024]) for cut in range(0, len(records), 1024)]
    body = list_id + struct.pack("<QQII", chunks, len(records), len(packs), flags)
    body += b"".join(bytes(4) + one for one in packs)
    body += b"".join(map(table_page_digest, pages))
    root = header(b"melvloca", len(body) + 32) + body
    root += object_digest(root)
    return b"".join(pages) + root + struct.pack("<Q", len(root))


def table(magic, entries):
    return obj(magic, b"".join(struct.pack("<I", index) + one for index, one in entries))


def leaf(extents):
    """A map leaf (7.4) of [(start, blocks, list, source)]."""
    ids = list(dict.fromkeys(one.id for _, _, one, _ in extents))
    body = bytearray(struct.pack("<II", len(ids), len(extents)) + b"".join(ids))
    end = current = 0
    expected = [0] * len(ids)
    for start, blocks, one, source in extents:
        number = ids.index(one.id)
        gap, changes = start != end, number != current
        body += varint((blocks - 1) << 2 | changes << 1 | gap)
        if gap:
            body += varint(start - end - 1)
        if changes:
            body += varint(number)
        body += varint(zigzag(source - expected[number]))
        end, current = start + blocks, number
        expected[number] = source + blocks
    return obj(b"melvmapl", bytes(body))


class Image:
    """An image of one leaf (7.1 to 7.3) of [(start, blocks, list, source)]."""

    def __init__(self, size, extents, base_pages=(), parent=NONE):
        self.size = size
        self.extents = extents
        spans = []
        content = Content(size, lambda span, digest: spans.append((span, digest)))
        for number, data in self.blocks():
            content.add(number, block_digest(data))
        self.content = content.finish()
        self.leaf = leaf(extents)
        self.span_page = table(b"melvspnp", spans)
        self.map_root = table(b"melvmapr", [(0, object_digest(self.leaf))])
        self.span_root = table(b"melvspnr", [(0, object_digest(self.span_page))])
        self.manifest = self._manifest(parent)
        self.id = object_digest(self.manifest)
        self._record(base_pages)

    def blocks(self):
        for start, count, one, source in self.extents:
            for n in range(count):
                yield start + n, one.blocks[source + n]

    def disk(self):
        out = bytearray(-(-self.size // BLOCK) * BLOCK)
        for number, data in self.blocks():
            out[number * BLOCK : (number + 1) * BLOCK] = data
        return bytes(out[: self.size])

    def _manifest(self, parent):
        lists = sorted({one.id: one for _, _, one, _ in self.extents}.values(), key=lambda x: x.id)
        data = sum(count for _, count, _, _ in self.extents)
        body = struct.pack("<BBBBB3xQQ", 0, 12, 9, 12, 16, self.size, data)
        body += self.content + object_digest(self.map_root) + object_digest(self.span_root)
        body += parent + struct.pack("<II", len(lists), 0)
        for one in lists:
            body += one.id + struct.pack("<IIQ", one.chunk_blocks, 0, len(one.blocks))
        return obj(b"melvmani", body)

    def _record(self, base_pages):
        """The record and its page file; `base_pages`: the pages that a base has (10.3)."""
        stored, places = header(b"melvpage", 0), []
        for name, page in (("leaf", self.leaf), ("span", self.span_page)):
            if name in base_pages:
                places.append(struct.pack("<IIQ", NOWHERE, 0, 0))
            else:
                places.append(struct.pack("<IIQ", 0, len(page), len(stored)))
                stored += page
        files = [] if len(base_pages) == 2 else [object_digest(stored)]
        self.page_file = stored if files else None
        self.page_file_id = files[0] if files else None
        self.record = record(self.manifest, self.map_root, self.span_root, files, places)


def record(manifest, map_root, span_root, files, places):
    lengths = len(manifest), len(map_root), len(span_root), len(files), 1, 1
    held = b"".join(files) + b"".join(places)
    tail = manifest + held + map_root + span_root
    head = header(b"melvrecd", 64 + len(tail)) + struct.pack("<6I8x", *lengths)
    return head + object_digest(head + held) + tail


def image_objects(images, frames):
    """The objects of images and of the lists that `frames` have: {(kind, id): bytes}."""
    found = {}
    for image in images:
        found[RECORD, image.id] = image.record
        if image.page_file is not None:
            found[PAGE_FILE, image.page_file_id] = image.page_file
    for one in frames:
        found[LIST, one.list.id] = one.list.file
        found[LOCATOR, one.list.id] = one.locator
        if one.frames:
            found[PACK, one.pack_id] = one.pack
    return found


def write_store(path, images, frames, names=()):
    """A store (section 5) in a new folder."""
    for folder in FOLDERS:
        (path / folder).mkdir(parents=True)
    head = header(b"melvstor", 64) + bytes(32)
    (path / "melv.store").write_bytes(head + object_digest(head))
    for (kind, object_id), data in image_objects(images, frames).items():
        (path / FOLDERS[kind] / object_id.hex()).write_bytes(data)
    for name, image in names:
        folder, tag = name.split(":")
        (path / "refs" / folder).mkdir(parents=True, exist_ok=True)
        text = name.encode()
        body = image.id + struct.pack("<QII", 7, len(text), 0) + text
        data = header(b"melvrefr", len(body) + 32) + body
        (path / "refs" / folder / tag).write_bytes(data + object_digest(data))
    return path


@dataclass
class BundleParts:
    """A bundle (10.1), in parts that a test may spoil before `bytes` puts them together."""

    objects: dict
    bases: list = field(default_factory=list)
    names: list = field(default_factory=list)
    holes: dict = field(default_factory=dict)
    """{(kind, id): [(begin, end)]}: bytes of an object that are absent."""
    change_entries: object = None
    change_pieces: object = None
    change_table: object = None
    change_head: object = None
    counts: object = None

    def pieces_of(self, key, place):
        """[(offset in the object, offset in the bundle, length)] from a place on, and the bytes."""
        data = self.objects[key]
        begin, found, stored = 0, [], b""
        for hole, end in [*sorted(self.holes.get(key, ())), (len(data), len(data))]:
            if hole > begin:
                found.append((begin, place + len(stored), hole - begin))
                stored += data[begin:hole]
            begin = end
        return found, stored

    def bytes(self):
        stored, entries, pieces = b"", [], []
        for (kind, object_id), data in sorted(self.objects.items()):
            found, part = self.pieces_of((kind, object_id), 512 + len(stored))
            entries.append((kind, len(found), object_id, len(data)))
            pieces += found
            stored += part
        change(self.change_entries, entries)
        change(self.change_pieces, pieces)
        body = self._body(entries, pieces)
        whole_table = bytearray(obj(b"melvbtab", body))
        change(self.change_table, whole_table)
        return self._head(stored, bytes(whole_table)) + stored + bytes(whole_table)

    def _body(self, entries, pieces):
        counts = len(self.bases), len(self.names), len(entries), len(pieces)
        body = struct.pack("<4I", *(self.counts or counts)) + b"".join(self.bases)
        body += b"".join(struct.pack("<II32sQ", *entry) for entry in entries)
        body += b"".join(struct.pack("<QQQ", *piece) for piece in pieces)
        for number, text in self.names:
            body += struct.pack("<II", number, len(text)) + text
        return body

    def _head(self, stored, whole_table):
        offset = 512 + len(stored)
        head = bytearray(header(b"melvbndl", offset + len(whole_table) - 32))
        head += struct.pack("<IIQQQ", 0, 0, offset, len(whole_table), 512)
        head += object_digest(whole_table) + bytes(384)
        change(self.change_head, head)
        return bytes(head) + object_digest(bytes(head))


def change(function, value):
    if function is not None:
        function(value)
