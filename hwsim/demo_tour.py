"""The tour of the demo: what is done to the gantry, and what must then be seen at the cloud. No processes here.

Every step acts at one end, through hwsim's or the cloud's API, and looks at the other: an upload the strict cloud took,
an answer of the agent. A step that was not seen true raises StepFailed; nothing is assumed.
"""

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from hwsim.cloud_forms import ERROR_WORDS
from hwsim.cloud_rules import leaves
from hwsim.cloud_view import arrows, cabinet_table, computer_table, telling
from hwsim.demo_site import DemoSite
from hwsim.terminal import Language, Paint, Text

POLL_S = 5.0
EVENT_S = 20.0  # an urgent upload must be there far sooner; a loaded machine is forgiven

Upload = Mapping[str, Any]
Wanted = Mapping[str, str]  # path in the cabinet → value

# Each device of the demo's site by one field that only it gives: all of them numbers in an upload means all are read.
EVERY_DEVICE = (
    *("elec[1].voltage", "rectifier[1].outputVoltage", "rectifier[2].outputVoltage", "ups[1].outputCurrent"),
    *("ups[2].runningState", "airConditioners[1].isWorking", "thermohygrometer.temperature"),
    *("waterloggingSensor.isWarning", "smokeSensor.isWarning", "doors.frontDoorClosed", "doors.backDoorLocked"),
    "thunderSpd[1].lightningCount",
)
EVERY_COMPUTER = ("[1].memoryUsage", "[1].ip", "[2].memoryUsage", "[2].dataDiskSize")


class StepFailed(Exception):
    """Something that should have been seen was not."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(slots=True)
class Tour:
    """The two APIs, the voice, and where in the cloud's list of uploads the tour stands."""

    site: DemoSite
    session: aiohttp.ClientSession
    tell: Callable[[str], None]
    language: Language
    paint: Paint
    cabinet: int = 1
    since: int = 0
    latest: Mapping[str, object] = field(default_factory=dict)  # the cabinet's leaves in the last accepted upload
    before: Mapping[str, object] = field(default_factory=dict)  # the same when something was last done
    opened: str = ""  # when the front door was, as the cloud was told

    # --- words ------------------------------------------------------------------------------------------------------

    def say(self, zh: str, en: str) -> None:
        self.tell(Text(zh, en).render(self.language))

    def heading(self, zh: str, en: str) -> None:
        self.tell("")
        self.tell(self.paint.bold(f"━━ {Text(zh, en).render(self.language)}"))

    def seen(self, zh: str, en: str) -> None:
        self.tell(f"  {self.paint.green('✓')} {Text(zh, en).render(self.language)}")

    # --- acting -----------------------------------------------------------------------------------------------------

    async def plant(self, **order: Any) -> float:
        """Do something to the simulated cabinet; return the Unix time it was asked for."""
        await self._remember()
        at = time.time()
        async with self.session.post(
            f"{self.site.hardware_url}/plant", json={"cabinet": self.cabinet, **order}
        ) as reply:
            if reply.status != 200:
                said, asked = (await reply.text()).strip(), _fields(order)
                raise StepFailed(Text(f"hwsim 拒绝 {asked}：{said}", f"hwsim refused {asked}: {said}"))
        return at

    async def command(self, business: Mapping[str, str], code: str, **forged: str) -> float:
        """Have the cloud send a cabinetControl, and insist on its answer; return the Unix time it was sent."""
        await self._remember()
        return await self._send(business, code, **forged)

    async def ask_now(self) -> None:
        """Have the cloud ask for a status at once (updateNow), when the slow measurements have been read again."""
        await asyncio.sleep(self.site.slow_s + 1)
        await self._send({"updateNow": "1"}, "1000")

    async def fetch(self, business: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """Have the cloud ask for a file (getCabinetImageVedio); give it with the headers it came with."""
        order = {"target": self.site.control_url, "method": "getCabinetImageVedio", "business": business, "bytes": True}
        async with self.session.post(f"{self.site.cloud_url}/command", json=order) as reply:
            result = await reply.json()
        headers = {name.lower(): value for name, value in result.get("headers", {}).items()}
        if not headers.get("content-type", "").startswith("image/"):
            got = _came(result)
            raise StepFailed(
                Text(f"查询图片没有得到图片：{got.zh}", f"cannot see a picture answered to the query: {got.en}")
            )
        return base64.b64decode(result["bytes"]), headers

    async def cuts(self, supply: str) -> tuple[int, float]:
        """How often the hardware has seen a supply cut, and for how many seconds the last time."""
        async with self.session.get(f"{self.site.hardware_url}/state") as reply:
            state = await reply.json()
        found = state["plant"][str(self.cabinet)]["supplies"].get(supply, {"cuts": 0, "last_cut_s": 0.0})
        return found["cuts"], found["last_cut_s"]

    async def _send(self, business: Mapping[str, str], code: str, **forged: str) -> float:
        at = time.time()
        order = {"target": self.site.control_url, "method": "cabinetControl", "business": business, **forged}
        async with self.session.post(f"{self.site.cloud_url}/command", json=order) as reply:
            result = await reply.json()
        answer, asked = result.get("answer"), _fields({**business, **forged})
        if not isinstance(answer, dict) or answer.get("code") != code:
            got = _came(result)
            raise StepFailed(
                Text(
                    f"命令 {asked} 的应答应为 {code}，得到：{got.zh}",
                    f"cannot see {code} answered to {asked}; what came: {got.en}",
                )
            )
        said = f"{asked} → {answer['code']} {answer['msg']} ({result['elapsed_ms']} ms)"
        self.seen(f"平台下发 {said}", f"the cloud sent {said}")
        return at

    # --- seeing -----------------------------------------------------------------------------------------------------

    async def _remember(self) -> None:
        """Read what the cloud has so far: only what is not so yet can be seen to follow from what is done next."""
        await self._read(0)
        self.before = self.latest

    async def _read(self, wait_s: float) -> list[Upload]:
        query = f"since={self.since}&wait_s={wait_s:.2f}"
        async with self.session.get(f"{self.site.cloud_url}/uploads?{query}") as reply:
            read: list[Upload] = await reply.json()
        for upload in read:
            self.since = upload["number"]
            if upload["code"] == "1000" and upload["method"] == "cabinetStatusUpdate":
                self.latest = dict(leaves(upload["payload"]["cabinetStatus"]))
        return read

    async def uploads(self, enough: Callable[[Upload], bool], within_s: float, what: Text) -> None:
        """Read on in the cloud's list until an accepted upload is enough."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            accepted = [upload for upload in await self._read(min(left, POLL_S)) if upload["code"] == "1000"]
            if True in list(map(enough, accepted)):  # all are looked at: `enough` also tells what it sees
                return
        raise StepFailed(
            Text(
                f"{within_s:.0f} 秒内平台没有收到：{what.zh}",
                f"cannot see within {within_s:.0f} s at the cloud: {what.en}",
            )
        )

    async def cabinet_shows(self, wanted: Wanted, at: float, within_s: float = EVENT_S) -> None:
        """Wait until the cloud has the cabinet so, and tell what came how long after `at`.

        What was so before anything was done proves nothing, and fails.
        """
        said = ", ".join(f"{path}={value}" for path, value in wanted.items())
        if wanted.items() <= self.before.items():
            raise StepFailed(Text(f"操作之前已是 {said}", f"cannot show {said}: it was so before"))

        def enough(upload: Upload) -> bool:
            changes = telling(upload["changes"] or ())
            if upload["method"] == "cabinetStatusUpdate" and changes:
                after_ms = (upload["received"] - at) * 1000  # two readings of one clock, moments apart
                told = arrows(changes)
                self.seen(f"{after_ms:.0f} ms 后平台收到：{told}", f"{after_ms:.0f} ms later the cloud had: {told}")
            return bool(wanted.items() <= self.latest.items())

        if not wanted.items() <= self.latest.items():
            await self.uploads(enough, within_s, Text(said, said))


def _fields(order: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={_fields(value) if isinstance(value, Mapping) else value}" for name, value in order.items()
    )


def _came(result: Mapping[str, Any]) -> Text:
    """Say what came back from the gantry, or why nothing did."""
    answer = result.get("answer")
    if isinstance(answer, Mapping):
        said = f"{answer.get('code')} {answer.get('msg')}".strip()
        return Text(said, said)
    if "error" in result:
        return Text(f"没有应答（{result['error']}）", f"no answer ({result['error']})")
    status, size = result.get("status"), result.get("size")
    return Text(
        f"HTTP {status}，{size} 字节，不是接口的应答", f"HTTP {status}, {size} bytes, no answer of the interface"
    )


def missing(upload: Upload, member: str, paths: Sequence[str]) -> list[str]:
    """Which of `paths` an upload has no value for."""
    values = dict(leaves(upload["payload"][member]))
    return [path for path in paths if values.get(path) in (None, "", *ERROR_WORDS)]


# --- the steps ------------------------------------------------------------------------------------------------------


async def first_uploads(tour: Tour) -> None:
    tour.heading("首次上传：全部设备的读数", "First uploads: the readings of every device")
    within_s = 2 * tour.site.interval_s + 30
    members = (
        ("computerStatusUpdate", "computerStatus", EVERY_COMPUTER),
        ("cabinetStatusUpdate", "cabinetStatus", EVERY_DEVICE),
    )
    found: dict[str, Upload] = {}
    lacking: dict[str, list[str]] = {name: list(paths) for _, name, paths in members}

    def complete(upload: Upload) -> bool:
        for method, name, paths in members:
            if upload["method"] == method and name not in found:
                lacking[name] = missing(upload, name, paths)
                if not lacking[name]:
                    found[name] = upload
        return len(found) == len(members)

    try:
        await tour.uploads(complete, within_s, Text("", ""))
    except StepFailed as error:
        said = ", ".join(
            f"{name}{path}" if path.startswith("[") else path for name, paths in lacking.items() for path in paths
        )
        raise StepFailed(
            Text(f"{within_s:.0f} 秒内仍缺少 {said}", f"cannot see after {within_s:.0f} s: {said}")
        ) from error
    for line in computer_table(found["computerStatus"]["payload"]["computerStatus"], tour.paint):
        tour.tell(line)
    for line in cabinet_table(found["cabinetStatus"]["payload"]["cabinetStatus"], tour.paint):
        tour.tell(line)
    tour.seen(
        "平台已接受工控机和机柜的上传（1000），每台设备都有读数",
        "the cloud took both uploads (1000); every device is read",
    )


async def mains_failure(tour: Tour) -> None:
    tour.heading("市电停电", "Mains failure")
    at = await tour.plant(mains=False)
    await tour.cabinet_shows({"elec[1].status": "0"}, at)
    await tour.cabinet_shows({"rectifier[1].status": "0", "rectifier[2].status": "0"}, at)
    await tour.ask_now()
    await tour.cabinet_shows({"ups[1].runningState": "3"}, at)


async def door(tour: Tour) -> None:
    tour.heading(
        "平台远程解锁前门（cmd 2），开门，关门", "The cloud unlocks the front door (cmd 2); it is opened, and closed"
    )
    at = await tour.command({"cmd": "2", "cabinetId": "1", "unlockDoorId": "1"}, "1000")
    await tour.cabinet_shows({"doors.frontDoorLocked": "0", "doors.frontDoorUnlockType": "2"}, at)
    at = await tour.plant(door={"front": "open"})
    await tour.cabinet_shows({"doors.frontDoorClosed": "0", "doors.frontDoorOpenIllegally": "0"}, at)
    at = await tour.plant(door={"front": "closed"})
    locked = {"doors.frontDoorClosed": "1", "doors.frontDoorLocked": "1", "doors.frontDoorUnlockType": "0"}
    opened = str(tour.latest["doors.frontDoorChangeTime"])  # as the cloud was told
    await tour.cabinet_shows(locked, at)
    tour.opened = opened


async def picture(tour: Tour) -> None:
    tour.heading("平台查询这次开门的图片（getCabinetImageVedio）", "The cloud fetches the picture of that opening")
    content, headers = await tour.fetch({"cabinetId": "1", "doorOpenTime": tour.opened})
    if hashlib.md5(content).hexdigest() != headers.get("binfile-md5"):
        raise StepFailed(Text("图片的 MD5 与报头不符", "cannot trust the picture: its MD5 is not the header's"))
    sees = re.search(rb"hwsim cabinet=1 side=front ms=(\d+)", content)
    if sees is None:
        raise StepFailed(Text("图片不是前门摄像机的", "cannot see the front door's camera in the picture"))
    kept = tour.site.file.with_name("front-door.jpg")
    await asyncio.to_thread(kept.write_bytes, content)
    kind, size = headers["content-type"], len(content) / 1000
    tour.seen(
        f"收到 {kind}，{size:.0f} kB，MD5 相符，画面是前门；已存为 {kept}",
        f"{kind} of {size:.0f} kB came, its MD5 is right, it shows the front door; kept as {kept}",
    )


async def reboot(tour: Tour) -> None:
    ip, port, output = tour.site.relay
    tour.heading(
        f"经继电器远程重启（cmd 1）：{output} 断电再恢复", f"Reboot by a relay (cmd 1): {output} is cut and comes back"
    )
    before, _ = await tour.cuts(output)
    await tour.command({"cmd": "1", "rebootIp": ip, "rebootPort": str(port)}, "1000")
    after, lasted_s = await tour.cuts(output)
    if after != before + 1:
        raise StepFailed(Text(f"设备侧没有看到 {output} 断电", f"cannot see at the hardware that {output} was cut"))
    tour.seen(
        f"设备侧：{output} 断电 {lasted_s:.1f} 秒后恢复", f"at the hardware {output} was cut for {lasted_s:.1f} s"
    )


async def mains_return(tour: Tour) -> None:
    tour.heading("市电恢复", "Mains returns")
    at = await tour.plant(mains=True)
    await tour.cabinet_shows({"elec[1].status": "1", "elec[1].warningMsg": ""}, at)
    await tour.cabinet_shows({"rectifier[1].status": "1", "rectifier[2].status": "1"}, at)
    await tour.ask_now()
    await tour.cabinet_shows({"airConditioners[1].isWorking": "1"}, at)


async def air_conditioner(tour: Tour) -> None:
    tour.heading("空调待机、运行（cmd 3）", "Air conditioner to standby and back to running (cmd 3)")
    for operate, working in (("2", "0"), ("1", "1")):
        at = await tour.command({"cmd": "3", "cabinetId": "1", "airId": "1", "airOperate": operate}, "1000")
        await tour.ask_now()  # it is no alarm: it would come with the next status upload
        await tour.cabinet_shows({"airConditioners[1].isWorking": working}, at)


async def refusals(tour: Tour) -> None:
    tour.heading("应当拒绝的命令", "Commands that must be refused")
    await tour.command({"cmd": "2", "unlockDoorId": "1"}, "1001", auth="not-the-code")
    await tour.command({"cmd": "3", "cabinetId": "1", "airId": "9", "airOperate": "1"}, "1002")


async def no_complaints(tour: Tour) -> None:
    tour.heading("平台的结论", "The cloud's verdict")
    async with tour.session.get(f"{tour.site.cloud_url}/summary") as reply:
        summary = await reply.json()
    if summary["complaints"] or summary["accepted"] != summary["uploads"]:
        count, good, faults = summary["uploads"], summary["accepted"], summary["complaints"]
        raise StepFailed(
            Text(
                f"{count} 次上传中接受了 {good} 次，挑出 {faults} 处错误（见上面平台的输出）",
                f"cannot accept every upload: {good} of {count} were; the cloud says why above ({faults})",
            )
        )
    count = summary["uploads"]
    tour.seen(f"共 {count} 次上传，全部通过严格检查", f"{count} uploads, all of them past the strict checks")


STEPS: tuple[tuple[Text, Callable[[Tour], Awaitable[None]]], ...] = (
    (Text("首次上传", "first uploads"), first_uploads),
    (Text("市电停电", "mains failure"), mains_failure),
    (Text("前门", "front door"), door),
    (Text("开门图片", "picture"), picture),
    (Text("继电器重启", "reboot"), reboot),
    (Text("市电恢复", "mains return"), mains_return),
    (Text("空调", "air conditioner"), air_conditioner),
    (Text("拒绝的命令", "refusals"), refusals),
    (Text("结论", "no complaints"), no_complaints),
)


async def walk(tour: Tour) -> bool:
    """Go through all steps; stop at the first that was not seen true, say so, and return whether there was none."""
    for name, step in STEPS:
        try:
            await step(tour)
        except StepFailed as error:
            why = error.text
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            said = str(error) or type(error).__name__
            why = Text(f"模拟器没有应答：{said}", f"cannot reach the simulator: {said}")
        else:
            continue
        tour.tell(f"  {tour.paint.red('✗')} [{name.render(tour.language)}] {why.render(tour.language)}")
        return False
    return True
