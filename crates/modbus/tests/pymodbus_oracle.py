"""The pymodbus side of the oracle tests.

  pymodbus_oracle.py server tcp|rtu         serves the test bank on a free port, which it prints
  pymodbus_oracle.py client tcp|rtu PORT    asks a slave on PORT everything; exit code 0 if all is right

The bank is that of tests/it/bank.rs: 2,000 each of coils (every third on), inputs (every fifth),
holding registers (address * 7) and input registers (address * 11). RTU frames go over TCP.
"""

import asyncio
import sys

from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer

SIZE = 2000
UNIT = 17
FRAMERS = {"tcp": FramerType.SOCKET, "rtu": FramerType.RTU}
COILS = [n % 3 == 0 for n in range(SIZE)]
INPUTS = [n % 5 == 0 for n in range(SIZE)]
HOLDING = [n * 7 & 0xFFFF for n in range(SIZE)]
INPUT = [n * 11 & 0xFFFF for n in range(SIZE)]


async def serve(framer):
    # A block counts from 1 where the wire counts from 0.
    block = lambda values: ModbusSequentialDataBlock(1, values)
    device = ModbusDeviceContext(
        co=block(COILS), di=block(INPUTS), hr=block(HOLDING), ir=block(INPUT)
    )
    context = ModbusServerContext(devices=device, single=True)
    server = ModbusTcpServer(context, framer=framer, address=("127.0.0.1", 0))
    if not await server.listen():
        sys.exit("cannot listen")
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def ask(framer, port):
    client = ModbusTcpClient("127.0.0.1", port=port, framer=framer, timeout=10, retries=0)
    assert client.connect()
    at = {"device_id": UNIT}

    def equal(reply, field, expected):
        assert not reply.isError(), reply
        got = getattr(reply, field)[: len(expected)]
        assert got == expected, (reply, expected)

    equal(client.read_coils(3, count=19, **at), "bits", COILS[3:22])
    equal(client.read_discrete_inputs(0, count=2000, **at), "bits", INPUTS)
    equal(client.read_holding_registers(7, count=125, **at), "registers", HOLDING[7:132])
    equal(client.read_input_registers(0, count=1, **at), "registers", INPUT[:1])
    assert not client.write_coil(1, True, **at).isError()
    assert not client.write_coils(2, [True] * 11, **at).isError()
    equal(client.read_coils(1, count=12, **at), "bits", [True] * 12)
    assert not client.write_register(8, 55, **at).isError()
    assert not client.write_registers(9, [1, 2, 3], **at).isError()
    assert not client.mask_write_register(address=8, and_mask=0xF0, or_mask=0x0F0F, **at).isError()
    masked = (55 & 0xF0) | (0x0F0F & ~0xF0 & 0xFFFF)
    reply = client.readwrite_registers(
        read_address=8, read_count=4, write_address=11, values=[9], **at
    )
    equal(reply, "registers", [masked, 1, 2, 9])
    assert client.read_input_registers(1999, count=2, **at).exception_code == 2
    # Function 43, which the slave does not have.
    assert client.read_device_information(read_code=1, object_id=0, **at).exception_code == 1
    client.close()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(serve(FRAMERS[sys.argv[2]]))
    else:
        ask(FRAMERS[sys.argv[2]], int(sys.argv[3]))
