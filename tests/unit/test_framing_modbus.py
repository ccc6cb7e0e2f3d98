"""Modbus frames: written and read back, against pymodbus's own encoder, byte by byte, with noise, and as rubbish."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import bit_message, register_message

from gantry_agent.field.framing import modbus
from gantry_agent.field.request import PulseBit, ReadBits, ReadRegisters, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, DeviceRefused

units = st.integers(1, 247)
addresses = st.integers(0, 0xFFFF)
words = st.integers(0, 0xFFFF)
reads = st.builds(ReadRegisters, units, st.sampled_from((3, 4)), addresses, st.integers(1, 125))
bit_reads = st.builds(ReadBits, units, st.sampled_from((1, 2)), addresses, st.integers(1, 2000))
single_writes = st.builds(WriteRegisters, units, st.just(6), addresses, st.tuples(words))
block_writes = st.builds(
    WriteRegisters, units, st.just(16), addresses, st.lists(words, min_size=1, max_size=123).map(tuple)
)
requests = st.one_of(
    reads,
    bit_reads,
    single_writes,
    block_writes,
    st.builds(WriteBit, units, addresses, st.booleans()),
    st.builds(PulseBit, units, addresses, words),
)


def answer_to(request: modbus.ModbusRequest, values: list[int]) -> bytes:
    """A unit's answer as the specification draws it (§6.1 to §6.12)."""
    match request:
        case ReadRegisters(function=code, count=count):
            return bytes((code, 2 * count)) + struct.pack(
                f">{count}H", *(values[n % len(values)] for n in range(count))
            )
        case ReadBits(function=code, count=count):
            size = (count + 7) // 8
            return bytes((code, size)) + bytes(values[n % len(values)] & 0xFF for n in range(size))
        case _:
            return modbus.encode(request)[:5]


def on_the_line(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


@given(requests.filter(lambda request: not isinstance(request, PulseBit)))  # pymodbus knows on and off only
def test_requests_are_the_bytes_that_pymodbus_writes(request):
    match request:
        case ReadRegisters(function=3):
            theirs = register_message.ReadHoldingRegistersRequest(address=request.address, count=request.count)
        case ReadRegisters():
            theirs = register_message.ReadInputRegistersRequest(address=request.address, count=request.count)
        case ReadBits(function=1):
            theirs = bit_message.ReadCoilsRequest(address=request.address, count=request.count)
        case ReadBits():
            theirs = bit_message.ReadDiscreteInputsRequest(address=request.address, count=request.count)
        case WriteBit():
            theirs = bit_message.WriteSingleCoilRequest(address=request.address, bits=[request.on])
        case WriteRegisters(function=6):
            theirs = register_message.WriteSingleRegisterRequest(address=request.address, registers=[*request.values])
        case _:
            theirs = register_message.WriteMultipleRegistersRequest(
                address=request.address, registers=[*request.values]
            )
    assert modbus.encode(request) == bytes((theirs.function_code,)) + theirs.encode()
    assert modbus.rtu_request(request) == on_the_line(request.unit, modbus.encode(request))


@given(requests, st.lists(words, min_size=1, max_size=20))
def test_an_answer_gives_back_what_the_unit_put_into_it(request, values):
    reply = modbus.decode(request, answer_to(request, values))
    match request:
        case ReadRegisters(count=count):
            assert reply == tuple(values[n % len(values)] for n in range(count))
        case ReadBits(count=count):
            packed = [values[n % len(values)] & 0xFF for n in range((count + 7) // 8)]
            assert reply == tuple(packed[n // 8] >> (n % 8) & 1 for n in range(count))
        case _:
            assert reply == ()


@given(requests, st.integers(0, 255))
def test_an_exception_answer_is_a_refusal_with_its_code(request, code):
    pdu = bytes((modbus.function(request) | 0x80, code))
    with pytest.raises(DeviceRefused) as refused:
        modbus.decode(request, pdu)
    assert refused.value.code == code
    found = modbus.find_rtu_reply(request, on_the_line(request.unit, pdu))
    assert found is not None
    assert found.pdu == pdu


@given(requests, st.binary(max_size=300))
def test_rubbish_is_a_bad_reply_or_an_answer_and_nothing_else(request, pdu):
    try:
        modbus.decode(request, pdu)
    except (BadReply, DeviceRefused):
        return


@given(requests, st.lists(words, min_size=1, max_size=20), st.binary(max_size=20), st.data())
def test_an_answer_on_the_line_is_found_byte_by_byte_behind_noise_and_before_noise(request, values, noise, data):
    frame = on_the_line(request.unit, answer_to(request, values))
    after = data.draw(st.binary(max_size=5))
    whole = noise + frame
    if modbus.find_rtu_reply(request, whole[:-1]) is not None:
        return  # the noise happens to be an answer
    for cut in range(0, len(whole), max(1, len(whole) // 16)):
        assert modbus.find_rtu_reply(request, whole[:cut]) is None
    found = modbus.find_rtu_reply(request, whole + after)
    if noise.endswith(modbus.rtu_request(request)) or request.unit in noise:
        return
    assert found is not None
    assert (found.pdu, found.end) == (frame[1:-2], len(whole))


@given(requests, st.lists(words, min_size=1, max_size=20), st.data())
def test_no_flipped_bit_is_taken_for_an_answer(request, values, data):
    frame = bytearray(on_the_line(request.unit, answer_to(request, values)))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    found = modbus.find_rtu_reply(request, bytes(frame))
    assert found is None
    assert modbus.explain_rtu(request, bytes(frame))


@given(st.one_of(reads, bit_reads, block_writes), st.lists(words, min_size=1, max_size=20))
def test_the_echo_of_the_request_is_passed_over(request, values):
    echo, frame = modbus.rtu_request(request), on_the_line(request.unit, answer_to(request, values))
    assert modbus.find_rtu_reply(request, echo) is None
    found = modbus.find_rtu_reply(request, echo + frame)
    assert found is not None
    assert found.echoed
    assert found.pdu == frame[1:-2]


@given(single_writes)
def test_on_a_line_that_echoes_a_write_is_answered_by_the_second_copy(request):
    copy = modbus.rtu_request(request)
    assert modbus.find_rtu_reply(request, copy, echoes=False) is not None
    assert modbus.find_rtu_reply(request, copy, echoes=True) is None
    found = modbus.find_rtu_reply(request, copy + copy, echoes=True)
    assert found is not None
    assert found.echoed


def test_an_answer_of_another_unit_function_or_count_is_not_ours():
    request = ReadRegisters(3, 3, 100, 4)
    for foreign in (ReadRegisters(4, 3, 100, 4), ReadRegisters(3, 4, 100, 4), ReadRegisters(3, 3, 100, 5)):
        assert modbus.find_rtu_reply(request, on_the_line(foreign.unit, answer_to(foreign, [7]))) is None


def test_a_write_echoed_with_another_value_is_not_done():
    with pytest.raises(BadReply, match="repeats another"):
        modbus.decode(WriteRegisters(1, 6, 7, (1,)), struct.pack(">BHH", 6, 7, 2))


@pytest.mark.parametrize(
    "request_",
    [
        ReadRegisters(1, 3, 0, 126),
        ReadRegisters(1, 3, 0, 0),
        ReadRegisters(256, 3, 0, 1),
        ReadRegisters(1, 3, 65536, 1),
        ReadBits(1, 1, 0, 2001),
        WriteRegisters(1, 6, 0, (1, 2)),
        WriteRegisters(1, 16, 0, ()),
        WriteRegisters(1, 16, 0, (65536,)),
    ],
)
def test_a_request_that_modbus_has_no_room_for_is_our_own_fault(request_):
    with pytest.raises(ValueError, match="cannot"):
        modbus.encode(request_)


@given(st.integers(0, 0xFFFF), units, st.binary(min_size=2, max_size=253), st.binary(max_size=9))
def test_a_frame_on_tcp_is_read_back_however_it_is_cut(transaction, unit, pdu, rest):
    frame = modbus.mbap_frame(transaction, unit, pdu)
    for cut in range(len(frame)):
        assert modbus.take_mbap(frame[:cut]) is None
    assert modbus.take_mbap(frame + rest) == modbus.Mbap(transaction, unit, pdu, len(frame))


@given(st.binary(max_size=300))
def test_rubbish_on_tcp_is_a_bad_reply_or_a_frame(data):
    try:
        frame = modbus.take_mbap(data)
    except BadReply:
        return
    assert frame is None or data.startswith(modbus.mbap_frame(frame.transaction, frame.unit, frame.pdu))


@pytest.mark.parametrize("header", ["000100010003", "000100000002", "0001000000ff", "000100000000"])
def test_a_stream_that_lost_its_frames_is_known_by_its_header(header):
    with pytest.raises(BadReply):
        modbus.take_mbap(bytes.fromhex(header))


def test_the_crc_is_the_published_one():
    assert modbus.crc16(b"123456789") == 0x4B37  # CRC-16/MODBUS check value
