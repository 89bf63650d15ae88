"""The limits of section 3.2, and sizes that the tables fix."""

BLOCK = 4096
DIGEST = 32
HEADER = 32
SPAN_BLOCKS = 256
NONE = bytes(DIGEST)

CHUNK_BLOCKS = 1024
LIST_BLOCKS = 1 << 40
LIST_CHUNKS = 1 << 24
LIST_ROOT = 48 + 32 * (1 << 14)
PAGE_ENTRIES = 1024
LOCATOR_RECORDS = 1 << 26
LOCATOR_PACKS = 1 << 20
LOCATOR_ROOT = 120 + 36 * (1 << 20) + 32 * (1 << 16)
FRAME = 1024 * (4096 + 32) + 65536
PACK_FRAMES = 1 << 20
PACK = 1 << 32
DISK = 1 << 63
SECTOR = 512
ROOT_ENTRIES = 1 << 13
PAGE = 1 << 23
ROOT = 32 + 36 * (1 << 13)
MANIFEST_LISTS = 1 << 16
METADATA = 65536
MANIFEST = 1 << 22
RECORD_FILES = 1 << 16
NAME_PART = 255
NAME = 511
BASES = 1 << 8
NAMES = 1 << 16
OBJECTS = 1 << 20
PIECES = 1 << 21
TABLE = 1 << 27

NOWHERE = (1 << 32) - 1
"""The pack number of a chunk without a frame (6.5); the file number of a base's page (10.3)."""


def ceil_div(a, b):
    """ceil(a / b) of whole numbers."""
    return -(-a // b)
