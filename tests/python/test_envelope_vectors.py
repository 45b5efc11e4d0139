"""The published envelope vectors, recomputed without Rust; and that the integrator notices what is broken.

Run: python3 -m unittest discover -s tests/python
"""

import json
import math
import pathlib
import struct
import unittest
import uuid

import integrator

VECTORS = pathlib.Path(__file__).parent.parent / "vectors" / "envelope.json"


def load():
    """The vectors as bytes: name, key, headers, value, and the published frame and hash."""
    for vector in json.loads(VECTORS.read_text(encoding="utf-8")):
        headers = [(name.encode(), value.encode()) for name, value in vector["headers"]]
        yield vector["name"], vector["key"].encode(), headers, vector["value"].encode(), vector["frame"], vector["hash"]


class Vectors(unittest.TestCase):
    """Hashes by the documented frame."""

    def test_every_frame_and_hash_is_as_published(self):
        vectors = list(load())
        self.assertGreaterEqual(len(vectors), 5)
        for name, key, headers, value, frame, digest in vectors:
            with self.subTest(name):
                self.assertEqual(integrator.frame(key, headers, value).hex(), frame)
                self.assertEqual(integrator.ce_hash(key, headers, value), digest)
                self.assertEqual(dict(headers)[b"ce_hash"].decode(), digest)

    def test_any_changed_header_changes_the_hash(self):
        name, key, headers, value, _, digest = next(load())
        for place, (header, content) in enumerate(headers):
            if header != b"ce_hash":
                changed = headers[:place] + [(header, b"00" + content[2:])] + headers[place + 1 :]
                if changed != headers:
                    self.assertNotEqual(integrator.ce_hash(key, changed, value), digest, header)


class Chain(unittest.TestCase):
    """What the ledger's reader refuses."""

    def setUp(self):
        self.first = next((key, headers, value) for name, key, headers, value, *_ in load() if name.startswith("the first"))

    def test_the_first_event_is_admitted_once(self):
        ledger = integrator.Ledger("dairy")
        ledger.admit(*self.first)
        self.assertEqual(ledger.summary()["events"], 1)
        with self.assertRaisesRegex(integrator.Broken, "sequence 1 follows 1"):
            ledger.admit(*self.first)

    def test_foreign_records_are_refused(self):
        key, headers, value = self.first
        for changed in (
            (key, headers, value + b" "),
            (b"south", headers, value),
            (key, headers + [(b"x-note", b"hello")], value),
            (key, headers[1:], value),
            (key, [headers[1], headers[0], *headers[2:]], value),
            (key, [], b"hello"),
        ):
            with self.assertRaises(integrator.Broken):
                integrator.Ledger("dairy").admit(*changed)
        with self.assertRaises(integrator.Broken):
            integrator.Ledger("bakery").admit(*self.first)


def put_varint(number):
    """Base 128, least significant group first."""
    data = b""
    while number > 0x7F:
        data += bytes([number & 0x7F | 0x80])
        number >>= 7
    return data + bytes([number])


def put(field, content):
    """A length-delimited field."""
    return put_varint(field << 3 | 2) + put_varint(len(content)) + content


def batch(values, qualities=b""):
    """A batch of two samples, written by hand."""
    return (
        put(1, b"north")
        + put(2, b"line-1")
        + put(3, uuid.UUID(int=7).bytes)
        + put_varint(4 << 3)
        + put_varint(300)
        + put(5, b"press")
        + put_varint(6 << 3)
        + put_varint(2 * 1_000_000)
        + put(7, put_varint(1) + put_varint(200))
        + put(8, put_varint(9) + put_varint(4))
        + put(9, struct.pack("<2d", *values))
        + qualities
    )


class Batches(unittest.TestCase):
    """Protobuf by hand."""

    def admit(self, data, signals=None):
        """As the topic would give it."""
        head = [
            (b"ce_type", b"lotline.signal.batch.v1"),
            (b"ce_source", b"/lotline/dairy/collectors/line-1"),
            (b"ce_id", f"{uuid.UUID(int=7)}/300".encode()),
        ]
        signals = signals or integrator.Signals("dairy")
        signals.admit(b"line-1", head, data)
        return signals

    def test_columns_come_apart(self):
        decoded = integrator.decode_batch(batch((72.5, 1e300)))
        # Zigzag: 9 is -5, 4 is 2.
        self.assertEqual(decoded["samples"], [(1, 999_995, 72.5, 0), (200, 999_997, 1e300, 0)])
        self.assertEqual((decoded["sequence"], decoded["device"], decoded["epoch"].int), (300, "press", 7))

    def test_a_batch_sent_twice_counts_once(self):
        signals = self.admit(batch((1.0, 2.0)), self.admit(batch((1.0, 2.0))))
        summary = signals.summary()
        self.assertEqual((summary["batches"], summary["doubles"], summary["samples"]), (2, 1, 2))
        self.assertEqual(summary["collectors"][0]["gaps"], 0)

    def test_a_good_nan_breaks_and_a_bad_one_does_not(self):
        with self.assertRaisesRegex(integrator.Broken, "Good sample"):
            self.admit(batch((1.0, math.nan)))
        bad = put(10, put_varint(0) + put_varint(0x803C0000))
        self.assertEqual(self.admit(batch((1.0, math.nan), bad)).summary()["bad"], 1)

    def test_torn_and_lopsided_batches_break(self):
        whole = batch((1.0, 2.0))
        with self.assertRaisesRegex(integrator.Broken, "different lengths"):
            self.admit(batch((1.0, 2.0), put(10, put_varint(0))))
        for cut in range(1, len(whole)):
            try:
                samples = self.admit(whole[:cut]).summary()["samples"]
            except (integrator.Broken, IndexError, ValueError, struct.error):
                continue
            # Cut between two fields it may be a batch without samples, but never one with half of them.
            self.assertEqual(samples, 0, cut)


if __name__ == "__main__":
    unittest.main()
