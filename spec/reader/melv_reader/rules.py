"""What a reader says of bytes that it rejects (section 2, "Rules", and the table at the end)."""

UNSUPPORTED = frozenset(
    (
        "version",
        "refuse-bit",
        "writer-bit",
        "digest-algorithm",
        "domain",
        "key-slot",
        "image-kind",
        "block-bits",
        "target-kind",
        "codec",
        "transform",
        "object-kind",
    )
)


class Rejected(Exception):
    """Bytes that break a rule: which one, where, and what was expected and found."""

    def __init__(self, rule, place, text):
        super().__init__(f"{place}: {rule}: {text}")
        self.rule = rule
        self.place = place
        self.text = text

    @property
    def unsupported(self):
        """Whether a sound object of a later version can break this rule."""
        return self.rule in UNSUPPORTED


class Absent(Rejected):
    """Something is not held here, but may be where the bases of a bundle are (section 10.3)."""


def expect(rule, place, what, expected, found):
    """Reject unless `found` is `expected`; bytes are shown as hexadecimal digits."""
    if found != expected:
        raise Rejected(rule, place, f"{what}: expected {show(expected)}, found {show(found)}")


def expect_at_most(rule, place, what, most, found):
    """Reject what is more than `most`."""
    if found > most:
        raise Rejected(rule, place, f"{what}: expected at most {most}, found {found}")


def show(value):
    """A value as an error message tells it."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex() or "nothing"
    return str(value)
