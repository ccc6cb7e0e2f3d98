"""`probe`, `scan`, `doctor` and `frames`: through the running daemon's door, and without one."""

import asyncio
import contextlib
import ctypes
import json
import os
import re
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from gantry import gantry
from support import ROOT, eventually, python

from gantry_agent.console import door
from gantry_agent.field.bus import recorder
from gantry_agent.model import AgentError

pytestmark = pytest.mark.system

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/a-folder-with-a-name-as-long-as-no-socket-address-of-the-kernel-has-room-for-it/state}}
polling: {{fast_s: 0.5, slow_s: 1, misses: 3}}
buses:
  rs485: {{type: serial, port: {folder}/ttyRS485, baudrate: 38400}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: s3cret}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [elec, thermohygrometer]}}
      meter: {{profile: chint-dtsu666, bus: rs485, unit: 3}}
      climate: {{profile: xy-md02, bus: rs485, unit: 5}}
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{waterloggingSensor.isWarning: di0}}}}
    outputs: {{front-lock: {{device: io, point: do0, pulse_s: 1}}}}
    doors: {{front: {{unlock: front-lock}}}}
"""


def ask(site: Path, *words: str, language: str = "C.UTF-8") -> tuple[int, str, str]:
    done = subprocess.run(
        [*python("gantry_agent", *words), "-c", str(site)],
        cwd=ROOT,
        env=os.environ | {"LANG": language, "LC_ALL": language},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def steps(site: Path, *words: str) -> list[dict[str, Any]]:
    _, said, error = ask(site, *words, "--json")
    assert said, error
    return [json.loads(line) for line in said.splitlines()]


def wrong(said: str) -> list[str]:
    """The verdict's lines, without what each says after its colon or semicolon."""
    return [re.split("[:;]", line)[0] for line in said.splitlines() if line.startswith("! ")]


def unsynchronized() -> bool:
    """Whether the kernel of this computer says that nothing keeps its clock right, as in many a container."""
    return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) == 5


CONTENT = (1, ["! the clock is not synchronized"]) if unsynchronized() else (0, [])


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gantry(tmp_path_factory.mktemp("door"), SITE, interval=600) as it:
        yield it


def socket_of(running) -> Path:
    return next(running.folder.glob("*/state/agent.sock"))


def test_the_door_is_for_owner_and_group_only(running):
    status = socket_of(running).stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o660


def test_probe_shows_frames_points_and_fields_while_the_daemon_polls_on(running):
    code, said, error = ask(running.site, "probe", "1.meter")
    assert (code, error) == (0, "")
    assert "unit 3 FC3 0x2006" in said
    assert "> 030320" in said
    assert "< 0303" in said
    assert "elec.voltage" in said
    assert "elec[1].voltage" in said
    assert "231.0 V" in said
    assert "device 1.meter does not answer" not in running.agent.output
    assert ask(running.site, "probe", "meter")[0] == 0  # its name is enough where one cabinet has it


def test_probe_of_an_snmp_device_shows_its_rows_and_never_the_community(running):
    code, said, _ = ask(running.site, "probe", "1.power")
    assert code == 0
    assert "rows of modules: 28677, 28676" in said
    assert "rectifier[2].outputVoltage" in said
    assert b"s3cret".hex() not in said


def test_an_unknown_device_is_told_with_those_that_there_are(running):
    code, said, error = ask(running.site, "probe", "1.metre")
    assert (code, said) == (1, "")
    assert "did you mean 1.meter?; valid: 1.climate, 1.io, 1.meter, 1.power" in error


def test_scan_finds_who_answers_and_names_who_is_in_the_site_file(running):
    code, said, error = ask(running.site, "scan", "rs485", "--units", "2-5")
    assert (code, error) == (0, "")
    assert "unit   3  FC3" in said
    assert "1.climate" in said
    assert "answered: 2" in said
    found = steps(running.site, "scan", "rs485", "--units", "3-4")
    assert [step["found"] for step in found if "found" in step] == [3]
    assert any("progress" in step for step in found)
    heard = next(step for step in steps(running.site, "doctor") if step.get("bus") == "rs485")
    assert {unit["unit"] for unit in heard["units"]} == {3, 5}  # silence where nobody lives is no statistic


def test_scan_of_a_gateway_does_not_cost_its_connection(running):
    code, said, _ = ask(running.site, "scan", "io", "--units", "1-6")
    assert code == 0
    assert "answered: 1" in said
    assert "device 1.io does not answer" not in running.agent.output


def test_scan_of_an_agent_tells_who_it_is(running):
    code, said, _ = ask(running.site, "scan", "power")
    assert code == 0
    assert "1.3.6.1.4.1.2011" in said


def test_doctor_is_content_with_a_healthy_gantry_in_both_languages(running):
    eventually(lambda: running.uploads("cabinetStatusUpdate"), 20, "a first upload")
    assert f"listening on 127.0.0.1:{running.ports['control']}\n" in running.agent.output
    code, said, error = ask(running.site, "doctor")
    assert error == ""
    assert (code, wrong(said)) == CONTENT
    assert ("all is well" in said) is (code == 0)
    assert "1.meter" in said
    assert "uplink cabinet: connected 1000" in said
    assert "outbox: waiting 0" in said
    code, said, _ = ask(running.site, "doctor", language="zh_CN.UTF-8")
    assert code == CONTENT[0]
    assert ("一切正常" in said) is (code == 0)
    assert ("! 时钟未同步" in said) is (code == 1)


def test_doctor_says_what_is_wrong_and_the_frames_of_the_moment_are_kept(running):
    running.fault("1.climate", "silent")
    try:
        eventually(lambda: "device 1.climate does not answer" in running.agent.output, 20)
        code, said, _ = ask(running.site, "doctor", language="zh_CN.UTF-8")
        assert code == 1
        assert "只有 1.climate（地址 5） 无应答" in said
        assert "其余 1 个正常" in said
        code, said, _ = ask(running.site, "probe", "1.climate")
        assert code == 1
        assert "nothing in" in said
    finally:
        running.mend("1.climate")
    pins = [step["pin"] for step in steps(running.site, "frames", "rs485") if "pin" in step]
    assert "1.climate lost" in pins


def test_an_alarm_and_a_failed_command_keep_their_frames(running):
    running.fault("1.io", "exception")
    try:
        assert running.order({"id": "1", "cmd": "2", "unlockDoorId": "1"})["code"] == "1007"
    finally:
        running.mend("1.io")
    assert "Unlock failed" in ask(running.site, "frames", "io")[1]
    assert "命令 Unlock 未执行（保留）" in ask(running.site, "frames", "io", language="zh_CN.UTF-8")[1]
    for bus in ("power", "rs485"):
        assert "Unlock failed" not in ask(running.site, "frames", bus)[1], "the order did not concern that bus"

    def alarmed() -> bool:
        running.plant(water=False)
        time.sleep(recorder.PIN_AFTER_S + 0.5)  # what falls into an open pin is no pin of its own
        running.plant(water=True)
        time.sleep(1.5)
        return "waterloggingSensor.isWarning" in ask(running.site, "frames", "io")[1]

    eventually(alarmed, 60, "a pin of the alarm")


def test_what_an_interlock_refuses_keeps_no_frames(running):
    running.plant(mains=False)
    eventually(
        lambda: re.search(r"ups\[1\].runningState +3", ask(running.site, "probe", "1.power")[1]), 30, "discharging"
    )
    time.sleep(2.0)  # the agent reads it every second
    refused = running.order({"cmd": "8", "cabinetId": "1", "onOff": "0"})
    assert "正在放电" in refused["msg"]
    for bus in ("power", "io", "rs485"):
        assert "SwitchRectifiers failed" not in ask(running.site, "frames", bus)[1]
    running.plant(mains=True)


async def test_the_door_survives_rubbish_and_too_many_and_those_who_leave(running):
    path = socket_of(running)
    with door._short(path) as address:
        for rubbish in (b"", b"rubbish\n", b"[]\n", b'{"ask": "dance"}\n', b"{" * 2_000_000):
            reader, writer = await asyncio.open_unix_connection(address)
            with contextlib.suppress(ConnectionError):  # what it does not read, it resets
                writer.write(rubbish)
                writer.write_eof()
                async with asyncio.timeout(15):
                    said = await reader.read(10_000)
                assert not said or b"cannot" in said
            writer.close()
        crowd = [await asyncio.open_unix_connection(address) for _ in range(door.MOST_CLIENTS)]
        await asyncio.sleep(0.2)
        reader, writer = await asyncio.open_unix_connection(address)
        assert b"others are asking" in await reader.readline()
        writer.close()
        crowd[0][1].write(b'{"ask": "scan", "bus": "rs485"}\n')
        assert b"rs485" in await crowd[0][0].readline()
        for _, leaver in crowd:
            leaver.close()
    await asyncio.sleep(0.5)
    with pytest.raises(AgentError, match="cannot answer dance"):
        async for _ in door.ask(path, {"ask": "dance"}):
            pass
    assert "Traceback" not in running.agent.output


def test_without_a_daemon_the_hardware_is_asked_directly_and_a_dead_socket_is_no_obstacle(running):
    path = socket_of(running)
    running.agent.stop()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as dead, door._short(path) as address:
        dead.bind(address)  # as a daemon leaves it that was killed
    code, said, error = ask(running.site, "probe", "1.meter")
    assert code == 0
    assert "231.0 V" in said
    assert "no gantry-agent runs" in error
    code, said, _ = ask(running.site, "scan", "rs485", "--units", "3-6")
    assert code == 0
    assert "answered: 2" in said
    code, said, error = ask(running.site, "doctor")
    assert (code, wrong(said)) == CONTENT
    assert "not running" in said
    running.start_agent()
    eventually(lambda: ask(running.site, "scan", "power")[2] == "", 10, "the door of the new daemon")
