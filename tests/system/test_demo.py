"""The demo as `make demo` runs it: hardware, cloud and agent as processes, and a tour that checks what it shows."""

import asyncio
import os
import random
import signal
import socket
import sys
from pathlib import Path

import pytest

from hwsim.demo import SITE
from hwsim.demo_site import prepare, taken

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(240)]


def free_shift(folder: Path) -> int:
    for _ in range(100):
        shift = random.randrange(0, 30000)
        if not list(taken(prepare(SITE, folder, shift).ports)):
            return shift
    pytest.fail("cannot find free ports for the demo")


async def start(folder: Path, *words: str) -> asyncio.subprocess.Process:
    temporary = folder / "tmp"
    temporary.mkdir()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hwsim", "demo", *words),
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "1", "TMPDIR": str(temporary)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_every_step_of_the_tour_is_seen_true(tmp_path: Path) -> None:
    process = await start(tmp_path, "--once", "--port-shift", str(free_shift(tmp_path)))
    try:
        output = (await asyncio.wait_for(process.communicate(), 220))[0].decode()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, output
    assert "every device is read" in output
    assert "it shows the front door; kept as" in output
    assert "at the hardware lane-camera was cut for 3." in output
    assert "✗" not in output
    assert "Traceback" not in output
    assert list((tmp_path / "tmp").iterdir()) == []  # it cleans up behind itself


async def test_a_step_that_is_not_seen_fails_the_tour(tmp_path: Path) -> None:
    site = tmp_path / "site-without-lock.yaml"
    site.write_text(
        SITE.read_text(encoding="utf-8").replace("front: {unlock: front-lock}", "front: {}"), encoding="utf-8"
    )
    shift = free_shift(tmp_path)
    process = await start(tmp_path, "--once", "--site", str(site), "--port-shift", str(shift))
    try:
        output = (await asyncio.wait_for(process.communicate(), 160))[0].decode()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 1, output
    (failed,) = [line for line in output.splitlines() if "✗" in line]
    assert "✗ [front door] cannot see 1000 answered to cmd=2, cabinetId=1, unlockDoorId=1; what came: 1002" in failed
    assert not set("{}'") & set(failed), "words, not what Python writes"
    (folder,) = (tmp_path / "tmp").iterdir()  # kept, for whoever wants to know why
    assert {"agent.log", "cloud.log", "hardware.log", "site.yaml"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_ctrl_c_and_a_closed_terminal_end_all_parts_and_leave_nothing(tmp_path: Path, number: int) -> None:
    shift = free_shift(tmp_path)
    process = await start(tmp_path, "--port-shift", str(shift))
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while not any("agent │" in line for line in lines):
            lines.append((await asyncio.wait_for(process.stdout.readline(), 60)).decode())
            assert lines[-1], "".join(lines)
        process.send_signal(number)
        rest = (await asyncio.wait_for(process.communicate(), 20))[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert "Traceback" not in "".join(lines) + rest
    assert list(taken(prepare(SITE, tmp_path, shift).ports)) == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("after_s", [0, 0.1, 0.3])
async def test_ctrl_c_right_after_the_start_gives_no_traceback(tmp_path: Path, after_s: float) -> None:
    process = await start(tmp_path, "--port-shift", str(free_shift(tmp_path)))
    while "_asyncio" not in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8"):  # it loads its libraries
        await asyncio.sleep(0.005)
    await asyncio.sleep(after_s)
    process.send_signal(signal.SIGINT)
    output = (await asyncio.wait_for(process.communicate(), 30))[0].decode()
    assert "Traceback" not in output
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_shift_that_is_no_number_is_told_and_nothing_else(tmp_path: Path) -> None:
    process = await start(tmp_path, "--port-shift", "abc")
    output = (await asyncio.wait_for(process.communicate(), 30))[0].decode()
    assert (process.returncode, output) == (1, "PORT_SHIFT must be a whole number, like 1000\n")


async def test_a_taken_port_is_named_before_anything_is_started(tmp_path: Path) -> None:
    shift = free_shift(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 18080 + shift))
        other.listen()
        process = await start(tmp_path, "--once", "--port-shift", str(shift))
        output = (await asyncio.wait_for(process.communicate(), 30))[0].decode()
    assert process.returncode == 1
    assert f"TCP port {18080 + shift} (the simulated cloud) is taken" in output
    assert "cloud │" not in output
    assert "working folder" not in output
    assert output.count("PORT_SHIFT=") == 1
