"""`python -m hwsim run` as a process, read and written by mbpoll and net-snmp; its control API and its life."""

import os
import signal
import socket
import sys
import textwrap
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from hwsim_rig import (
    READ_METER,
    B,
    Rig,
    answer,
    hwsim,
    listen,
    opened,
    poll_line,
    poll_tcp,
    run,
    snmp,
    values,
    write_site,
)
from support import eventually, python

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with hwsim(tmp_path_factory.mktemp("hwsim")) as rig:
        yield rig


@pytest.fixture
def rig(shared: Rig) -> Iterator[Rig]:
    yield shared
    shared.calm()


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
