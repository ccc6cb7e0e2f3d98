"""`probe`, `scan`, `doctor` and `frames`: asked through the running daemon's door, or of the hardware when none runs.

The answers come as steps of plain values (`gantry_agent.doctor`); here they become lines in the reader's language.
"""

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from gantry_agent.agent import answer_alone
from gantry_agent.cli import ledger
from gantry_agent.cli.progress import Progress
from gantry_agent.config import Config
from gantry_agent.console import door
from gantry_agent.doctor import Step, answered
from gantry_agent.model import AgentError
from gantry_agent.store import Hop, Outage, lock
from gantry_agent.text import Language, Text

ALONE = Text("（没有运行中的 gantry-agent，直接访问设备）", "(no gantry-agent runs; asking the hardware directly)")
ALONE_DOCTOR = Text(
    "（没有运行中的 gantry-agent，读取全部设备，约 15 秒）",
    "(no gantry-agent runs; reading every device, this takes some 15 s)",
)
DOOR_S = 2.0  # an agent that has just been started opens its door soon
QUALITIES = {
    "NoData": Text("无数据", "no data"),
    "GetFailed": Text("读取失败", "not read"),
    "NotSupport": Text("设备没有", "not in this device"),
}


class Tells(Protocol):
    """Turns steps into lines, and says something at the end."""

    def tell(self, step: Step) -> Iterator[str]: ...
    def end(self) -> Iterator[str]: ...


def run(config: Config, question: Step, language: Language, *, as_json: bool, output: Path | None = None) -> int:
    """Ask, print what comes as it comes, and give the exit code: 1 when something is wrong."""
    teller = _TELLERS[question["ask"]](language, ZoneInfo(config.site.timezone))
    if not ask(_steps(config, question, language), teller, language, as_json=as_json, output=output):
        return 1
    return int(teller.wrong)


def ask(steps: AsyncIterator[Step], teller: Tells, language: Language, *, as_json: bool, output: Path | None) -> bool:
    """Print what comes as it comes; False if it was stopped by Ctrl-C."""
    progress = Progress(language, sys.stderr)

    async def listen() -> None:
        async with contextlib.aclosing(steps) as coming:  # type: ignore[type-var]
            async for step in coming:
                if "progress" in step:
                    progress.show(step["progress"], step["of"])
                lines = [*teller.tell(step)]
                if as_json:
                    lines = [json.dumps(step, ensure_ascii=False)]
                if lines or "recording" in step:
                    progress.wipe()
                if "recording" in step:
                    print(keep(step, output).render(language), file=sys.stderr)
                for line in lines:
                    print(line, flush=True)
        progress.wipe()
        closing = [*teller.end()]
        for line in [] if as_json else closing:
            print(line)

    try:
        asyncio.run(listen())
    except KeyboardInterrupt:
        progress.wipe()
        print(Text("已停止", "stopped").render(language), file=sys.stderr)
        return False
    finally:
        progress.wipe()
    return True


async def through_door(config: Config, question: Step) -> AsyncIterator[Step]:
    """Ask the running agent. Raises NobodyHome only when none runs: beside one, nobody may go to the hardware."""
    until = time.monotonic() + DOOR_S
    while True:
        try:
            async for step in door.ask(config.storage / door.NAME, question):
                yield step
        except door.NobodyHome:
            if not lock.is_held(config.storage):
                raise
            if time.monotonic() > until:
                path = config.storage / door.NAME
                raise AgentError(
                    Text(
                        f"无法询问运行中的 gantry-agent：它没有套接字 {path}（磁盘已满或只读？），"
                        "见 journalctl -u gantry-agent",
                        f"cannot ask the running gantry-agent: it has no socket {path}; is the disk full or read-only?"
                        " See journalctl -u gantry-agent",
                    )
                ) from None
            await asyncio.sleep(0.2)
        else:
            return


async def _steps(config: Config, question: Step, language: Language) -> AsyncIterator[Step]:
    try:
        async for step in through_door(config, question):
            yield step
    except door.NobodyHome:
        said = ALONE_DOCTOR if question["ask"] == "doctor" else ALONE
        print(said.render(language), file=sys.stderr)
        async for step in answer_alone(config, question):
            yield step


def keep(step: Step, output: Path | None) -> Text:
    """Write a recording to its file, over none that is there; say what was done."""
    path = output or Path(step["file"])
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(step["recording"])
    except FileExistsError:
        raise AgentError(
            Text(
                f"{path} 已经存在；请用 --output 给出另一个文件名",
                f"cannot write {path}: it is there already; name another with --output",
            )
        ) from None
    return Text(
        f"已写入 {path}；发出前请看一遍，名称、序列号、地址应已隐去",
        f"written to {path}; look through it before you send it: names, serial numbers and addresses are taken out",
    )


class _Teller:
    """Turns steps into lines, and knows at the end whether something was wrong."""

    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        self._language: Language = language
        self._zone = zone
        self.wrong = False

    def tell(self, step: Step) -> Iterator[str]:
        raise NotImplementedError

    def end(self) -> Iterator[str]:
        yield from ()

    def say(self, zh: str, en: str) -> str:
        return Text(zh, en).render(self._language)

    def both(self, said: Mapping[str, str]) -> str:
        """Render what a step says in both languages."""
        return self.say(said["zh"], said["en"])

    def clock(self, at: float) -> str:
        return datetime.fromtimestamp(at, self._zone).strftime("%H:%M:%S.%f")[:-3]

    def day(self, at: float) -> str:
        return datetime.fromtimestamp(at, self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def value(self, read: Mapping[str, Any]) -> str:
        if read["quality"] == "ok":
            return f"{read['value']} {read['unit']}".rstrip()
        known = QUALITIES.get(read["quality"])
        return f"{read['quality']} ({known.render(self._language)})" if known else str(read["quality"])


def _hidden(url: str) -> str:
    """A URL without what may be a login in it."""
    return re.sub(r"//[^/@]*@", "//…@", url)


def _arrows(frames: list[list[str]]) -> Iterator[str]:
    for direction, data in frames:
        yield f"    {'>' if direction == 'sent' else '<'} {_legible(data)}"


def _legible(data: str) -> str:
    """Hexadecimal, but what went over HTTP as the text that it is; no frame of a line is one that begins so."""
    raw = bytes.fromhex(data)
    text = " ".join(raw.decode("utf-8", "replace").split("\n")) if raw[:1] in (b"/", b"{", b"[", b"<") else ""
    return text if text.isprintable() and text else data


class _Probe(_Teller):
    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        super().__init__(language, zone)
        self.wrong = True  # until the device has answered

    def tell(self, step: Step) -> Iterator[str]:
        if "device" in step:
            unit = self.say(f"地址 {step['unit']}", f"unit {step['unit']}")
            yield f"{step['device']}  {step['profile']}  {step['bus']}  {unit}"
        elif "table" in step:
            rows = self.say(f"表 {step['table']} 的行", f"rows of {step['table']}")
            yield f"{rows}: {', '.join(step['rows']) or '-'}   {step['asked']}   {step['ms']} ms"
            yield from self._exchange(step)
        elif "block" in step:
            yield f"{step['asked']}   {step['ms']} ms"
            yield from self._exchange(step)
            for point in step["points"]:
                yield f"    {point['point']:36} {self.value(point)}"
        elif "fields" in step:
            yield self.say("上传的字段：", "fields of the interface:")
            for field in step["fields"]:
                name = f"{field['member']}[{field['number']}].{field['field']}"
                yield f"    {name:36} {self.value(field)}"

    def _exchange(self, step: Step) -> Iterator[str]:
        yield from _arrows(step["frames"])
        for name, value in (step.get("values") or {}).items() if isinstance(step.get("values"), Mapping) else ():
            yield f"    = {name}: {value}"
        if step["error"]:
            yield f"    ! {self.both(step['error'])}"
        else:
            self.wrong = False


class _Scan(_Teller):
    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        super().__init__(language, zone)
        self._found = 0
        self._missing = False

    def end(self) -> Iterator[str]:
        self.wrong = self._missing or not self._found
        yield self.say(f"共 {self._found} 个应答", f"answered: {self._found}")

    def tell(self, step: Step) -> Iterator[str]:
        if "kind" in step:
            yield f"{step['bus']}  {step['kind']}  {step['place']}"
            if step["others"]:
                names = ", ".join(step["others"])
                yield self.say(f"（不讲 Modbus，未扫描：{names}）", f"(not asked, they do not speak Modbus: {names})")
        elif "found" in step:
            self._found += 1
            name = step["device"] or self.say("配置中没有", "not in the site file")
            answer = self.say("应答已损坏", "broken answer") if step["broken"] else f"{step['ms']} ms"
            yield self.say(f"地址 {step['found']:3}", f"unit {step['found']:3}") + (
                f"  FC{step['function']}  {answer:>10}  {name}"
            )
        elif "missing" in step:
            self._missing = True
            yield self.say(
                f"地址 {step['missing']:3}  无应答       {step['device']}",
                f"unit {step['missing']:3}  no answer    {step['device']}",
            )
        elif "agent" in step:
            self._found += 1
            yield f"{step['agent']}  {step['identity'] or ''}  {step['ms']} ms"
        elif "failed" in step:
            self._missing = True
            yield self.both(step["failed"])


class _Frames(_Teller):
    def tell(self, step: Step) -> Iterator[str]:
        if "pin" in step:
            yield self.say(f"—— {step['zh']}（保留）", f"-- {step['pin']} (kept)") + f" {self.clock(step['at'])}"
        elif "latest" in step:
            yield self.say("—— 最近", "-- latest")
        for at, direction, data in step.get("frames", ()):
            yield f"{self.clock(at)} {'>' if direction == 'sent' else '<'} {_legible(data)}"


class _Doctor(_Teller):
    def tell(self, step: Step) -> Iterator[str]:
        for key, part in _PARTS.items():
            if key in step:
                yield from part(self, step)
                return

    def site(self, step: Step) -> Iterator[str]:
        running = self.say("运行中", "running") if step["running"] else self.say("未运行", "not running")
        yield self.say(
            f"门架 {step['gantry']}：{running}；机柜 {step['cabinets']}，设备 {step['devices']}，总线 {step['buses']}；"
            f"控制口 {step['control']}",
            f"gantry {step['gantry']}: {running}; cabinets {step['cabinets']}, devices {step['devices']}, buses"
            f" {step['buses']}; control on {step['control']}",
        )

    def bus(self, step: Step) -> Iterator[str]:
        yield ""
        busy = f"{100 * step['load']['busy']:.0f}%"
        yield f"{step['bus']}  {step['kind']}  {step['place']}  " + self.say(f"占用 {busy}", f"busy {busy}")
        for unit in step["units"]:
            name = unit["device"] or "-"
            times = "/".join("-" if unit[f"p{p}_ms"] is None else f"{unit[f'p{p}_ms']:g}" for p in (50, 95, 99))
            lately = f"{unit['lately']['failed']}/{unit['lately']['asked']}"
            yield "  " + self.say(
                f"{unit['unit']:3} {name:16} 正常 {unit['ok']}，超时 {unit['timeouts']}，错帧 {unit['bad']}，"
                f"拒绝 {unit['refused']}，迟到 {unit['late']}，近来失败 {lately}，"
                f"用时 p50/95/99 {times} ms，应答前静默 {unit['silence_ms'] or '-'} ms",
                f"{unit['unit']:3} {name:16} ok {unit['ok']}, timeouts {unit['timeouts']}, broken {unit['bad']},"
                f" refused {unit['refused']}, late {unit['late']}, failed lately {lately},"
                f" p50/95/99 {times} ms, silence before reply {unit['silence_ms'] or '-'} ms",
            )
            if unit["broken_at"]:
                places = ", ".join(f"{at}: {count}" for at, count in unit["broken_at"].items())
                yield "      " + self.say(f"错在字节 {places}", f"broken at byte {places}")
        for hint in step["hints"]:
            yield f"  {'·' if hint['note'] else '!'} {self.say(hint['zh'], hint['en'])}"
        if step["pins"]:
            pins = ", ".join(dict.fromkeys(self.both(pin) for pin in step["pins"]))
            yield "  " + self.say(f"保留的报文（frames 命令查看）：{pins}", f"frames kept (see `frames`): {pins}")

    def time(self, step: Step) -> Iterator[str]:
        clock = step["clock"]
        synchronized = {
            True: self.say("已同步", "synchronized"),
            False: self.say("未同步：平台下发命令会因时间差被拒（1003）", "NOT synchronized: commands may fail (1003)"),
            None: self.say("同步状态未知", "synchronization unknown"),
        }[clock["synchronized"]]
        yield ""
        yield self.say("时钟", "clock") + f" {clock['now']} {clock['timezone']}  {synchronized}"

    def uplink(self, step: Step) -> Iterator[str]:
        good = self.say("正常", "connected") if step["failing_since"] is None else self.say("已连上", "connected")
        state = {
            True: good,
            False: self.say("连不上", "no answer"),
            None: self.say("尚未上传", "nothing sent yet"),
        }[step["connected"]]
        since = f" ({self.clock(step['failing_since'])} …)" if step["failing_since"] else ""
        delivered = self.clock(step["delivered_at"]) if step["delivered_at"] else "-"
        yield (
            self.say("上传", "uplink")
            + f" {step['uplink']}: {state}{since} {answered(step).render(self._language)}  "
            + self.say(f"上次成功 {delivered}", f"last delivered {delivered}")
        )

    def outbox(self, step: Step) -> Iterator[str]:
        counts = step["outbox"]
        yield self.say(
            f"待传 {counts['waiting']}（事件 {counts['urgent']}），被拒 {counts['aside']}，丢失 {counts['lost']}",
            f"outbox: waiting {counts['waiting']} (events {counts['urgent']}), refused {counts['aside']},"
            f" lost {counts['lost']}",
        )

    def outages(self, step: Step) -> Iterator[str]:
        for each in step["outages"]:
            hops = tuple(Hop(**hop) for hop in each["hops"])
            said = ledger.told(Outage(**{**each, "hops": hops}), self._zone)
            yield self.say(f"断网 {said.zh}", f"offline {said.en}")

    def upload(self, step: Step) -> Iterator[str]:
        channel = step["upload"]
        yield self.say(
            f"上传 {channel}：{_hidden(step['server'])}，每 {step['interval_s']} 秒",
            f"uploads of {channel}: {_hidden(step['server'])}, every {step['interval_s']} s",
        )
        for key, name, value in (
            ("server", Text("服务器", "server"), step["file_server"]),
            ("interval_s", Text("频率", "frequency"), step["file_interval_s"]),
        ):
            if value is not None:
                filed = _hidden(str(value))
                yield "  " + self.say(
                    f"· {name.zh}由平台设置；配置文件中是 {filed}，恢复：gantry-agent state reset {key}.{channel}",
                    f"· the cloud has set the {name.en}; the site file says {filed}, which counts again after"
                    f" gantry-agent state reset {key}.{channel}",
                )

    def camera(self, step: Step) -> Iterator[str]:
        side = {"front": Text("前门", "front door"), "back": Text("后门", "back door")}[step["side"]]
        name = self.say(f"机柜 {step['cabinet']} {side.zh}摄像机", f"camera of cabinet {step['cabinet']}, {side.en}")
        if not step["pictures"]:
            said = self.say("只有视频流", "a stream only")
        elif step["asked_at"] is None:
            said = self.say("程序启动以来没有开门抓拍", "no opening since the agent started")
        elif step["failed"]:
            said = self.say("抓拍失败", "no picture") + f" {self.day(step['asked_at'])}: {self.both(step['failed'])}"
        else:
            said = self.say("上次抓拍成功", "last picture taken") + f" {self.day(step['asked_at'])}"
        newest = self.day(step["newest"]) if step["newest"] is not None else "-"
        yield f"{name}: {said}  " + self.say(f"最近保存 {newest}", f"newest kept {newest}")
        if step["stream_failed"]:
            yield "  ! " + self.say("没有视频流：", "no stream: ") + self.both(step["stream_failed"])

    def media(self, step: Step) -> Iterator[str]:
        held, most = (step["media"][key] / 1_000_000 for key in ("bytes", "max_bytes"))
        yield self.say(
            f"图片和录像占 {held:.1f} MB，上限 {most:.0f} MB（{100 * held / most:.0f}%）",
            f"pictures and clips: {held:.1f} of {most:.0f} MB ({100 * held / most:.0f}%)",
        )

    def verdict(self, step: Step) -> Iterator[str]:
        self.wrong = bool(step["wrong"])
        yield ""
        if not self.wrong:
            yield self.say("一切正常", "all is well")
        for one in step["wrong"]:
            yield f"! {self.say(one['zh'], one['en'])}"


_PARTS: Mapping[str, Callable[[_Doctor, Step], Iterator[str]]] = {
    "gantry": _Doctor.site,
    "bus": _Doctor.bus,
    "clock": _Doctor.time,
    "uplink": _Doctor.uplink,
    "outbox": _Doctor.outbox,
    "outages": _Doctor.outages,
    "upload": _Doctor.upload,
    "camera": _Doctor.camera,
    "media": _Doctor.media,
    "wrong": _Doctor.verdict,
}
_TELLERS: Mapping[str, Callable[[Language, ZoneInfo], _Teller]] = {
    "probe": _Probe,
    "scan": _Scan,
    "doctor": _Doctor,
    "frames": _Frames,
}
