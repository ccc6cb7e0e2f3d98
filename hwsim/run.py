"""`python -m hwsim run`: the hardware of a site file, at its addresses, until told to stop.

Puts together site, world, wires, scene and control API; says on stdout where everything is, then `hwsim ready`.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from hwsim import control, scene, site, wishes
from hwsim.rack import Rack
from hwsim.terminal import reader_language
from hwsim.usage import LEAVE, Parser
from hwsim.wires.camera import Cameras
from hwsim.wires.listener import WireFault
from hwsim.world import TICK_S, World

PARENT_CHECK_S = 0.5
FASTEST = 3600.0


def add_arguments(parser: Parser) -> None:
    file, address = parser.say("文件", "FILE"), parser.say("主机:端口", "HOST:PORT")
    say = parser.say
    parser.add_argument(
        "--site",
        type=Path,
        required=True,
        metavar=file,
        help=say("要仿真其设备的配置文件", "the site file to be the hardware of"),
    )
    names = ", ".join(scene.names())
    said = say(f"按时间表发生的故障：{names}", f"play a timetable of mishaps: {names}")
    parser.add_argument("--scene", metavar=say("名称", "NAME"), help=said)
    said = say("操作接口；端口 0 为任意（默认 127.0.0.1:0）", "the control API; port 0 takes any (default 127.0.0.1:0)")
    parser.add_argument("--api", default="127.0.0.1:0", metavar=address, help=said)
    said = say(
        "SNMP 设备把 trap 发往哪里（默认：本机，配置文件中 traps 的端口）",
        "where SNMP agents send traps (default: the port of the site file's `traps`, on this host)",
    )
    parser.add_argument("--traps", metavar=address, help=said)
    said = say("仿真时间与真实时间之比（默认 1）", "plant time per real time (default 1)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help=said)
    said = say("串口不计时：不限速，无静默", "serial lines keep no time: no pacing, no silences")
    parser.add_argument("--fast-lines", action="store_true", help=said)
    parser.add_argument("--die-with-parent", action="store_true", help=LEAVE.render(parser.language))


def main(args: argparse.Namespace) -> int:
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # rubbish on a line is our daily bread
    try:
        if not 0.0 <= args.speed <= FASTEST:
            speed = f"{args.speed:g}"
            raise site.SiteFault(
                f"速度 {speed} 应为 0 到 {FASTEST:g} 之间的数",
                f"cannot run at speed {speed}: a number from 0 to {FASTEST:g} is needed",
            )
        host, port = _address(args.api)
        played = scene.load(args.scene) if args.scene else None
        asyncio.run(_run(args, host, port, played))
    except (site.SiteFault, scene.SceneFault, WireFault) as fault:
        print(f"hwsim: {fault.text.render(reader_language(os.environ))}", file=sys.stderr)
        return 1
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise site.SiteFault(
            f"地址 {text} 应为 主机:端口，如 127.0.0.1:8081",
            f"cannot use the address {text}: HOST:PORT is needed, as 127.0.0.1:8081",
        )
    return host.strip("[]"), int(port)


async def _run(args: argparse.Namespace, host: str, port: int, played: scene.Scene | None) -> None:
    stop = _stop_event()
    world = World(site.load(args.site), asyncio.get_running_loop().time, args.speed)
    traps_to = _address(args.traps) if args.traps else world.site.traps_to
    cues = _prepare(world, played)
    rack = Rack(world, fast_lines=args.fast_lines, traps_to=traps_to)
    async with rack, Cameras(world.site.cameras) as cameras:
        runner, url = await control.serve(control.Control(world, rack, cameras), host, port)
        try:
            for name in rack.wires:
                _say(f"hwsim wire {rack.describe(name)}")
            for name in cameras.specs:
                _say(f"hwsim camera {name}: {cameras.describe(name)}")
            if played:
                _say(f"hwsim scene {played.name}: {played.title}")
            _say(f"hwsim api {url}")
            _say(f"hwsim ready: {len(world.site.devices)} devices on {len(rack.wires)} wires")
            await _until(stop, world, cues, args.die_with_parent)
        finally:
            await runner.cleanup()
    _say("hwsim stopped")


def _say(line: str) -> None:
    print(line, flush=True)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _prepare(world: World, played: scene.Scene | None) -> list[scene.Cue]:
    """Set the starting conditions; give the cues that are still to come."""
    cues = list(played.cues) if played else []
    while cues and cues[0].at_s <= 0.0:
        _perform(world, cues.pop(0))
    return cues


def _perform(world: World, cue: scene.Cue) -> None:
    """A cue that names no cabinet is for all; one that a cabinet cannot follow (no such sensor) is said and passed."""
    bodies = [cue.body]
    if cue.target == "plant" and not {"cabinet", "computer"} & cue.body.keys():
        bodies = [{"cabinet": number, **cue.body} for number in world.plants]
    for body in bodies:
        try:
            if cue.target == "plant":
                wishes.plant(world, body)
            else:
                wishes.fault(world, body, asyncio.get_running_loop().time())
        except wishes.WishFault as fault:
            _say(f"hwsim scene: {fault}")


async def _play(world: World, cues: list[scene.Cue]) -> None:
    for cue in cues:
        while world.elapsed_s < cue.at_s:  # noqa: ASYNC110 - plant time has its own speed
            await asyncio.sleep(TICK_S)
        _say(f"hwsim scene at {cue.at_s:g} s: {cue.target} {dict(cue.body)}")
        _perform(world, cue)


async def _until(stop: asyncio.Event, world: World, cues: list[scene.Cue], die_with_parent: bool) -> None:  # noqa: FBT001
    """Let time pass until a signal, or until the parent is gone. A bug in one of the tasks ends the program."""
    async with asyncio.TaskGroup() as group:
        kept = [group.create_task(world.run(), name="time"), group.create_task(_play(world, cues), name="scene")]
        if die_with_parent:
            kept.append(group.create_task(_watch_parent(stop), name="parent"))
        await stop.wait()
        for task in kept:
            task.cancel()


async def _watch_parent(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - the system does not wake us
        await asyncio.sleep(PARENT_CHECK_S)
    stop.set()
