"""The wires of `python -m hwsim run`: the pace and the silences of a line, and the faults that were ordered."""

import os
import select
import socket
import time
from collections.abc import Iterator

import pytest
from hwsim_rig import (
    CHARACTER_S,
    READ_METER,
    B,
    Rig,
    answer,
    converse,
    hwsim,
    listen,
    opened,
    poll_line,
    poll_tcp,
    snmp,
    values,
)
from support import ask

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with hwsim(tmp_path_factory.mktemp("hwsim")) as rig:
        yield rig


@pytest.fixture
def rig(shared: Rig) -> Iterator[Rig]:
    yield shared
    shared.calm()


# --- the wire's manners ---------------------------------------------------------------------------------------------


def test_several_requests_in_one_segment_and_one_in_pieces_are_all_answered(rig: Rig) -> None:
    requests = [bytes.fromhex(f"{tid:04x}00000006 0102 0000 0004") for tid in (1, 2, 3)]
    with socket.create_connection(("127.0.0.1", rig.ports["io"])) as sock:
        got = converse(sock, b"".join(requests), 30)
        assert [got[k : k + 10].hex() for k in (0, 10, 20)] == [f"{tid:04x}00000004010201{'0e'}" for tid in (1, 2, 3)]
        sock.sendall(requests[0][:5])
        time.sleep(0.1)
        assert converse(sock, requests[0][5:], 10).hex() == "0001000000040102010e"
        assert converse(sock, b"GET / HTTP/1.1\r\n\r\n", 1) == b""  # not Modbus: closed


def test_the_answer_comes_at_the_pace_of_the_line(rig: Rig) -> None:
    with opened(rig) as line:
        os.write(line, READ_METER)
        began = time.monotonic()
        heard = listen(line)
    assert answer(heard)[:3].hex() == "030304"
    first = heard[0][0] - began
    assert first > (8 + 3.5 + 1) * CHARACTER_S  # the request's own time, the silence, the first character
    assert heard[-1][0] - began > (8 + 3.5 + 9) * CHARACTER_S + 0.05  # and the meter's thinking time
    assert len(heard) > 2  # not all at once


def test_a_request_without_the_silence_before_it_is_not_understood(rig: Rig) -> None:
    with opened(rig) as line:
        os.write(line, READ_METER)
        while len(answer(heard := listen(line, 0.08))) < 9:
            pytest.fail(f"no answer: {heard}")
        before = rig.get("/state")["wires"]["rs485-1"]["broken"]
        os.write(line, READ_METER + READ_METER)
        assert listen(line) == []
        assert rig.get("/state")["wires"]["rs485-1"]["broken"] == before + 1
        os.write(line, READ_METER)
        assert len(answer(listen(line))) == 9


def test_a_broken_request_is_not_answered_and_the_next_one_is(rig: Rig) -> None:
    for broken in (READ_METER[:-1] + b"\x00", READ_METER[:4], b"\x00\xff" + READ_METER, b"hello"):
        with opened(rig) as line:
            os.write(line, broken)
            assert listen(line, 0.3) == []
            os.write(line, READ_METER)
            assert len(answer(listen(line, 0.3))) == 9


def test_a_converter_carries_the_line_over_tcp(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.ports["conv"])) as sock:
        got = converse(sock, bytes.fromhex("0502000000087848"), 6)
    assert got.hex()[:8] == "05020148"  # remote contact and leakage are 1 when good


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_silent_device_times_out_as_often_as_it_was_told(rig: Rig) -> None:
    rig.post("/fault", {"device": "1.io", "kind": "silent", "count": 1})
    assert "timed out" in poll_tcp(rig, 1, "-t", "1", "-r", "0", "-c", "4").stderr
    assert values(poll_tcp(rig, 1, "-t", "1", "-r", "0", "-c", "4")) == [0, 1, 1, 1]
    rig.post("/fault", {"device": "1.power", "kind": "silent"})
    assert "Timeout" in snmp(rig, "snmpget", f"{B}.3.1.8.0")
    ask(rig.api + "/fault?device=1.power", method="DELETE")
    assert "INTEGER" in snmp(rig, "snmpget", f"{B}.3.1.8.0")


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [("bad_crc", "Invalid CRC"), ("exception", "Slave device or server failure"), ("half", "timed out")],
)
def test_mbpoll_complains_of_a_fault(rig: Rig, kind: str, complaint: str) -> None:
    rig.post("/fault", {"device": "1.meter", "kind": kind, "count": 1})
    assert complaint in poll_line(rig, 3, "-t", "4", "-r", "8198", "-c", "2").stderr


def test_echo_garbage_and_foreign_answers_go_over_the_line_as_bytes(rig: Rig) -> None:
    def heard(kind: str, **extra: int) -> bytes:
        rig.post("/fault", {"device": "1.meter", "kind": kind, "count": 1, **extra})
        with opened(rig) as line:
            os.write(line, READ_METER)
            return answer(listen(line, 0.4))

    good = bytes.fromhex("030304")
    assert heard("echo")[:11] == READ_METER + good
    assert heard("garbage", bytes=4)[4:7] == good
    assert heard("wrong_unit")[0] == 4
    assert heard("wrong_function")[:2] == b"\x03\x04"


def test_a_stuck_transmitter_sends_at_the_pace_of_the_line_and_nobody_understands_a_question(rig: Rig) -> None:
    broken = rig.get("/state")["wires"]["rs485-1"]["broken"]
    rig.post("/fault", {"device": "1.cool", "kind": "babble"})
    with opened(rig) as line:
        assert select.select([line], [], [], 5)[0]
        until, heard = time.monotonic() + 1.2, b""
        os.write(line, READ_METER)
        while time.monotonic() < until and select.select([line], [], [], 0.5)[0]:
            heard += os.read(line, 256)
        ask(rig.api + "/fault?device=1.cool", method="DELETE")
        assert 0.5 / CHARACTER_S < len(heard) < 1.3 / CHARACTER_S
        listen(line, 0.3)  # until it is quiet
    assert rig.get("/state")["wires"]["rs485-1"]["broken"] > broken
    assert values(poll_line(rig, 3, "-t", "4:float", "-B", "-r", "8198", "-c", "3")) == [2310, 2295, 2304]


def test_a_late_answer_comes_after_the_next_request(rig: Rig) -> None:
    rig.post("/fault", {"device": "1.meter", "kind": "late", "count": 1, "ms": 700})
    with opened(rig) as line:
        os.write(line, READ_METER)
        assert listen(line, 0.3) == []
        os.write(line, READ_METER)
        assert len(answer(listen(line, 0.8))) == 18  # the answer to the second request, then the first's


def test_a_dropped_connection_is_closed_without_an_answer(rig: Rig) -> None:
    rig.post("/fault", {"device": "1.io", "kind": "drop", "count": 1})
    with socket.create_connection(("127.0.0.1", rig.ports["io"])) as sock:
        began = time.monotonic()
        assert converse(sock, bytes.fromhex("000100000006010200000004"), 10) == b""
        assert time.monotonic() - began < 1.0
    rig.post("/fault", {"device": "1.spd", "kind": "drop", "count": 1})
    with socket.create_connection(("127.0.0.1", rig.ports["conv"])) as sock:
        assert converse(sock, bytes.fromhex("0502000000087848"), 6) == b""
    with socket.create_connection(("127.0.0.1", rig.ports["conv"])) as sock:
        assert len(converse(sock, bytes.fromhex("0502000000087848"), 6)) == 6


@pytest.mark.parametrize(("kind", "complaint"), [("exception", "genErr"), ("half", "Timeout"), ("garbage", "Timeout")])
def test_net_snmp_complains_of_a_fault(rig: Rig, kind: str, complaint: str) -> None:
    rig.post("/fault", {"device": "1.power", "kind": kind, "count": 1})
    assert complaint in snmp(rig, "snmpget", f"{B}.3.1.8.0")
