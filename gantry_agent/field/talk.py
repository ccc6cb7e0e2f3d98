"""One order as it is talked through with its device: ask what must be known, write, read back until it shows.

`plan_writes` says what is to be asked and written; the bus is a poller's, each exchange in its command lane. Who may
order what, and that two orders do not mix, is the actuator's business.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gantry_agent.command import Done, Failed, Outcome
from gantry_agent.field import codec
from gantry_agent.field.plan_stages import Confirm, Looking, Mistimed, Permit, Stage, WhileTimed, Write, finished
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile, read_name
from gantry_agent.field.request import Block, ReadRequest, Reply, Request, WriteRequest
from gantry_agent.field.trace import Trace, on_the_wire
from gantry_agent.model import BadReply, Device, DeviceRefused, NoReply, Quality, Value
from gantry_agent.text import Text

READ_BACK_EVERY_S = 0.2
LOOKS = 2  # a question that only prepares a write is asked again: nothing has happened yet
SILENT, GARBLED, UNREAD = Failed("设备无应答"), Failed("设备应答有误"), "回读无应答"

# Modbus Application Protocol V1.1b3 §7; RFC 3416 §3
_REFUSALS: Mapping[bool, Mapping[int, str]] = {
    False: {1: "无此功能", 2: "无此地址", 3: "数值不允许", 4: "设备故障", 5: "已收到处理中", 6: "设备忙"},
    True: {
        2: "无此对象",
        6: "无权限",
        7: "类型不符",
        10: "数值不允许",
        12: "当前状态不允许",
        16: "权限不足",
        17: "不可写",
    },
}


def refused(fault: DeviceRefused, bus: str) -> Failed:
    """What the asker hears of a device that declined, on a bus of that kind: its code, and what the code means."""
    meaning = _REFUSALS[bus == "snmp"].get(fault.code)
    return Failed(f"设备拒绝{fault.code}{f'({meaning})' if meaning else ''}")


Seen = Mapping[str, Value | Quality]


class _Ended(Exception):
    """The order goes no further."""

    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Talk:
    """One device on its bus, and the trace of one order."""

    poller: Poller
    bus: str  # its kind
    device: Device
    profile: Profile
    trace: Trace

    async def carry_out(self, write: Write) -> Outcome:
        """Write, and tell how it ended. Raises DeviceRefused."""
        try:
            for permit in write.permits:
                await self._permitted(permit)
            unsure = None
            for stage in write.requests:
                request = await self._ready(stage)
                if request is not None:
                    unsure = await self._write(request) or unsure
        except _Ended as end:
            return end.outcome
        if not write.requests:  # the device does that by itself
            return Done()
        if not write.proofs:
            return unsure or Failed("已下发，设备无回读，无法证实")
        return await self._proven(write.proofs, unsure)

    async def rehearse(self, write: Write) -> Outcome:
        """Note what `carry_out` would write, as exactly as can be told; nothing is written."""
        try:
            for permit in write.permits:
                await self._permitted(permit)
            for stage in write.requests:
                unset = isinstance(stage, WhileTimed) and stage.within_s > 0  # what is set before it, was not
                request = stage.then if isinstance(stage, WhileTimed) and unset else await self._ready(stage)
                if request is not None:
                    self._note(Text("将写入", "would write"), request)
        except _Ended as end:
            return end.outcome
        return Done()

    async def told(self, blocks: Sequence[Block]) -> Seen | Failed:
        """Read what an order depends on, or tell why it cannot be read. Raises DeviceRefused."""
        seen: dict[str, Value | Quality] = {}
        try:
            for block in blocks:
                seen |= self._decoded(block, await self._look(block.request))
        except _Ended as end:
            return end.outcome
        self._read(seen, f"{self.device.key} ")
        return seen

    # --- before

    async def _permitted(self, permit: Permit) -> None:
        for key, value in self._decoded(permit.block, await self._look(permit.block.request)).items():
            if value not in permit.values:
                valid = ", ".join(map(str, permit.values))
                self.trace.note(
                    f"{key} 读数 {value}：只有为 {valid} 时才写入",
                    f"{key} reads {value}: nothing is written unless it is one of {valid}",
                )
                raise _Ended(Failed(f"设备不允许（{_short(value)}）"))

    async def not_ready(self, stage: Stage) -> Failed | None:
        """Tell why a stage could not be written now; nothing is. Raises DeviceRefused."""
        try:
            await self._ready(stage)
        except _Ended as end:
            return end.outcome
        return None

    async def _ready(self, stage: Stage) -> WriteRequest | None:
        """Make a request of a stage; what it depends on is read. None if nothing has to be written."""
        if not isinstance(stage, Looking):
            return stage
        until = time.monotonic() + (stage.within_s if isinstance(stage, WhileTimed) else 0.0)
        while True:
            reply = await self._look(stage.first)
            try:
                return finished(stage, reply)
            except codec.RowsMoved as e:
                self.trace.add(e.text)
                raise _Ended(Failed("设备表行已变，未下发")) from e
            except Mistimed as e:
                if time.monotonic() + READ_BACK_EVERY_S > until:
                    self.trace.add(e.text)
                    raise _Ended(Failed(e.why)) from e
            except BadReply as e:
                raise _Ended(GARBLED) from e
            await asyncio.sleep(READ_BACK_EVERY_S)

    def _note(self, what: Text, request: Request) -> None:
        frame = on_the_wire(request, self.bus)
        self.trace.note(f"{self.device.key} {what.zh} {frame}", f"{self.device.key} {what.en} {frame}")

    def _read(self, seen: Seen, whose: str = "") -> None:
        items = seen.items()
        self.trace.note(
            "，".join(f"{whose}{key} 读数 {value}" for key, value in items),
            ", ".join(f"{whose}{key} reads {value}" for key, value in items),
        )

    async def _look(self, request: ReadRequest) -> Reply:
        outcome = SILENT
        for _ in range(LOOKS):
            try:
                return await self.poller.transact(request, self.profile.timing)
            except NoReply:
                outcome = SILENT
            except BadReply:
                outcome = GARBLED
        self._note(Text("没有可用的应答，未写入；所问", "no usable answer, so nothing was written, to"), request)
        raise _Ended(outcome)

    def _decoded(self, block: Block, reply: Reply) -> Seen:
        try:
            return codec.decode(block, reply, self.profile, self.device)
        except BadReply as e:
            raise _Ended(GARBLED) from e

    # --- the write

    async def _write(self, request: WriteRequest) -> Failed | None:
        """Write once; return what to say if the read-back does not show it after all.

        A write whose answer was lost may have been done: that is for the read-back to say.
        """
        self._note(Text("写入", "write"), request)
        try:
            await self.poller.transact(request, self.profile.timing)
        except NoReply:
            self.trace.note("无应答", "no answer")
            return SILENT
        except BadReply:
            self.trace.note("应答不可用", "no usable answer")
            return GARBLED
        return None

    # --- after

    async def _proven(self, proofs: tuple[Confirm, ...], unsure: Failed | None) -> Outcome:
        """Read back until every proof shows the order; one that fails on the way is read again in time.

        A device that did not answer the write (`unsure`) and then not `LOOKS` times running is not there.
        """
        since, before, unread = time.monotonic(), "", 0
        for proof in proofs:
            while (said := await self._shown(proof)) is not None:
                if said != before:
                    self.trace.note(
                        f"{proof.point} 应为 {proof.expected}：{said}", f"{proof.point}, to be {proof.expected}: {said}"
                    )
                    before = said
                unread = unread + 1 if said == UNREAD else 0
                late = time.monotonic() + READ_BACK_EVERY_S > since + proof.within_s
                if late or (unsure and unread >= LOOKS):
                    return unsure if unsure and said == UNREAD else Failed(said)
                await asyncio.sleep(READ_BACK_EVERY_S)
        return Done()

    async def _shown(self, proof: Confirm) -> str | None:
        """Read a proof once: None if it shows the order, else what to say."""
        try:
            reply = await self.poller.transact(proof.block.request, self.profile.timing)
            seen = codec.decode(proof.block, reply, self.profile, self.device)
        except (NoReply, BadReply):
            return UNREAD
        for key, value in seen.items():
            if not proof.shown_by(value):
                return f"{self._whose(key)}回读{_short(value)}"
        self._read(seen)
        return None

    def _whose(self, key: str) -> str:
        """Tell by the site's number which of several units a row's point is of."""
        name = read_name(key)
        numbers = self.device.roles.get(name.member, ()) if name else ()
        place = (name.number or 1) if name else 1
        return f"{numbers[place - 1]}号" if 1 < len(numbers) >= place else ""


def _short(value: Value | Quality) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
