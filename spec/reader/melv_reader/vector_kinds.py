"""How each kind of test vector is read, and the values that are found in it."""

import os

from blake3 import blake3

from . import tables
from .blob import BytesBlob
from .bundle_head import LENGTH as BUNDLE_HEAD
from .bundle_head import read_bundle_head
from .bundle_table import read_bundle_table
from .chunk_list import ListFile, read_list_root
from .digests import chunk_id, object_digest
from .disk import raw_content
from .frame import open_frame
from .guard import guard
from .header import check_header
from .image import Image
from .limits import BLOCK
from .locator import Locator, LocatorRoot, read_locator_root, read_record
from .manifest import read_manifest
from .map_leaf import read_map_leaf
from .opening import find_image, open_complete
from .pack import read_pack
from .record import read_record as read_image_record
from .reference import read_reference
from .store_header import check_writable, read_store_header
from .verify import verify


def read_vector(kind, path, context, folder):
    """Read a vector as its kind says: {name of a value: value}."""
    if kind == "store":
        return _home(path, context, folder)
    if kind == "bundle":
        return _home(path, context, folder)
    if kind == "disk":
        return {"content": raw_content(path).hex()}
    with open(path, "rb") as file:
        data = file.read()
    return _KINDS[kind](data, os.path.basename(path), context)


def _store_header(data, where, context):
    return {"writer_mask": read_store_header(data, where)}


def _reference(data, where, context):
    reference = read_reference(data, where, context["name"])
    return {"image": reference.image.hex(), "created_seconds": reference.created}


def _list_values(root):
    shape = root.shape
    return {"chunk_blocks": shape.chunk_blocks, "blocks": shape.blocks, "pages": shape.pages}


def _list_root(data, where, context):
    return _list_values(read_list_root(data, where))


def _list(data, where, context):
    file = ListFile(BytesBlob(data, where))
    file.check_end()
    for page in range(file.shape.pages):
        file.page(page)
    first = file.chunk_id(0).hex()
    return {**_list_values(file.root), "id": file.root.id.hex(), "first_chunk": first}


def _pack(data, where, context):
    pack = read_pack(BytesBlob(data, where))
    return {"id": pack.id.hex(), "frames": pack.frames, "frames_len": pack.frames_len}


def _frame(data, where, context):
    frame = open_frame(data, context["blocks"], where)
    found = chunk_id(frame.digests)
    plain = blake3(b"".join(frame.blocks[place] for place in sorted(frame.blocks)))
    return {
        "held": len(frame.blocks),
        "plain": plain.hexdigest(),
        "chunk_id": found.hex(),
        "guard": f"{guard(data, found):016x}",
        "partial": int(frame.partial),
    }


def _locator_values(root):
    return {
        "list": root.list_id.hex(),
        "chunks": root.chunks,
        "records": root.records,
        "in_part": int(root.in_part),
        "packs": root.packs,
    }


def _locator_root(data, where, context):
    return _locator_values(read_locator_root(data, where))


def _locator_page(data, where, context):
    counts = context["chunks"], context["records"], context["packs"]
    root = LocatorRoot(b"", *counts, False, b"", b"")
    record = read_record(data, context["record"], root, where)
    return {
        "pack": record.pack,
        "offset": record.offset,
        "len": record.length,
        "partial": int(record.partial),
        "next": record.next,
        "guard": f"{record.guard:016x}",
    }


def _locator(data, where, context):
    locator = Locator(BytesBlob(data, where))
    for number in range(locator.root.records):
        locator.record(number)
    return _locator_values(locator.root)


def _manifest(data, where, context):
    manifest = read_manifest(data, where)
    metadata = ";".join(f"{key}={value}" for key, value in manifest.metadata.items())
    return {
        "id": object_digest(data).hex(),
        "size_bytes": manifest.size,
        "data_blocks": manifest.data_blocks,
        "content": manifest.content.hex(),
        "lists": len(manifest.lists),
        "leaf_bits": manifest.leaf_bits,
        "logical_bits": manifest.logical_bits,
        "physical_bits": manifest.physical_bits,
        "map_root": manifest.map_root.hex(),
        "span_root": manifest.span_root.hex(),
        "parent": manifest.parent.hex(),
        "metadata": metadata,
    }


def _record(data, where, context):
    record = read_image_record(BytesBlob(data, where), bytes.fromhex(context["image"]))
    values = {"content": record.manifest.content.hex(), "files": len(record.files) // 32}
    for name, root in (("map_place", record.map_root), ("span_place", record.span_root)):
        for _, place in list(root.values())[:1]:
            values[name] = f"{place.file}:{place.offset}+{place.length}"
    return values


def _table(magic):
    def read(data, where, context):
        entries = tables.read_table(data, where, magic, context["index_max"])
        return {"entries": " ".join(f"{i}:{digest.hex()}" for i, digest in entries.items())}

    return read


def _map_leaf(data, where, context):
    leaf = read_map_leaf(data, where, context["leaf_blocks"])
    extents = [f"{start}+{n}={one}:{source}" for start, n, one, source in leaf.extents()]
    return {"lists": len(leaf.list_ids), "extents": " ".join(extents)}


def _bundle_head(data, where, context):
    head = read_bundle_head(data[:BUNDLE_HEAD], context["len"], where)
    return head._asdict()


def _bundle_table(data, where, context):
    table = read_bundle_table(data, context["table_offset"], where)
    return {
        "bases": len(table.bases),
        "objects": len(table),
        "pieces": table.pieces,
        "names": " ".join(name for name, _ in table.names),
    }


def _other_object(data, where, context):
    """An object that has no layout yet: its magic is none that this version reads."""
    check_header(data, where, b"melvmani", None)
    return {}


def _home(path, context, folder):
    """A store or a bundle, and what the operation finds in it."""
    store = context.get("store")
    home = open_complete(path, [os.path.join(folder, store)] if store else [])
    operation = context["operation"]
    if operation == "write":
        check_writable(home.writer_mask, path)
        return {}
    if operation == "verify":
        verify(home)
        return {}
    image = Image(home, find_image(home, context.get("name")))
    manifest = image.manifest
    return {
        "image": image.id.hex(),
        "size_bytes": manifest.size,
        "content": manifest.content.hex(),
        "disk": _disk_digest(image),
    }


def _disk_digest(image):
    """The plain BLAKE3 of all bytes of a disk."""
    digest = blake3()
    size = image.manifest.size
    done = 0
    for first, blocks, _ in image.runs():
        _add_zeros(digest, first * BLOCK - done)
        data = b"".join(blocks)[: size - first * BLOCK]
        digest.update(data)
        done = first * BLOCK + len(data)
    _add_zeros(digest, size - done)
    return digest.hexdigest()


def _add_zeros(digest, count):
    step = bytes(1 << 20)
    while count > 0:
        digest.update(step[:count])
        count -= len(step)


_KINDS = {
    "store-header": _store_header,
    "reference": _reference,
    "list-root": _list_root,
    "list": _list,
    "pack": _pack,
    "frame": _frame,
    "locator-root": _locator_root,
    "locator-page": _locator_page,
    "locator": _locator,
    "manifest": _manifest,
    "record": _record,
    "map-root": _table(tables.MAP_ROOT),
    "span-root": _table(tables.SPAN_ROOT),
    "span-page": _table(tables.SPAN_PAGE),
    "map-leaf": _map_leaf,
    "bundle-head": _bundle_head,
    "bundle-table": _bundle_table,
    "signature": _other_object,
    "trace": _other_object,
}
