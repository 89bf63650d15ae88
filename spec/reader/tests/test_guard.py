"""The guard (section 4.2): values of XXH3 with a seed, and those of the frame vectors."""

import tomllib
import unittest
from pathlib import Path

from melv_reader.guard import guard, xxh3_64

VECTORS = Path(__file__).resolve().parents[2] / "vectors"

KNOWN = {
    (0, 0x0): 0x2D06800538D394C2,
    (0, 0xFEDCBA9876543210): 0xE2BDA2B8C0A330DA,
    (1, 0x0): 0xC44BDFF4074EECDB,
    (1, 0xFEDCBA9876543210): 0x76761C489ED890A3,
    (3, 0x0): 0xC3489259E968AD9E,
    (3, 0xFEDCBA9876543210): 0x0E7DB32ACA16CDCF,
    (4, 0x0): 0xD3D60C1519014E89,
    (4, 0xFEDCBA9876543210): 0xC0B1CD48E852AED0,
    (8, 0x0): 0xB88DEE77F6BF6980,
    (8, 0xFEDCBA9876543210): 0x198EBE7C127F3AEA,
    (9, 0x0): 0x03688DCAD730D826,
    (9, 0xFEDCBA9876543210): 0x43FB4B9C29B59671,
    (16, 0x0): 0x9DA23836ADF2BE1E,
    (16, 0xFEDCBA9876543210): 0xFC13C9945044D91F,
    (17, 0x0): 0xF34C3C9CF5A112D1,
    (17, 0xFEDCBA9876543210): 0x041C7F534E453D49,
    (32, 0x0): 0x99CB9AD0F1A11FBE,
    (32, 0xFEDCBA9876543210): 0x7DB4285AEEAF74A6,
    (33, 0x0): 0xC077B45492D29CDE,
    (33, 0xFEDCBA9876543210): 0x11C89A1A3DBE3890,
    (64, 0x0): 0xFAECD52EFFBB854F,
    (64, 0xFEDCBA9876543210): 0xD757C29D0084FDD3,
    (96, 0x0): 0x8F8A0C940D32E958,
    (96, 0xFEDCBA9876543210): 0x38BDC1668C49F0B9,
    (97, 0x0): 0x92B3A831FEBF71AC,
    (97, 0xFEDCBA9876543210): 0x0084F5A3DDE0F91B,
    (128, 0x0): 0x4C659B745F435148,
    (128, 0xFEDCBA9876543210): 0xEBE0BF733E8C4A81,
    (129, 0x0): 0xB85222B83902B6E5,
    (129, 0xFEDCBA9876543210): 0x5A0AA1D80DAC3C67,
    (160, 0x0): 0x7B45DA4714C3419F,
    (160, 0xFEDCBA9876543210): 0xBBB05C4830E6C5B7,
    (240, 0x0): 0xD6DFBF67B0675B54,
    (240, 0xFEDCBA9876543210): 0x90AF2BA529BAC268,
    (241, 0x0): 0xC614C8C3575348C1,
    (241, 0xFEDCBA9876543210): 0xA2EA12FDD201C6BC,
    (1023, 0x0): 0x540C9523214A845B,
    (1023, 0xFEDCBA9876543210): 0x98572575F1A1F217,
    (1024, 0x0): 0xF22EF3DC84FF47EA,
    (1024, 0xFEDCBA9876543210): 0x1B01C783C90B11B3,
    (1025, 0x0): 0x43F869A83769A435,
    (1025, 0xFEDCBA9876543210): 0xC2A55CE74378066B,
    (1088, 0x0): 0x40D71F037CD0C530,
    (1088, 0xFEDCBA9876543210): 0x3EDA0154A629CACE,
    (1089, 0x0): 0xC1F23F6BFA8243A4,
    (1089, 0xFEDCBA9876543210): 0xE2432385E1394B8F,
    (2048, 0x0): 0x3D2649F662A2E191,
    (2048, 0xFEDCBA9876543210): 0xA1928D2928F7C826,
    (12500, 0x0): 0x299064C69EFC2416,
    (12500, 0xFEDCBA9876543210): 0xB3C909488AB521C6,
}
"""{(length, seed): XXH3} of the bytes 0, 7, 14, … (modulo 251)."""


class Guard(unittest.TestCase):
    def test_known_values(self):
        for (length, seed), value in KNOWN.items():
            data = bytes(7 * n % 251 for n in range(length))
            self.assertEqual(xxh3_64(data, seed), value, (length, seed))

    def test_frame_vectors(self):
        vectors = tomllib.loads((VECTORS / "index.toml").read_text())["vector"]
        frames = [one for one in vectors if one["kind"] == "frame" and "values" in one]
        self.assertTrue(frames)
        for one in frames:
            data = (VECTORS / one["file"]).read_bytes()
            values = one["values"]
            found = guard(data, bytes.fromhex(values["chunk_id"]))
            self.assertEqual(f"{found:016x}", values["guard"], one["file"])


if __name__ == "__main__":
    unittest.main()
