"""Records: a manifest as a store holds it, its roots and the places of its pages (section 7.2)."""

import struct
from typing import NamedTuple

from . import limits, tables
from .cursor import Cursor
from .digests import object_digest
from .header import check_header
from .limits import DIGEST, NONE, NOWHERE
from .manifest import read_manifest
from .rules import Rejected, expect, expect_at_most

MAGIC = b"melvrecd"
HEAD = 96
_PLACE = struct.Struct("<IIQ")


class Place(NamedTuple):
    """Where a page is; `file` is `NOWHERE` where a base has it (10.3)."""

    file: int
    length: int
    offset: int


class Record(NamedTuple):
    """A record; `map_root` and `span_root` are {index: (digest, place)}."""

    manifest: object
    files: bytes
    map_root: dict
    span_root: dict

    def file_id(self, number):
        """The id of a page file."""
        return self.files[DIGEST * number : DIGEST * (number + 1)]


class _Counts(NamedTuple):
    manifest: int
    map_root: int
    span_root: int
    files: int
    map_pages: int
    span_pages: int

    @property
    def places(self):
        return DIGEST * self.files + _PLACE.size * (self.map_pages + self.span_pages)

    @property
    def whole(self):
        return HEAD + self.manifest + self.places + self.map_root + self.span_root


_LIMITS = _Counts(
    limits.MANIFEST,
    limits.ROOT,
    limits.ROOT,
    limits.RECORD_FILES,
    limits.ROOT_ENTRIES,
    limits.ROOT_ENTRIES,
)


def read_record(blob, image_id, base_pages=False):
    """Check the record of an image; `base_pages`: whether pages may be a base's (10.3)."""
    where = blob.where
    head = blob.read(0, min(HEAD, blob.size))
    check_header(head, where, MAGIC, blob.size - limits.HEADER)
    cursor = Cursor(head, where, limits.HEADER)
    counts = _Counts(*(cursor.u32() for _ in range(6)))
    for name, most, found in zip(_Counts._fields, _LIMITS, counts):
        expect_at_most("limit", where, f"length or number: {name}", most, found)
    cursor.reserved(8)
    checksum = cursor.digest()
    expect("body-length", where, "length of the record", counts.whole, blob.size)
    rest = Cursor(blob.read(HEAD, blob.size - HEAD), where)
    manifest_bytes = rest.take(counts.manifest)
    places_bytes = rest.take(counts.places)
    expect("checksum", where, "checksum", object_digest(head[:64] + places_bytes), checksum)
    manifest = read_manifest(manifest_bytes, f"{where}, manifest", image_id)
    parts = _read_places(places_bytes, counts, where, base_pages)
    files, map_places, span_places = parts
    roots = []
    for kind, length, places in (
        ("map root", counts.map_root, map_places),
        ("span root", counts.span_root, span_places),
    ):
        roots.append(_root(rest.take(length), kind, manifest, places, where))
    return Record(manifest, files, *roots)


def _read_places(data, counts, where, base_pages):
    """(ids of the page files, places of leaves, places of span pages)."""
    cut = DIGEST * counts.files
    places = [Place(*fields) for fields in _PLACE.iter_unpack(data[cut:])]
    for number, place in enumerate(places):
        _check_place(place, counts.files, f"{where}, place {number}", base_pages)
    return bytes(data[:cut]), places[: counts.map_pages], places[counts.map_pages :]


def _check_place(place, files, where, base_pages):
    if place.file == NOWHERE and base_pages:
        if place.length or place.offset:
            text = f"a base's page with length {place.length} and offset {place.offset}"
            raise Rejected("page-place", where, text)
        return
    if place.file >= files:
        raise Rejected("page-place", where, f"page file {place.file} of {files}")
    expect_at_most("limit", where, "length of the page", limits.PAGE, place.length)


def _root(data, kind, manifest, places, where):
    """Check a root: {index: (digest, place)}."""
    map_root = kind == "map root"
    digest = manifest.map_root if map_root else manifest.span_root
    where = f"{where}, {kind}"
    if digest == NONE:
        if len(data):
            raise Rejected("trailing-bytes", where, f"{len(data)} bytes, but the manifest has none")
        entries = {}
    else:
        if not len(data):
            raise Rejected("page-digest", where, f"expected {digest.hex()}, found nothing")
        magic = tables.MAP_ROOT if map_root else tables.SPAN_ROOT
        entries = tables.read_table(data, where, magic, manifest.leaves, digest)
    expect("page-place", where, "number of places", len(entries), len(places))
    return {index: (entry, place) for (index, entry), place in zip(entries.items(), places)}
