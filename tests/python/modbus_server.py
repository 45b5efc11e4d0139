"""A Modbus TCP device that Lotline did not write: pymodbus, serving values that this script encodes by itself.

Usage: modbus_server.py PORT

Prints one line of JSON once it listens: {"signals": [{"table", "unit", "address", "type", "order", "value"}, ...]}, where
value is what a client must read, and null where the registers hold no number; and "hole", an address that does not exist
between ones that do. Then takes commands on standard input, one a line: "delay UNIT MILLISECONDS" makes that unit slow.
It ends when standard input does, so that no test leaves it behind.
"""

import asyncio
import json
import math
import struct
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
# struct format of the big-endian form, and values worth reading.
TYPES = {
    "i16": (">h", (-32768, -1, 0, 32767)),
    "u16": (">H", (0, 1, 40000, 65535)),
    "i32": (">i", (-(2**31), -2, 305419896, 2**31 - 1)),
    "u32": (">I", (0, 305419896, 2**32 - 1)),
    "i64": (">q", (-(2**53), -3, 2**53, 72623859790382856)),
    "u64": (">Q", (0, 72623859790382856, 2**63)),
    "f32": (">f", (-0.5, 72.25, 3.4028234663852886e38, math.nan, math.inf)),
    "f64": (">d", (-0.1, 72.4, 1.7976931348623157e308, 5e-324, math.nan, -math.inf)),
}
COILS = [index % 3 == 0 for index in range(64)]
DISCRETE = [index % 5 == 0 for index in range(64)]


def words(data, order):
    """The registers that hold big-endian bytes in one of the four orders."""
    pairs = [data[at : at + 2] for at in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    if order in ("BADC", "DCBA"):
        pairs = [pair[::-1] for pair in pairs]
    return [int.from_bytes(pair, "big") for pair in pairs]


def registers(table, unit):
    """Every type, order and value, end to end: the registers, and the signals that lie in them."""
    contents, signals = [], []
    for name, (form, values) in TYPES.items():
        for order in ORDERS:
            for value in values:
                # What a double can hold of it.
                number = float(struct.unpack(form, struct.pack(form, value))[0])
                signals.append(
                    {
                        "table": table,
                        "unit": unit,
                        "address": len(contents),
                        "type": name,
                        "order": order,
                        "value": number if math.isfinite(number) else None,
                    }
                )
                contents += words(struct.pack(form, value), order)
    return contents, signals


def bits(table, unit, values):
    """A bit per address."""
    return [
        {"table": table, "unit": unit, "address": at, "type": "bool", "order": "ABCD", "value": float(value)}
        for at, value in enumerate(values)
    ]


def device(unit, delays):
    """One unit, its signals, and an address that it does not have."""

    async def answer_late(*_request):
        await asyncio.sleep(delays.get(unit, 0) / 1000)

    holding, signals = registers("holding_registers", unit)
    inputs, more = registers("input_registers", unit)
    signals += more + bits("coils", unit, COILS) + bits("discrete_inputs", unit, DISCRETE)
    # Behind the values: two registers, one that does not exist, two registers.
    island = len(holding)
    for at in (0, 1, 3, 4):
        signals.append(
            {"table": "holding_registers", "unit": unit, "address": island + at, "type": "u16", "order": "ABCD", "value": 7.0}
        )
    simdata = (
        [SimData(0, values=COILS, datatype=DataType.BITS)],
        [SimData(0, values=DISCRETE, datatype=DataType.BITS)],
        [
            SimData(0, values=[*holding, 7, 7], datatype=DataType.REGISTERS),
            SimData(island + 3, values=[7, 7], datatype=DataType.REGISTERS),
        ],
        [SimData(0, values=inputs, datatype=DataType.REGISTERS)],
    )
    return SimDevice(unit, simdata=simdata, action=answer_late), signals, island + 2


async def main():
    delays = {}
    devices, signals, holes = zip(*(device(unit, delays) for unit in (1, 2)))
    server = ModbusTcpServer(list(devices), address=("127.0.0.1", int(sys.argv[1])))
    await server.serve_forever(background=True)
    print(json.dumps({"signals": [entry for unit in signals for entry in unit], "hole": holes[0]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, unit, milliseconds = line.split()
        if command == "delay":
            delays[int(unit)] = int(milliseconds)
            print("ok", flush=True)
    await server.shutdown()


asyncio.run(main())
