"""Fields of a structure, one after the other (section 2)."""

import struct

from .rules import Rejected

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """Reads fields from bytes; `where` names the bytes in errors."""

    def __init__(self, data, where, offset=0):
        self.data = data
        self.where = where
        self.offset = offset

    @property
    def left(self):
        """Bytes that no field has had yet."""
        return len(self.data) - self.offset

    def place(self):
        """Where the next field begins, for errors."""
        return f"{self.where}, byte {self.offset}"

    def take(self, length):
        """The next `length` bytes; `truncated` where there are fewer."""
        if length > self.left:
            text = f"expected {length} bytes more, found {self.left}"
            raise Rejected("truncated", self.place(), text)
        begin = self.offset
        self.offset = begin + length
        return self.data[begin : self.offset]

    def u8(self):
        """A number of one byte."""
        return self.take(1)[0]

    def u32(self):
        """A number of four bytes."""
        return _U32.unpack(self.take(4))[0]

    def u64(self):
        """A number of eight bytes."""
        return _U64.unpack(self.take(8))[0]

    def digest(self):
        """A digest of 32 bytes."""
        return bytes(self.take(32))

    def reserved(self, length):
        """Bytes that must be zero."""
        place = self.place()
        found = bytes(self.take(length))
        if any(found):
            text = f"expected {length} zero bytes, found {found.hex()}"
            raise Rejected("reserved", place, text)

    def room(self, count, least, what):
        """Check a count against the bytes left, before anything is made of it (section 2)."""
        if count * least > self.left:
            text = f"{count} {what} declared, but only {self.left} bytes are left for them"
            raise Rejected("limit", self.place(), text)

    def finish(self):
        """Nothing may follow the last field."""
        if self.left:
            text = f"expected the end, found {self.left} bytes more"
            raise Rejected("trailing-bytes", self.place(), text)

    def varint(self):
        """A number in LEB128, in its only encoding (section 2)."""
        place = self.place()
        value = shift = 0
        while True:
            byte = self.u8()
            if shift == 63 and byte > 1:
                raise Rejected("varint-overflow", place, "a number beyond 64 bits")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if shift and byte == 0:
            raise Rejected("varint-overlong", place, "the last byte of a number is zero")
        return value


def unzigzag(number):
    """The signed number that a zigzag number stands for (section 2)."""
    return (number >> 1) ^ -(number & 1)
