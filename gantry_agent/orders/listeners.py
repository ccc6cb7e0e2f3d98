"""Door controllers that push their events to us: where a push leads, and who is set in a controller as its listener.

A push makes its controller be asked at once (`field.bus.pushes` says why no more than that). A controller knows one
listener; whom it has is changed only where the site file says `set_listener`, since another program may live by its
events: it is read first, written only when it is another, read back, and every such write is logged and in the audit.
It is looked at again when a controller that was lost is back, and every hour.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

from gantry_agent.core.audit import Entry
from gantry_agent.field.bus.pushes import Pushes
from gantry_agent.field.framing import uhppote
from gantry_agent.field.framing.uhppote import Listener
from gantry_agent.field.plan_controller import UHPPOTE, serial
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.request import AskController
from gantry_agent.field.trace import on_the_wire
from gantry_agent.model import AgentError, Answered, BadReply, DeviceRefused, DoorController, Missed, NoReply, Site
from gantry_agent.text import Text

log = logging.getLogger(__name__)

# Pushes of one controller are heeded so often: a door that opens right after the swipe is seen within this.
GAP_S: Final = 0.1
ASK_S: Final = 15.0  # of one question with its turn on the bus; one whose task has died does not hold this for ever
LOOK_S: Final = 3600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0  # between attempts, doubling

Note = Callable[[Entry], None]


class Listeners:
    """The listeners of a site; `note` keeps an entry of the audit, `found` is told of a bus whose address changed."""

    def __init__(
        self,
        site: Site,
        profiles: Mapping[str, Profile],
        pollers: Mapping[str, Poller],
        note: Note,
        found: Callable[[str], None],
    ) -> None:
        self._site, self._pollers, self._found = site, pollers, found
        boards: dict[tuple[str, int], list[str]] = {}
        for key, device in site.devices.items():
            if profiles[key].protocol == UHPPOTE:
                boards.setdefault((device.bus, serial(profiles[key], device)), []).append(key)
        self.pushes = tuple(self._pushes(boards))
        self._misses: dict[str, int] = {}
        self._kept = tuple(
            _Kept(one, site.devices[one.device].bus, profiles[one.device], listener, pollers, site, note)
            for one in site.controllers
            if (listener := self._wanted(site.devices[one.device].bus))
        )

    def _pushes(self, boards: Mapping[tuple[str, int], list[str]]) -> list[Pushes]:
        """One for each port; the controllers of several buses may push to the same."""
        places: dict[str, list[str]] = {}
        for bus in self._site.buses.values():
            if bus.kind == UHPPOTE and bus.settings.get("listen"):
                places.setdefault(str(bus.settings["listen"]), []).append(bus.name)
        return [
            Pushes(
                listen,
                {name: str(self._site.buses[name].settings["host"]) for name in names},
                {board: devices for board, devices in boards.items() if board[0] in names},
                self._pushed,
                self._found,
            )
            for listen, names in places.items()
        ]

    def _wanted(self, bus: str) -> Listener | None:
        settings = self._site.buses[bus].settings
        if not settings.get("set_listener"):
            return None
        host, _, port = str(settings["listen"]).rpartition(":")
        return Listener(IPv4Address(host), int(port))

    def _pushed(self, device: str, packet: bytes) -> None:
        """A controller says, or somebody in its name, that there is news."""
        poller = self._pollers.get(self._site.devices[device].bus)
        if poller is not None and poller.hint(device, GAP_S):
            poller.journal.frame(time.monotonic(), "received", packet)  # of a flood no more than is heeded

    def heard(self, message: Answered | Missed) -> None:
        """Take in who answers; called on the event loop, never waits."""
        if isinstance(message, Missed):
            self._misses[message.device] = self._misses.get(message.device, 0) + 1
        elif self._misses.pop(message.device, 0) >= self._site.misses:
            for one in self._kept:
                if one.name == message.device:
                    one.look()

    async def run(self) -> None:
        """Keep the listeners that the site file asks for until cancelled."""
        async with asyncio.TaskGroup() as group:
            for one in self._kept:
                group.create_task(one.run(), name=f"listener {one.name}")
            await asyncio.Event().wait()


class _Other(AgentError):
    """The controller did not take the listener that was written."""


class _Kept:
    """The listener of one controller."""

    def __init__(
        self,
        controller: DoorController,
        bus: str,
        profile: Profile,
        wanted: Listener,
        pollers: Mapping[str, Poller],
        site: Site,
        note: Note,
    ) -> None:
        self.name = controller.device
        self._serial, self._unit = controller.serial, site.devices[controller.device].unit
        self._bus, self._wanted, self._poller, self._timing = bus, wanted, pollers[bus], profile.timing
        self._note = note
        self._failures = 0
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Look now who is set."""
        self._failures = 0
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            await self._round()
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures - 1, 16)) if self._failures else LOOK_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _round(self) -> None:
        before: Listener | None = None
        try:
            held = await self._held()
            if (held.address, held.port) != (self._wanted.address, self._wanted.port):
                before = held
                await self._set(held)
        except (NoReply, BadReply, DeviceRefused, _Other) as fault:
            self._failures += 1
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            log.log(level, "cannot have door controller %s push its events to %s: %s", self.name, self._wanted, fault)
            if before is not None and self._failures == 1:
                self._tell(before, Text(f"未完成：{fault.text.zh}；继续重试", f"not done: {fault}; trying until it is"))
            return
        if before is not None:
            log.warning("door controller %s pushes its events to %s now; before to %s", self.name, self._wanted, before)
            self._tell(before, Text("已写入并读回", "written and read back"))
        self._failures = 0

    async def _held(self) -> Listener:
        return uhppote.read_listener(await self._asked(self._request(uhppote.GET_LISTENER)))

    async def _set(self, before: Listener) -> None:
        """Write the address; how often the controller tells its status unasked stays as it is."""
        await self._asked(self._setting(before))
        held = await self._held()
        if (held.address, held.port) != (self._wanted.address, self._wanted.port):
            raise _Other(Text(f"读回的是 {held}", f"it reads back {held}"))

    def _setting(self, before: Listener) -> AskController:
        wanted = Listener(self._wanted.address, self._wanted.port, before.every_s)
        return self._request(uhppote.SET_LISTENER, uhppote.set_listener(wanted))

    def _request(self, function: int, data: bytes = b"") -> AskController:
        return AskController(self._unit, self._serial, function, data)

    async def _asked(self, request: AskController) -> bytes:
        try:
            async with asyncio.timeout(ASK_S):
                reply = await self._poller.transact(request, self._timing)
        except TimeoutError:
            raise NoReply(f"cannot ask {self.name}: its bus is busy or has stopped") from None
        assert isinstance(reply, bytes)
        return reply

    def _tell(self, before: Listener, outcome: Text) -> None:
        who = Text("站点配置", "the site file")
        what = Text(
            f"门禁控制器 {self.name} 的事件接收地址由 {before} 改为 {self._wanted}",
            f"listener of door controller {self.name} changed from {before} to {self._wanted}",
        )
        steps = (on_the_wire(self._setting(before), UHPPOTE),)
        self._note(Entry(time.time(), who.kept(), "site", what.kept(), "", "", steps, outcome.kept()))
