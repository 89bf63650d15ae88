"""Verifying in full (section 8.3), for stores and bundles."""

from .chunks import Chunks, read_frame
from .content import Content, SpanTable, check_content
from .home import LIST, LOCATOR, PACK, PAGE_FILE, RECORD
from .image import Image
from .limits import NOWHERE, PAGE_ENTRIES
from .pack import check_guards, read_pack
from .page_file import check_page_file
from .rules import Absent, Rejected, expect


def verify(home, tell=lambda text: None):
    """Check everything in a home; `tell` hears of each image that is sound."""
    for _ in home.names():
        pass
    chunks = Chunks(home)
    for image_id in home.ids(RECORD):
        check_map(Image(home, image_id, chunks))
    for file_id in home.ids(PAGE_FILE):
        check_page_file(home.blob(PAGE_FILE, file_id), file_id)
    for pack_id in home.ids(PACK):
        _check_pack(home.blob(PACK, pack_id), pack_id)
    for list_id in home.ids(LIST):
        _check_list(home, list_id)
        home.blob(LOCATOR, list_id)
    for list_id in home.ids(LOCATOR):
        _check_frames(home, list_id, chunks)
    for image_id in home.ids(RECORD):
        image = Image(home, image_id, chunks)
        content = check_blocks(image)
        tell(f"image {image_id.hex()}: content {content.hex()}")


def check_map(image):
    """The map and the span table of an image, without its blocks."""
    manifest = image.manifest
    record = image.record
    image.check_lists()
    data_blocks = sum(image.leaf(index).total() for index in record.map_root)
    expect("data-blocks", image.where, "data blocks", manifest.data_blocks, data_blocks)
    if list(record.map_root) != list(record.span_root):
        raise Rejected("content-id", image.where, "map root and span root have other indexes")
    table = SpanTable(manifest.size)
    for span, digest in image.spans():
        table.add(span, digest)
    check_content(manifest.content, table.finish(), f"{image.where}, span table")


def check_blocks(image):
    """The content id of an image from its blocks.

    Together with `check_map` this checks every span digest: both content ids are over all of them.
    """
    content = Content(image.manifest.size)
    for first, _, digests in image.runs():
        for block, digest in enumerate(digests, first):
            content.add(block, digest)
    found = content.finish()
    check_content(image.manifest.content, found, f"{image.where}, blocks")
    return found


def _check_pack(blob, pack_id):
    pack = read_pack(blob)
    expect("page-digest", blob.where, "pack id", pack_id, pack.id)
    check_guards(blob, pack)


def _check_list(home, list_id):
    """A list whole; pages that are absent are checked where they are needed (10.2, 10.4)."""
    file = home.list_file(list_id)
    file.check_end()
    for page in range(file.shape.pages):
        try:
            if file.has_page(page):
                file.page(page)
        except Absent:
            if home.is_bundle:
                raise


def _check_frames(home, list_id, chunks):
    """A locator whole, and every frame that it leads to."""
    shape = home.list_file(list_id).shape
    locator = home.locator(list_id, shape.chunks)
    for page in range(locator.pages):
        if not locator.has_page(page):
            continue
        first = PAGE_ENTRIES * page
        for number in range(first, min(first + PAGE_ENTRIES, locator.root.records)):
            record = locator.record(number)
            if number < shape.chunks and record.pack != NOWHERE:
                _check_chain(home, list_id, shape, number, locator, chunks)


def _check_chain(home, list_id, shape, number, locator, chunks):
    chunk_id = chunks.chunk_id(list_id, shape, number)
    blocks = shape.blocks_of(number)
    for record in locator.chain(number, blocks):
        read_frame(home, locator, record, chunk_id, blocks)
