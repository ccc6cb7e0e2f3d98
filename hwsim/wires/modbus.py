"""Modbus frames and functions, independent of how bytes travel: a request frame in, an answer frame out.

Frames and PDUs are pymodbus's, so that nothing here shares a mistake with the agent's own framing. Two differences to
pymodbus's server are deliberate: a unit that is not there stays silent, and an unknown function is answered with
exception 1 rather than not at all, both as real devices do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu import bit_message as bits
from pymodbus.pdu import mei_message as mei
from pymodbus.pdu import register_message as registers

from hwsim.devices.image import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    Illegal,
    Image,
    ModbusProduct,
    Table,
    take,
)
from hwsim.faults import Fault
from hwsim.site import DeviceSpec
from hwsim.world import World

BROADCAST = 0
REQUESTS = DecodePDU(is_server=True)
_ON_OFF = (b"\x00\x00", b"\xff\x00")
RTU = FramerRTU(REQUESTS)
SOCKET = FramerSocket(REQUESTS)


@dataclass(frozen=True, slots=True)
class Frame:
    """A PDU and whose it is; `tid` is the MBAP transaction, 0 on a line."""

    unit: int
    pdu: bytes
    tid: int = 0


def mbap(frame: Frame) -> bytes:
    return SOCKET.encode(frame.pdu, frame.unit, frame.tid)


def rtu(frame: Frame) -> bytes:
    return RTU.encode(frame.pdu, frame.unit, 0)


def checked(data: bytes) -> Frame | None:
    """The frame that `data` is on a line, or None when its checksum is wrong."""
    if len(data) < RTU.MIN_SIZE or not RTU.check_CRC(data[:-2], int.from_bytes(data[-2:], "big")):
        return None
    return Frame(data[0], data[1:-2])


def rtu_length(data: bytes) -> int:
    """How long the request beginning with `data` will be; 0 while that cannot be said (too short, unknown function)."""
    if len(data) < 3:
        return 0
    kind = REQUESTS.lookupPduClass(data)
    return kind.calculateRtuFrameSize(data) if kind else 0


class Units:
    """The devices behind one wire, by unit address, and what they answer."""

    def __init__(self, world: World, specs: Mapping[int, DeviceSpec]) -> None:
        self.world = world
        self.specs = specs

    def answer(self, request: Frame) -> Frame | None:
        """What the addressed unit answers; None when nobody is there, or for a broadcast, which all obey."""
        if request.unit == BROADCAST:
            for spec in self.specs.values():
                self._respond(spec, request.pdu)
            return None
        addressed = self.specs.get(request.unit)
        if addressed is None:
            return None
        fault = self.world.faults.of(addressed.key)
        if fault is not None and fault.deaf:
            return replace(request, pdu=_encode(ExceptionResponse(request.pdu[0] & 0x7F, fault.code)))
        if fault is not None and fault.kind == "missing" and _touches(request.pdu, fault):
            return replace(request, pdu=_encode(ExceptionResponse(request.pdu[0] & 0x7F, ILLEGAL_ADDRESS)))
        return replace(request, pdu=self._respond(addressed, request.pdu))

    def _respond(self, spec: DeviceSpec, pdu: bytes) -> bytes:
        function = pdu[0]
        try:
            return _encode(self._carry_out(spec, pdu))
        except Illegal as refused:
            return _encode(ExceptionResponse(function & 0x7F, refused.code))

    def _carry_out(self, spec: DeviceSpec, pdu: bytes) -> ModbusPDU:
        product = self.world.modbus(spec)
        if pdu[0] not in product.functions or pdu[0] not in _FUNCTIONS:
            raise Illegal(ILLEGAL_FUNCTION)
        request = REQUESTS.decode(pdu)
        coil = pdu[3:5] if pdu[0] == 5 else b"\x00\x00"
        if len(coil) == 2 and product.flash and coil not in _ON_OFF:
            address, value = int.from_bytes(pdu[1:3], "big"), int.from_bytes(coil, "big")
            self.world.absorb(spec, product.flash(self.world.seen(spec), address, value))
            return _Echo(pdu)
        if request is None or coil not in _ON_OFF:  # None: a count out of range, or too few bytes
            raise Illegal(ILLEGAL_VALUE)
        return _FUNCTIONS[pdu[0]](self.world, spec, product, request)


class _Echo(ModbusPDU):
    """An answer that repeats its request."""

    def __init__(self, pdu: bytes) -> None:
        super().__init__()
        self.function_code, self._body = pdu[0], pdu[1:]

    def encode(self) -> bytes:
        return self._body


def _touches(pdu: bytes, fault: Fault) -> bool:
    """Whether a request is for an address that the fault takes away."""
    if len(pdu) < 5:
        return False
    first = int.from_bytes(pdu[1:3], "big")
    count = 1 if pdu[0] in (5, 6) else int.from_bytes(pdu[3:5], "big")
    return first <= fault.last and first + count > fault.first


def _encode(pdu: ModbusPDU) -> bytes:
    return bytes([pdu.function_code]) + pdu.encode()


def rebuilt(frame: Frame, answer: Frame, build: Callable[[Frame], bytes]) -> Callable[[Fault], bytes]:
    """How faults inside the frame change `answer` to the request `frame`."""

    def change(fault: Fault) -> bytes:
        match fault.kind:
            case "wrong_unit":
                return build(replace(answer, unit=(answer.unit % 247) + 1))
            case "wrong_function":
                return build(replace(answer, pdu=bytes([answer.pdu[0] ^ 0x07]) + answer.pdu[1:]))
        return build(replace(answer, pdu=_encode(ExceptionResponse(frame.pdu[0] & 0x7F, fault.code))))

    return change


# --- the functions --------------------------------------------------------------------------------------------------

Function = Callable[[World, DeviceSpec, ModbusProduct, Any], ModbusPDU]


def _read_bits(pick: Callable[[Image], Table], reply: type[ModbusPDU]) -> Function:
    def read(world: World, spec: DeviceSpec, product: ModbusProduct, request: Any) -> ModbusPDU:
        values = take(pick(product.image(world.seen(spec))), request.address, request.count)
        return reply(bits=[bool(value) for value in values])

    return read


def _read_registers(pick: Callable[[Image], Table], reply: type[ModbusPDU]) -> Function:
    def read(world: World, spec: DeviceSpec, product: ModbusProduct, request: Any) -> ModbusPDU:
        if request.count > product.largest:
            raise Illegal(ILLEGAL_VALUE)
        return reply(registers=take(pick(product.image(world.seen(spec))), request.address, request.count))

    return read


def _write_coils(reply: Callable[[Any], ModbusPDU]) -> Function:
    def write(world: World, spec: DeviceSpec, product: ModbusProduct, request: Any) -> ModbusPDU:
        seen = world.seen(spec)
        values = tuple(int(bit) for bit in request.bits)
        if request.function_code == 15 and (request.count, request.byte_count) != (len(values), (len(values) + 7) // 8):
            raise Illegal(ILLEGAL_VALUE)
        take(product.image(seen).coils, request.address, len(values))
        world.absorb(spec, product.write_coils(seen, request.address, values))
        return reply(request)

    return write


def _write_registers(reply: Callable[[Any], ModbusPDU]) -> Function:
    def write(world: World, spec: DeviceSpec, product: ModbusProduct, request: Any) -> ModbusPDU:
        seen = world.seen(spec)
        values = tuple(request.registers)
        if request.function_code == 16 and not request.count == len(values) == request.byte_count // 2:
            raise Illegal(ILLEGAL_VALUE)
        take(product.image(seen).holding, request.address, len(values))
        world.absorb(spec, product.write_registers(seen, request.address, values))
        return reply(request)

    return write


def _identify(world: World, spec: DeviceSpec, product: ModbusProduct, request: Any) -> ModbusPDU:
    if request.sub_function_code != 0x0E or product.identity is None:
        raise Illegal(ILLEGAL_FUNCTION)
    objects = {
        number: text for number, text in product.identity(world.seen(spec)).items() if number >= request.object_id
    }
    if not objects:
        raise Illegal(ILLEGAL_ADDRESS)
    answer = mei.ReadDeviceInformationResponse(request.read_code, objects)
    answer.conformity = 0x03  # as the driver of this device expects (01 2B 0E 03 03 00 00 02)
    return answer


_FUNCTIONS: dict[int, Function] = {
    1: _read_bits(lambda image: image.coils, bits.ReadCoilsResponse),
    2: _read_bits(lambda image: image.discrete, bits.ReadDiscreteInputsResponse),
    3: _read_registers(lambda image: image.holding, registers.ReadHoldingRegistersResponse),
    4: _read_registers(lambda image: image.input, registers.ReadInputRegistersResponse),
    5: _write_coils(lambda request: bits.WriteSingleCoilResponse(address=request.address, bits=request.bits)),
    6: _write_registers(
        lambda request: registers.WriteSingleRegisterResponse(address=request.address, registers=request.registers)
    ),
    15: _write_coils(lambda request: bits.WriteMultipleCoilsResponse(address=request.address, count=request.count)),
    16: _write_registers(
        lambda request: registers.WriteMultipleRegistersResponse(address=request.address, count=request.count)
    ),
    0x2B: _identify,
}
