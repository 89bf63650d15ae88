"""Page files: map leaves and span pages as stored (section 7.5)."""

from . import zstd_profile
from .digests import OBJECT, hasher
from .header import check_header
from .limits import HEADER, PAGE
from .rules import expect, expect_at_most

MAGIC = b"melvpage"
_STEP = 1 << 20


def check_page_file_head(blob):
    """What a reader checks of a page file that it has opened."""
    check_header(blob.read(0, min(HEADER, blob.size)), blob.where, MAGIC, 0)


def page_file_id(blob):
    """The object digest of the file's bytes."""
    digest = hasher(OBJECT)
    for offset in range(0, blob.size, _STEP):
        digest.update(blob.read(offset, min(_STEP, blob.size - offset)))
    return digest.digest()


def check_page_file(blob, file_id):
    """A check of the whole file: header and id."""
    check_page_file_head(blob)
    expect("page-digest", blob.where, "page file id", file_id, page_file_id(blob))


def read_page(blob, offset, length):
    """The page that is stored at a place, decoded; its digest is not checked here."""
    where = f"{blob.where}, bytes [{offset}, {offset + length})"
    expect_at_most("limit", where, "length of the page", PAGE, length)
    data = blob.read(offset, length)
    if data[:4] != zstd_profile.MAGIC:
        return data
    size = zstd_profile.content_size(data, where)
    expect_at_most("limit", where, "frame content size", PAGE, size)
    return zstd_profile.decode(data, size, where)
