"""`python -m hwsim run` as a process, read by clients that are not ours: mbpoll, net-snmp, and bare sockets."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
import tty
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import Process, ask, eventually, free_ports, python

pytestmark = [pytest.mark.system, pytest.mark.alone]

B = "1.3.6.1.4.1.2011.6.164.1"
READ_METER = bytes.fromhex("0303200600022e28")  # two registers of unit 3 from 0x2006
CHARACTER_S = 10 / 9600
SITE = """
buses:
  rs485-1: {{type: serial, port: {folder}/ttyS1, baudrate: 9600, parity: N}}
  conv: {{type: serial-tcp, host: 127.0.0.1, port: {conv}, baudrate: 9600}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  cabinet: {{type: snmp, host: 127.0.0.1, port: {snmp}, version: 2c, community: public, write_community: private}}
  secure: {{type: snmp, host: 127.0.0.1, port: {secure}, version: 3, user: u, auth_protocol: SHA, auth_key: authkey1x,
            priv_protocol: AES, priv_key: privkey1x}}
computers:
  - {{id: 1, monitor: true, source: local}}
  - {{id: 2, main: true, source: snmp, bus: secure, sys_disk: /, data_disk: /data, nic: eth0}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: cabinet}}
      meter: {{profile: chint-dtsu666, bus: rs485-1, unit: 3}}
      cool: {{profile: envicool-cabinet-ac, bus: rs485-1, unit: 2}}
      spd: {{profile: leixun-spd, bus: conv, unit: 5}}
      meter-2: {{profile: eastron-sdm630, bus: io, unit: 9}}
      io:
        profile: moxa-iologik-e1212
        bus: io
        unit: 1
        map:
          waterloggingSensor.isWarning: di0
          smokeSensor.isWarning: {{point: di1, invert: true}}
          doors.frontDoorClosed: di2
          doors.frontDoorLocked: di3
    outputs: {{front-lock: {{device: io, point: do0}}, siren: {{device: io, point: do1}}}}
    doors: {{front: {{unlock: front-lock}}, siren: siren}}
"""


@dataclass
class Rig:
    process: Process
    folder: Path
    ports: dict[str, int]
    site: Path

    @property
    def api(self) -> str:
        return self.process.wait_for("^hwsim api ").split()[-1]

    @property
    def pty(self) -> Path:
        return self.folder / "ttyS1"

    def get(self, path: str) -> Any:
        return ask(self.api + path)

    def post(self, path: str, body: object) -> Any:
        return ask(self.api + path, body)


def write_site(folder: Path) -> tuple[Path, dict[str, int]]:
    tcp, udp = free_ports(2), free_ports(2, socket.SOCK_DGRAM)
    ports = {"conv": tcp[0], "io": tcp[1], "snmp": udp[0], "secure": udp[1]}
    site = folder / "site.yaml"
    site.write_text(SITE.format(folder=folder, **ports))
    return site, ports


@contextlib.contextmanager
def hwsim(folder: Path, *options: str) -> Iterator[Rig]:
    site, ports = write_site(folder)
    process = Process(*python("hwsim", "run", "--site", str(site), *options))
    try:
        process.wait_for("^hwsim ready")
        yield Rig(process, folder, ports, site)
    finally:
        process.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with hwsim(tmp_path_factory.mktemp("hwsim")) as rig:
        yield rig


@pytest.fixture
def rig(shared: Rig) -> Iterator[Rig]:
    yield shared
    ask(shared.api + "/fault", method="DELETE")
    calm = {"mains": True, "water": False, "door": {"front": "closed"}, "phase": {"L1": 231, "L2": 229.5, "L3": 230.4}}
    shared.post("/plant", calm)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, env=os.environ | {"MIBS": ""}, check=False
    )


def values(done: subprocess.CompletedProcess[str]) -> list[float]:
    """What mbpoll read; it prints `[address]: value`."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return [float(line.split(":")[1].split()[0]) for line in lines]


def mbpoll(unit: int, wire: tuple[str, ...], place: str, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """One poll; a last word `=1` is a value to write."""
    options = [word for word in words if not word.startswith("=")]
    written = [word[1:] for word in words if word.startswith("=")]
    return run("mbpoll", *wire, "-a", str(unit), "-0", "-1", *options, place, *written)


def poll_line(rig: Rig, unit: int, *words: str) -> subprocess.CompletedProcess[str]:
    return mbpoll(unit, ("-m", "rtu", "-b", "9600", "-P", "none"), str(rig.pty), words)


def poll_tcp(rig: Rig, unit: int, *words: str) -> subprocess.CompletedProcess[str]:
    return mbpoll(unit, ("-m", "tcp", "-p", str(rig.ports["io"])), "127.0.0.1", words)


def snmp(rig: Rig, program: str, *words: str, community: str = "public", version: str = "2c") -> str:
    host = f"127.0.0.1:{rig.ports['snmp']}"
    done = run(program, f"-v{version}", "-c", community, "-On", "-r", "0", "-t", "2", host, *words)
    return done.stdout + done.stderr


def converse(sock: socket.socket, data: bytes, count: int) -> bytes:
    """Send, and read until `count` bytes came, the other side closed, or two seconds passed."""
    sock.settimeout(2.0)
    sock.sendall(data)
    answer = b""
    with contextlib.suppress(TimeoutError):
        while len(answer) < count and (more := sock.recv(count - len(answer))):
            answer += more
    return answer


@contextlib.contextmanager
def opened(rig: Rig) -> Iterator[int]:
    line = os.open(rig.pty, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    try:
        yield line
    finally:
        os.close(line)


def listen(line: int, quiet_s: float = 0.5) -> list[tuple[float, bytes]]:
    """What comes over the line, with its times, until it has been quiet."""
    heard = []
    while select.select([line], [], [], quiet_s)[0]:
        heard.append((time.monotonic(), os.read(line, 256)))
    return heard


def answer(heard: list[tuple[float, bytes]]) -> bytes:
    return b"".join(data for _, data in heard)


# --- reading and writing --------------------------------------------------------------------------------------------


def test_mbpoll_reads_the_meter_over_the_line(rig: Rig) -> None:
    assert values(poll_line(rig, 3, "-t", "4:float", "-B", "-r", "8198", "-c", "3")) == [2310, 2295, 2304]


def test_mbpoll_reads_two_units_behind_one_tcp_port(rig: Rig) -> None:
    assert values(poll_tcp(rig, 9, "-t", "3:float", "-B", "-r", "0", "-c", "3")) == [231, 229.5, 230.4]
    assert values(poll_tcp(rig, 1, "-t", "1", "-r", "0", "-c", "4")) == [0, 1, 1, 1]


def test_an_illegal_address_is_told_to_mbpoll(rig: Rig) -> None:
    assert "Illegal data address" in poll_line(rig, 3, "-t", "4", "-r", "8226", "-c", "1").stderr
    assert "Illegal function" in poll_line(rig, 3, "-t", "3", "-r", "8198", "-c", "1").stderr


def test_a_unit_that_is_not_there_is_silent(rig: Rig) -> None:
    assert "timed out" in poll_line(rig, 44, "-t", "4", "-r", "0", "-c", "1").stderr
    assert "timed out" in poll_tcp(rig, 44, "-t", "4", "-r", "0", "-c", "1").stderr


def test_mbpoll_unlocks_the_door_and_the_lock_input_follows(rig: Rig) -> None:
    poll_tcp(rig, 1, "-t", "0", "-r", "0", "=1")
    assert values(poll_tcp(rig, 1, "-t", "1", "-r", "2", "-c", "2")) == [1, 0]
    poll_tcp(rig, 1, "-t", "0", "-r", "0", "=0")
    rig.post("/plant", {"door": {"front": "pull"}})
    assert values(poll_tcp(rig, 1, "-t", "1", "-r", "2", "-c", "2")) == [0, 0]
    rig.post("/plant", {"door": {"front": "closed"}})
    eventually(lambda: values(poll_tcp(rig, 1, "-t", "1", "-r", "2", "-c", "2")) == [1, 1], 10)


def test_mbpoll_switches_the_air_conditioner_off(rig: Rig) -> None:
    assert poll_line(rig, 2, "-t", "4", "-r", "2049", "-c", "1").returncode == 0
    port = str(rig.pty)
    for value in ("0", "1"):
        run(
            "mbpoll",
            "-m",
            "rtu",
            "-b",
            "9600",
            "-P",
            "none",
            "-a",
            "2",
            "-0",
            "-1",
            "-t",
            "4",
            "-r",
            "2049",
            port,
            value,
        )
        assert rig.get("/state")["plant"]["1"]["air"][0]["remote"] is (value == "1")


def test_net_snmp_reads_walks_and_sets(rig: Rig) -> None:
    assert "Gauge32: 535" in snmp(rig, "snmpget", f"{B}.3.2.2.1.3.28676")
    assert "No Such Instance" in snmp(rig, "snmpget", f"{B}.3.2.2.1.3.28699")
    assert "No Such Object" in snmp(rig, "snmpget", f"{B}.99.1.0")
    walked = snmp(rig, "snmpbulkwalk", "1.3").splitlines()
    oids = [tuple(map(int, line.split(" = ")[0].split(".")[1:])) for line in walked if " = " in line]
    assert oids == sorted(oids)
    assert len(oids) > 200
    assert "INTEGER: 2" in snmp(rig, "snmpset", f"{B}.3.1.8.0", "i", "2", community="private")
    assert "INTEGER: 5" in snmp(rig, "snmpget", f"{B}.3.2.2.1.99.28677")
    assert "INTEGER: 1" in snmp(rig, "snmpset", f"{B}.3.1.8.0", "i", "1", community="private", version="1")


@pytest.mark.parametrize(
    ("community", "words", "complaint"),
    [
        ("public", (f"{B}.3.1.8.0", "i", "2"), "noAccess"),
        ("private", (f"{B}.3.1.8.0", "i", "7"), "wrongValue"),
        ("private", (f"{B}.5.1.5.0", "i", "270"), "wrongType"),
        ("private", (f"{B}.3.1.3.0", "u", "1"), "notWritable"),
        ("private", (f"{B}.99.1.0", "i", "1"), "noCreation"),
        ("stranger", (f"{B}.3.1.8.0", "i", "2"), "Timeout"),
    ],
)
def test_net_snmp_is_told_what_it_may_not_set(rig: Rig, community: str, words: tuple[str, ...], complaint: str) -> None:
    assert complaint in snmp(rig, "snmpset", *words, community=community)


def test_net_snmp_reads_a_computer_by_user(rig: Rig) -> None:
    secret = ("-v3", "-u", "u", "-l", "authPriv", "-a", "SHA", "-A", "authkey1x", "-x", "AES", "-X", "privkey1x")
    host = f"127.0.0.1:{rig.ports['secure']}"
    counters = []
    for _ in range(2):
        done = run("snmpget", *secret, "-Oqv", "-r", "1", host, "1.3.6.1.2.1.31.1.1.1.6.2")
        counters.append(int(done.stdout))
        time.sleep(0.3)
    assert counters[1] > counters[0]
    wrong = run("snmpget", *secret[:-1], "wrongkey1x", "-r", "0", "-t", "1", host, "1.3.6.1.2.1.1.3.0")
    assert wrong.returncode != 0


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


# --- the control API ------------------------------------------------------------------------------------------------


def test_the_registers_follow_what_the_api_changes(rig: Rig) -> None:
    rig.post("/plant", {"cabinet": 1, "mains": False, "water": True})
    assert values(poll_line(rig, 3, "-t", "4:float", "-B", "-r", "8198", "-c", "3")) == [0, 0, 0]
    assert values(poll_tcp(rig, 1, "-t", "1", "-r", "0", "-c", "1")) == [1]
    assert "INTEGER: 3" in snmp(rig, "snmpget", f"{B}.4.2.3.0")  # discharging
    rig.post("/plant", {"mains": True, "phase": {"L2": 165}})
    assert values(poll_line(rig, 3, "-t", "4:float", "-B", "-r", "8200", "-c", "1")) == [1650]
    assert rig.get("/registers?device=1.io")["discrete"]["0"] == 1
    assert rig.get("/registers?device=1.power")[f"{B}.3.1.8.0"] == {"type": "integer", "value": 1}


def test_the_api_tells_what_can_be_asked(rig: Rig) -> None:
    words = rig.get("/")
    assert "POST /plant" in words["routes"]
    assert "outside_c" in words["plant"]
    assert words["devices"]["computer 2"] == "host-resources"
    rig.post("/fault", {"device": "1.meter", "kind": "silent", "seconds": 60})
    assert rig.get("/faults")["1.meter"]["kind"] == "silent"
    assert rig.get("/state")["devices"]["1.meter"]["fault"] == "silent"


@pytest.mark.parametrize(
    ("path", "body", "complaint"),
    [
        ("/plant", {"mainz": True}, "valid: cabinet, computer, aircon"),
        ("/fault", {"device": "1.power", "kind": "drop"}, "valid: clamp, delay"),
        ("/unplug", {"wire": "rs485-9"}, "valid: rs485-1, conv"),
        ("/speed", {"speed": -1}, "from 0 to 3600"),
    ],
)
def test_a_wrong_request_is_told_what_is_valid(rig: Rig, path: str, body: object, complaint: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        rig.post(path, body)
    assert refused.value.code == 400
    assert complaint in refused.value.read().decode()


def test_a_wire_is_pulled_and_plugged_again(rig: Rig) -> None:
    for name in ("rs485-1", "io", "cabinet"):
        rig.post("/unplug", {"wire": name})
    assert not rig.pty.is_symlink()
    assert "refused" in poll_tcp(rig, 1, "-t", "1", "-r", "0", "-c", "1").stderr
    assert "Timeout" in snmp(rig, "snmpget", f"{B}.3.1.8.0")
    for name in ("rs485-1", "io", "cabinet"):
        rig.post("/replug", {"wire": name})
    assert len(values(poll_line(rig, 3, "-t", "4:float", "-B", "-r", "8198", "-c", "1"))) == 1
    assert len(values(poll_tcp(rig, 1, "-t", "1", "-r", "0", "-c", "1"))) == 1
    assert "INTEGER" in snmp(rig, "snmpget", f"{B}.3.1.8.0")


# --- the program ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_takes_the_link_away(tmp_path: Path, number: signal.Signals) -> None:
    with hwsim(tmp_path, "--scene", "storm", "--speed", "600") as rig:
        assert rig.pty.is_symlink()
        rig.process.wait_for("hwsim scene at 120 s")
        with (
            socket.create_connection(("127.0.0.1", rig.ports["io"])),
            socket.create_connection(("127.0.0.1", rig.ports["conv"])),
        ):
            time.sleep(0.1)
            os.kill(rig.process.pid, number)
            assert rig.process.wait(10) == 0
        assert rig.process.lines[-1] == "hwsim stopped"
        assert all(line.startswith("hwsim ") for line in rig.process.lines), rig.process.output
        assert not rig.pty.is_symlink()


def test_fast_lines_answer_at_once_and_serve_several_requests_in_one_piece(tmp_path: Path) -> None:
    with hwsim(tmp_path, "--fast-lines") as rig, opened(rig) as line:
        began = time.monotonic()
        os.write(line, READ_METER * 3)
        heard = listen(line, 0.2)
        assert len(answer(heard)) == 27
        assert heard[-1][0] - began < 0.05


def test_a_taken_port_is_named_with_its_bus(tmp_path: Path) -> None:
    site, ports = write_site(tmp_path)
    with socket.create_server(("127.0.0.1", ports["io"])):
        done = run(*python("hwsim", "run", "--site", str(site)))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{ports['io']}: Address already in use (bus io)" in done.stderr
    assert not (tmp_path / "ttyS1").is_symlink()  # what was up is taken down again


def test_a_real_port_at_the_path_is_left_alone(tmp_path: Path) -> None:
    site, _ = write_site(tmp_path)
    (tmp_path / "ttyS1").write_text("a real port")
    done = run(*python("hwsim", "run", "--site", str(site)))
    assert done.returncode == 1
    assert "something that is not a link is there (bus rs485-1)" in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--site", "/nowhere.yaml"), "cannot read the site file /nowhere.yaml: No such file"),
        (("--site", "SITE", "--scene", "flood"), "cannot play scene flood; valid: calm, mains-failure, storm"),
        (("--site", "SITE", "--api", "8080"), "HOST:PORT is needed"),
        (("--site", "SITE", "--speed", "-1"), "cannot run at speed -1"),
    ],
)
def test_a_wrong_start_is_told(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    site, _ = write_site(tmp_path)
    done = run(*python("hwsim", "run", *(str(site) if word == "SITE" else word for word in words)))
    assert done.returncode == 1
    assert complaint in done.stderr


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    site, _ = write_site(tmp_path)
    script = textwrap.dedent("""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-m", "hwsim", "run", "--site", sys.argv[1], "--die-with-parent"],
                                 stdout=subprocess.PIPE, text=True)
        for line in child.stdout:
            if line.startswith("hwsim ready"):
                break
        print(child.pid, flush=True)
    """)
    done = run(sys.executable, "-W", "ignore", "-c", script, str(site))
    child = int(done.stdout)
    eventually(lambda: not Path(f"/proc/{child}").exists() or not (tmp_path / "ttyS1").is_symlink(), 10)
