"""`python -m hwsim demo`: a gantry's hardware, its cloud and the agent together, with a tour that checks what it shows.

Starts the three programs as anybody would, relays what they say, walks through `demo_tour`, and keeps them running for
whoever wants to look further. Everything that is written goes to one temporary folder.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp

from hwsim.demo_parts import Part, PartFailed, start
from hwsim.demo_site import DemoSite, SiteError, other_shift, prepare, read_shift, taken, taken_text
from hwsim.demo_tour import Tour, walk
from hwsim.terminal import Language, Paint, Text, paint_for, reader_language
from hwsim.usage import Parser

SITE = Path(__file__).resolve().parent.parent / "config" / "demo.yaml"
READY_S = 60.0
HARDWARE, CLOUD, AGENT = Text("设备", "hardware"), Text("平台", "cloud"), Text("门架程序", "agent")


def add_arguments(parser: Parser) -> None:
    say = parser.say
    said = say("所有端口加 N", "add N to every port of the demo")
    parser.add_argument("--port-shift", default="0", metavar="N", help=said)
    said = say("配置文件（默认 config/demo.yaml）", "the site file (default: config/demo.yaml)")
    parser.add_argument("--site", type=Path, default=SITE, metavar=say("文件", "FILE"), help=said)
    said = say("导览后结束：全部看到返回 0，否则 1", "end after the tour: 0 if all of it was seen true, else 1")
    parser.add_argument("--once", action="store_true", help=said)
    said = say("导览后 N 秒结束", "end N seconds after the tour")
    parser.add_argument("--seconds", type=float, metavar="N", help=said)


def main(args: argparse.Namespace) -> int:
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    return asyncio.run(Demo(args).run())


class Demo:
    """One run of the demo: the folder, the parts started so far, and the voice."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._folder = Path()
        self._parts: list[Part] = []
        self._language: Language = reader_language(os.environ)
        self._paint: Paint = paint_for(sys.stdout, os.environ)
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Show everything and clean up; nothing is written before a signal can no longer leave it behind."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        self._folder = Path(tempfile.mkdtemp(prefix="gantry-demo-"))
        code = 1
        try:
            code = await self._run()
        finally:
            if code == 0 or not list(self._folder.glob("*.log")):  # after a failure the logs are wanted
                shutil.rmtree(self._folder, ignore_errors=True)
        return code

    async def _run(self) -> int:
        try:
            shift = read_shift(self._args.port_shift)
            site = prepare(self._args.site, self._folder, shift)
        except SiteError as error:
            return self._fail(error.text)
        if busy := list(taken(site.ports)):
            for port, reason in busy:
                self._fail(taken_text(port, reason))
            return self._fail(other_shift(site.ports, shift))
        if self._stop.is_set():
            return 1 if self._args.once else 0
        self._say(
            f"工作文件夹 {self._folder}（日志也在其中）", f"working folder {self._folder} (the logs are there too)"
        )
        try:
            return await self._until_stopped(site)
        finally:
            await self._end()

    async def _until_stopped(self, site: DemoSite) -> int:
        """The show, unless somebody stops it or a part ends by itself."""
        show = asyncio.create_task(self._show(site), name="show")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({show, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not show.done():
                return 1 if self._args.once else 0  # Ctrl-C is how the demo is meant to end, but no tour was seen
            return show.result()
        except PartFailed as error:
            return self._fail(error.text)
        finally:
            for task in (show, stop):
                task.cancel()
            await asyncio.gather(show, stop, return_exceptions=True)

    async def _show(self, site: DemoSite) -> int:
        await self._start(site)
        ends = [asyncio.create_task(part.wait_end()) for part in self._parts]
        scene = asyncio.create_task(self._scene(site), name="scene")
        try:
            done, _ = await asyncio.wait({scene, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if scene not in done:
                raise next(task.result() for task in ends if task.done())
            return scene.result()
        finally:
            for task in (scene, *ends):
                task.cancel()
            await asyncio.gather(scene, *ends, return_exceptions=True)

    async def _scene(self, site: DemoSite) -> int:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            await self._agent_answers(site, session)
            tour = Tour(site, session, self._tell, self._language, self._paint)
            good = await walk(tour)
        self._invite(site)
        if not self._args.once:
            await asyncio.sleep(self._args.seconds if self._args.seconds is not None else float("inf"))
        return 0 if good else 1

    # --- the parts --------------------------------------------------------------------------------------------------

    async def _start(self, site: DemoSite) -> None:
        host, port = site.hardware_api
        hardware = ["hwsim", "run", "--site", str(site.file), "--api", f"{host}:{port}"]
        host, port = site.cloud
        cloud = ["hwsim", "cloud", "--listen", f"{host}:{port}", "--auth", site.auth, "--gantry", site.gantry_id]
        cloud += ["--timezone", site.timezone]
        for name, words, ready in ((HARDWARE, hardware, "hwsim ready"), (CLOUD, cloud, "cloud ready")):
            await self._start_part(name, words, ready)
        for part in self._parts:
            await part.wait_ready(READY_S)
        # The agent says it is ready in its log; here its control port is believed instead.
        await self._start_part(AGENT, ["gantry_agent", "run", "-c", str(site.file)], "\0")

    async def _start_part(self, name: Text, words: list[str], ready: str) -> None:
        log = self._folder / f"{name.en}.log"
        self._parts.append(await start(name, words, log, ready, self._relay, colour=self._paint.on))

    async def _agent_answers(self, site: DemoSite, session: aiohttp.ClientSession) -> None:
        """Wait until the control port is open and speaks: GET is not of the interface, so 405."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            try:
                async with session.get(site.control_url) as reply:
                    if reply.status == 405:
                        return
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.2)
        raise self._parts[-1].failure()

    async def _end(self) -> None:
        if self._parts:
            self._say("正在停止……", "stopping …")
        for part in reversed(self._parts):  # the agent first: it takes leave of its cloud and its devices
            await part.stop()

    # --- the voice --------------------------------------------------------------------------------------------------

    def _tell(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:  # whoever read this has gone (`| head`, a closed terminal): end as if told to
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stop.set()

    def _say(self, zh: str, en: str) -> None:
        self._tell(Text(zh, en).render(self._language))

    def _fail(self, text: Text) -> int:
        with suppress(OSError):  # the terminal may be gone
            print(self._paint.red(text.render(self._language)), file=sys.stderr, flush=True)
        return 1

    def _relay(self, name: Text, line: str) -> None:
        colour = {HARDWARE: self._paint.yellow, CLOUD: self._paint.cyan, AGENT: self._paint.magenta}[name]
        self._tell(f"{colour(name.render(self._language))} {self._paint.grey('│')} {line}")

    def _invite(self, site: DemoSite) -> None:
        """Say what to try next."""
        plant, fault, unlock = (
            f"{site.hardware_url}/plant",
            f"{site.hardware_url}/fault",
            {"cmd": "2", "unlockDoorId": "2"},
        )
        order = {"target": site.control_url, "method": "cabinetControl", "business": unlock}
        self._tell("")
        self._say("可以继续试（Ctrl-C 结束）：", "To try next (Ctrl-C ends):")
        for what, value, url in (
            (Text("机柜进水", "water in the cabinet"), {"cabinet": 1, "water": True}, plant),
            (Text("雷击一次", "a lightning strike"), {"cabinet": 1, "strike": 1}, plant),
            (
                Text("电表 30 秒不应答", "a meter silent for 30 s"),
                {"device": "1.meter", "kind": "silent", "seconds": 30},
                fault,
            ),
            (Text("平台故障两次", "a cloud that fails twice"), {"mode": "500", "count": 2}, f"{site.cloud_url}/behave"),
            (Text("远程解锁后门", "unlock the back door"), order, f"{site.cloud_url}/command"),
        ):
            line = f"curl -d '{json.dumps(value)}' {url}"
            self._tell(f"  {what.render(self._language)}: {self._paint.bold(line)}")
        self._tell("")
