"""Digests (section 4.1): BLAKE3, plain for blocks, with a context for everything else."""

from blake3 import blake3

from .limits import BLOCK
from .rules import expect

CHUNK = "melv 2026 chunk v1"
OBJECT = "melv 2026 object v1"
PAGE = "melv 2026 page v1"
SPAN = "melv 2026 span v1"
CONTENT = "melv 2026 content v1"


def block_digest(block):
    """The digest of a block's 4096 bytes."""
    return blake3(block).digest()


ZERO_BLOCK = bytes(BLOCK)
ZERO_DIGEST = block_digest(ZERO_BLOCK)
"""The digest of a zero block, which a writer must not store, but may have stored (4.3)."""


def hasher(context):
    """A hasher in derive-key mode."""
    return blake3(derive_key_context=context)


def object_digest(data):
    """The object digest of bytes: ids of objects, and all checksums."""
    return blake3(data, derive_key_context=OBJECT).digest()


def table_page_digest(data):
    """The digest of a page of chunk ids or locator records."""
    return blake3(data, derive_key_context=PAGE).digest()


def chunk_id(digests):
    """The id of a chunk from the digests of all its blocks in order."""
    data = len(digests).to_bytes(8, "little") + b"".join(digests)
    return blake3(data, derive_key_context=CHUNK).digest()


def check_object(data, digest, where, rule="page-digest"):
    """Reject bytes that were asked for by an object digest and have another (4.1)."""
    expect(rule, where, "object digest", digest, object_digest(data))
