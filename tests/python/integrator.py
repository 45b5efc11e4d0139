"""An outsider's view of a tenant's Kafka topics: reads them as any integrator may, and believes nothing.

Usage: integrator.py --brokers HOST:PORT --tenant TENANT [--client-config FILE]

Reads `lotline.<tenant>.ledger.v1` and `lotline.<tenant>.signals.v1` from the beginning, committed records only. Recomputes every
hash by the frame that domain/src/envelope.rs documents, checks that each stream counts 1, 2, 3, … and that every event names
the hash before it, and decodes signal batches by domain/proto/signal_batch.proto, without a Protobuf library. Prints a
summary as JSON; ends with 1 and the reason on standard error when something does not hold or is not given.

FILE holds options of librdkafka for a Kafka that asks who is there, one NAME=VALUE a line, such as sasl.username. The consumer
group is called after that user, as infra/deploy/kafka-acls.sh allows it.

Shares no code with Lotline. Needs confluent-kafka.
"""

import argparse
import hashlib
import json
import math
import struct
import sys
import uuid

HEADERS = [
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_sequence",
    "ce_actor",
    "ce_correlationid",
    "ce_causationid",
    "ce_commandhash",
    "ce_tenantsequence",
    "traceparent",
    "ce_prevhash",
    "ce_hash",
]
OPTIONAL = {"ce_tenantsequence", "traceparent"}
ZEROS = "00" * 32
BATCH_TYPE = "lotline.signal.batch.v1"


class Broken(Exception):
    """Something that Lotline promises does not hold."""


def frame(key, headers, value):
    """The bytes that ce_hash covers. All arguments are bytes; headers are (name, value) in the order of the record."""

    def part(data):
        return struct.pack(">I", len(data)) + data

    covered = [(name, data) for name, data in headers if name not in (b"ce_prevhash", b"ce_hash")]
    previous = bytes.fromhex(dict(headers)[b"ce_prevhash"].decode())
    data = part(key) + part(previous) + struct.pack(">I", len(covered))
    for name, content in covered:
        data += part(name) + part(content)
    return data + part(value)


def ce_hash(key, headers, value):
    """The hash as the frame gives it."""
    return hashlib.sha256(frame(key, headers, value)).hexdigest()


class Refused(Exception):
    """Kafka gives us nothing to judge."""


class Ledger:
    """Follows every stream of a ledger."""

    def __init__(self, tenant):
        self.tenant = tenant
        self.heads = {}
        self.types = {}
        self.events = 0

    def admit(self, key, headers, value):
        """Checks one record."""
        names = [name.decode() for name, _ in headers]
        known = [name for name in HEADERS if name in names]
        if names != known:
            raise Broken(f"headers {names} are not those of the envelope, each once and in order")
        missing = [name for name in HEADERS if name not in names and name not in OPTIONAL]
        if missing:
            raise Broken(f"headers {missing} are missing")
        head = {name.decode(): data.decode() for name, data in headers}
        stream = key.decode()
        if head["ce_source"] != f"/lotline/{self.tenant}/{stream}":
            raise Broken(f"source {head['ce_source']} under key {stream}")
        if head["ce_hash"] != ce_hash(key, headers, value):
            raise Broken("the hash does not match the bytes")
        sequence, previous, time = self.heads.get(stream, (0, ZEROS, ""))
        if int(head["ce_sequence"]) != sequence + 1:
            raise Broken(f"sequence {head['ce_sequence']} follows {sequence} in {stream}")
        if head["ce_prevhash"] != previous:
            raise Broken(f"event {head['ce_sequence']} of {stream} continues another history")
        if head["ce_time"] < time:
            raise Broken(f"event {head['ce_sequence']} of {stream} was decided before its predecessor")
        body = json.loads(value)
        if "occurred_at" not in body or "data" not in body:
            raise Broken("the value has no occurred_at or no data")
        self.heads[stream] = (sequence + 1, head["ce_hash"], head["ce_time"])
        self.types[head["ce_type"]] = self.types.get(head["ce_type"], 0) + 1
        self.events += 1

    def summary(self):
        """What was seen."""
        streams = {key: {"events": sequence, "hash": digest} for key, (sequence, digest, _) in self.heads.items()}
        return {"events": self.events, "streams": streams, "types": self.types}


def varint(data, at):
    """A base-128 number and the place after it."""
    number, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise Broken("a varint is longer than ten bytes")


def zigzag(number):
    """A signed number from its sint form."""
    return (number >> 1) ^ -(number & 1)


def varints(data):
    """All numbers of a packed field."""
    numbers, at = [], 0
    while at < len(data):
        number, at = varint(data, at)
        numbers.append(number)
    return numbers


def fields(data):
    """Field numbers and their raw contents, in order. Fixed 64 bits stay bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            content, at = varint(data, at)
        elif wire == 1:
            content, at = data[at : at + 8], at + 8
        elif wire == 2:
            length, at = varint(data, at)
            content, at = data[at : at + length], at + length
        else:
            raise Broken(f"wire type {wire} is not part of the schema")
        if at > len(data):
            raise Broken("the message ends in the middle of a field")
        yield number, content


def decode_batch(data):
    """A signal batch as a dict, by domain/proto/signal_batch.proto. Repeated fields may be packed or not."""
    batch = {"site": "", "collector": "", "epoch": None, "sequence": 0, "device": "", "collected_at_us": 0}
    signals, deltas, values, qualities = [], [], [], []
    for number, content in fields(data):
        numbers = varints(content) if number in (7, 8, 10) and isinstance(content, bytes) else [content]
        match number:
            case 1:
                batch["site"] = content.decode()
            case 2:
                batch["collector"] = content.decode()
            case 3:
                batch["epoch"] = uuid.UUID(bytes=content)
            case 4:
                batch["sequence"] = content
            case 5:
                batch["device"] = content.decode()
            case 6:
                batch["collected_at_us"] = zigzag(content)
            case 7:
                signals += numbers
            case 8:
                deltas += [zigzag(delta) for delta in numbers]
            case 9:
                values += struct.unpack(f"<{len(content) // 8}d", content)
            case 10:
                qualities += numbers
    qualities = qualities or [0] * len(signals)
    if not len(signals) == len(deltas) == len(values) == len(qualities):
        raise Broken("the columns of a batch have different lengths")
    time, times = batch["collected_at_us"], []
    for delta in deltas:
        time += delta
        times.append(time)
    batch["samples"] = list(zip(signals, times, values, qualities))
    return batch


class Signals:
    """Follows every collector."""

    def __init__(self, tenant):
        self.tenant = tenant
        self.seen = {}
        self.batches = self.doubles = self.samples = self.bad = 0

    def admit(self, key, headers, value):
        """Checks one record."""
        head = {name.decode(): data.decode() for name, data in headers}
        if head.get("ce_type") != BATCH_TYPE:
            raise Broken(f"type {head.get('ce_type')} in the signals topic")
        batch = decode_batch(value)
        if batch["collector"] != key.decode() or head["ce_source"] != f"/lotline/{self.tenant}/collectors/{key.decode()}":
            raise Broken(f"a batch of {batch['collector']} under key {key.decode()}")
        if head["ce_id"] != f"{batch['epoch']}/{batch['sequence']}" or batch["sequence"] < 1:
            raise Broken(f"the id {head['ce_id']} is not epoch and sequence of the batch")
        self.batches += 1
        sequences = self.seen.setdefault((batch["collector"], str(batch["epoch"])), set())
        if batch["sequence"] in sequences:
            self.doubles += 1
            return
        sequences.add(batch["sequence"])
        for _, _, number, quality in batch["samples"]:
            self.samples += 1
            good = quality >> 30 == 0
            self.bad += not good
            if good and not math.isfinite(number):
                raise Broken(f"a Good sample of {batch['device']} is {number}")

    def summary(self):
        """What was seen. Gaps are batches that the collector counted as dropped, or that are still on its disk."""
        collectors = [
            {"collector": name, "epoch": epoch, "batches": len(seen), "gaps": max(seen) - min(seen) + 1 - len(seen)}
            for (name, epoch), seen in sorted(self.seen.items())
        ]
        return {
            "batches": self.batches,
            "doubles": self.doubles,
            "samples": self.samples,
            "bad": self.bad,
            "collectors": collectors,
        }


def client_options(path):
    """NAME=VALUE lines as a dict."""
    with open(path, encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("=", 1) for line in lines if line.strip() and not line.startswith("#")]
    return dict(pairs)


def follow(brokers, options, topic, admit):
    """Gives every committed record of a topic to `admit`, from the beginning to the end as of now."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            **options,
            "bootstrap.servers": brokers,
            "group.id": f"{options.get('sasl.username', 'integrator')}.{uuid.uuid4()}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    metadata = consumer.list_topics(topic, timeout=20).topics[topic]
    if metadata.error is not None:
        raise Refused(f"{topic}: {metadata.error}")
    consumer.assign([TopicPartition(topic, partition, 0) for partition in metadata.partitions])
    unfinished = set(metadata.partitions)
    while unfinished:
        message = consumer.poll(20)
        if message is None:
            raise Broken(f"{topic} gave nothing for 20 s before its end")
        if message.error() is not None:
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise Refused(f"{topic}: {message.error()}")
            unfinished.discard(message.partition())
            continue
        headers = [(name.encode(), data) for name, data in message.headers() or []]
        try:
            admit(message.key() or b"", headers, message.value() or b"")
        except (Broken, KeyError, ValueError, IndexError, struct.error) as error:
            place = f"{topic}/{message.partition()} at offset {message.offset()}"
            raise Broken(f"{place}: {type(error).__name__}: {error}") from error
    consumer.close()


def main():
    """Reads both topics and prints what they hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--client-config")
    arguments = parser.parse_args()
    options = client_options(arguments.client_config) if arguments.client_config else {}
    ledger, signals = Ledger(arguments.tenant), Signals(arguments.tenant)
    try:
        follow(arguments.brokers, options, f"lotline.{arguments.tenant}.ledger.v1", ledger.admit)
        follow(arguments.brokers, options, f"lotline.{arguments.tenant}.signals.v1", signals.admit)
    except (Broken, Refused) as reason:
        print(reason, file=sys.stderr)
        return 1
    print(json.dumps({"ledger": ledger.summary(), "signals": signals.summary()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
