"""The guard of a frame: XXH3, 64 bits, with a seed (section 4.2).

Written from the public xxHash specification, version 0.8, which has a way of its own for inputs
of up to 16, 128, 240 and more bytes. Frames are mostly of the last kind. There, all lanes of one
number are added up by `sum` and `map`: sums are associative until the scramble at a block's end.
"""

import struct
from operator import mul

from .rules import expect

_MASK = (1 << 64) - 1
_P32_1, _P32_2, _P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_P64_1, _P64_2, _P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P64_4, _P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MX1, _MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
_START = (_P32_3, _P64_1, _P64_2, _P64_3, _P64_4, _P32_2, _P64_5, _P32_1)

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_STRIPE = 64
_BLOCK = 1024
_WORDS24 = struct.Struct("<24Q")
_WORDS8 = struct.Struct("<8Q")


def guard(frame, chunk_id):
    """The guard of a frame's stored bytes; the seed is the chunk id's first eight bytes."""
    return xxh3_64(bytes(frame), int.from_bytes(chunk_id[:8], "little"))


def check_guard(frame, chunk_id, expected, where):
    """Reject a frame of another guard, before anything else is made of it (6.3)."""
    expect("frame-guard", where, "guard", f"{expected:016x}", f"{guard(frame, chunk_id):016x}")


def xxh3_64(data, seed):
    """XXH3_64bits_withSeed."""
    length = len(data)
    if length > 240:
        return _long(data, seed)
    if length > 128:
        return _up_to_240(data, seed)
    if length > 16:
        return _up_to_128(data, seed)
    return _up_to_16(data, seed)


def _u32(data, offset):
    return int.from_bytes(data[offset : offset + 4], "little")


def _u64(data, offset):
    return int.from_bytes(data[offset : offset + 8], "little")


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & _MASK


def _swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _fold(a, b):
    product = a * b
    return (product & _MASK) ^ (product >> 64)


def _avalanche(value):
    value ^= value >> 37
    value = value * _MX1 & _MASK
    return value ^ (value >> 32)


def _avalanche_64(value):
    value ^= value >> 33
    value = value * _P64_2 & _MASK
    value ^= value >> 29
    value = value * _P64_3 & _MASK
    return value ^ (value >> 32)


def _up_to_16(data, seed):
    length = len(data)
    if length > 8:
        low = _u64(data, 0) ^ ((_u64(_SECRET, 24) ^ _u64(_SECRET, 32)) + seed & _MASK)
        high = _u64(data, length - 8) ^ ((_u64(_SECRET, 40) ^ _u64(_SECRET, 48)) - seed & _MASK)
        return _avalanche((length + _swap(low, 8) + high + _fold(low, high)) & _MASK)
    if length >= 4:
        seed ^= _swap(seed & 0xFFFFFFFF, 4) << 32
        both = _u32(data, length - 4) | _u32(data, 0) << 32
        value = both ^ ((_u64(_SECRET, 8) ^ _u64(_SECRET, 16)) - seed & _MASK)
        value ^= _rotate(value, 49) ^ _rotate(value, 24)
        value = value * _MX2 & _MASK
        value ^= (value >> 35) + length
        value = value * _MX2 & _MASK
        return value ^ (value >> 28)
    if length:
        mixed = data[0] << 16 | data[length >> 1] << 24 | data[length - 1] | length << 8
        return _avalanche_64(mixed ^ ((_u32(_SECRET, 0) ^ _u32(_SECRET, 4)) + seed & _MASK))
    return _avalanche_64(seed ^ _u64(_SECRET, 56) ^ _u64(_SECRET, 64))


def _mix_16(data, offset, secret_offset, seed):
    low = _u64(data, offset) ^ (_u64(_SECRET, secret_offset) + seed & _MASK)
    high = _u64(data, offset + 8) ^ (_u64(_SECRET, secret_offset + 8) - seed & _MASK)
    return _fold(low, high)


def _up_to_128(data, seed):
    length = len(data)
    value = length * _P64_1
    for pair in range((length - 1) // 32, -1, -1):
        value += _mix_16(data, 16 * pair, 32 * pair, seed)
        value += _mix_16(data, length - 16 * (pair + 1), 32 * pair + 16, seed)
    return _avalanche(value & _MASK)


def _up_to_240(data, seed):
    length = len(data)
    value = length * _P64_1
    for number in range(8):
        value += _mix_16(data, 16 * number, 16 * number, seed)
    value = _avalanche(value & _MASK)
    for number in range(8, length // 16):
        value += _mix_16(data, 16 * number, 16 * (number - 8) + 3, seed)
    value += _mix_16(data, length - 16, 136 - 17, seed)
    return _avalanche(value & _MASK)


def _seeded_secret(seed):
    words = _WORDS24.unpack(_SECRET)
    pairs = zip(words[::2], words[1::2])
    mixed = [word for low, high in pairs for word in (low + seed & _MASK, high - seed & _MASK)]
    return _WORDS24.pack(*mixed)


def _accumulate(sums, stripes, key):
    """Add whole stripes to the eight sums; `key` is their secret, as long as they are."""
    mixed = int.from_bytes(stripes, "little") ^ int.from_bytes(key, "little")
    halves = struct.unpack(f"<{len(stripes) // 4}I", mixed.to_bytes(len(stripes), "little"))
    words = struct.unpack(f"<{len(stripes) // 8}Q", stripes)
    return [
        before
        + sum(map(mul, halves[2 * lane :: 16], halves[2 * lane + 1 :: 16]))
        + sum(words[lane ^ 1 :: 8])
        for lane, before in enumerate(sums)
    ]


def _long(data, seed):
    length = len(data)
    secret = _seeded_secret(seed)
    key = b"".join(secret[8 * stripe : 8 * stripe + _STRIPE] for stripe in range(16))
    last_key = _WORDS8.unpack(secret[128:])
    blocks = (length - 1) // _BLOCK
    sums = _START
    for begin in range(0, blocks * _BLOCK, _BLOCK):
        sums = [value & _MASK for value in _accumulate(sums, data[begin : begin + _BLOCK], key)]
        sums = [
            (value ^ value >> 47 ^ word) * _P32_1 & _MASK for value, word in zip(sums, last_key)
        ]
    begin = blocks * _BLOCK
    rest = (length - 1 - begin) // _STRIPE * _STRIPE
    if rest:
        sums = _accumulate(sums, data[begin : begin + rest], key[:rest])
    sums = _accumulate(sums, data[length - _STRIPE :], secret[121 : 121 + _STRIPE])
    value = length * _P64_1
    for pair in range(4):
        low = (sums[2 * pair] & _MASK) ^ _u64(secret, 11 + 16 * pair)
        high = (sums[2 * pair + 1] & _MASK) ^ _u64(secret, 19 + 16 * pair)
        value += _fold(low, high)
    return _avalanche(value & _MASK)
