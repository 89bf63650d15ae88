"""Span digests and the content id (section 4.3)."""

from .digests import CONTENT, SPAN, ZERO_DIGEST, hasher
from .limits import BLOCK, SPAN_BLOCKS, ceil_div
from .rules import expect


class _Runs:
    """Hashes items by number: a digest for some, runs of the others by their length."""

    def __init__(self, context, head=b""):
        self.hasher = hasher(context)
        self.hasher.update(head)
        self.next = 0

    def add(self, index, digest):
        if index > self.next:
            self._gap(index - self.next)
        self.hasher.update(b"\x01" + digest)
        self.next = index + 1

    def _gap(self, count):
        self.hasher.update(b"\x00" + count.to_bytes(8, "little"))

    def finish(self, total):
        if total > self.next:
            self._gap(total - self.next)
        return self.hasher.digest()


class SpanTable:
    """The content id from span digests, given in ascending order of their number in the disk."""

    def __init__(self, size):
        self.blocks = ceil_div(size, BLOCK)
        self.runs = _Runs(CONTENT, size.to_bytes(8, "little"))

    def add(self, span, digest):
        """The digest of a span that is not all zeros."""
        self.runs.add(span, digest)

    def finish(self):
        """The content id."""
        return self.runs.finish(ceil_div(self.blocks, SPAN_BLOCKS))


class Content:
    """The content id from block digests, given in ascending order of the blocks.

    `on_span`, if given, is called with the number and digest of each span that is not all zeros.
    """

    def __init__(self, size, on_span=None):
        self.table = SpanTable(size)
        self.on_span = on_span
        self.span = None
        self.runs = None

    def add(self, block, digest):
        """The digest of a block; zero blocks may be left out or given (4.3: the value counts)."""
        if digest == ZERO_DIGEST:
            return
        span, place = divmod(block, SPAN_BLOCKS)
        if span != self.span:
            self._close()
            self.span = span
            self.runs = _Runs(SPAN)
        self.runs.add(place, digest)

    def _close(self):
        if self.span is None:
            return
        total = min(SPAN_BLOCKS, self.table.blocks - self.span * SPAN_BLOCKS)
        digest = self.runs.finish(total)
        self.table.add(self.span, digest)
        if self.on_span is not None:
            self.on_span(self.span, digest)
        self.span = None

    def finish(self):
        """The content id."""
        self._close()
        return self.table.finish()


def check_content(expected, found, where):
    """Reject another content id than the manifest's."""
    expect("content-id", where, "content id", expected, found)
