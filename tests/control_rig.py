"""The control port in front of tests: served for real, with the hardware played, and a client that signs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from cloud_site import AUTH, SITE, body, signed

from gantry_agent.cloud.control import Control, ControlSettings
from gantry_agent.cloud.execution import Execution
from gantry_agent.command import Carried, Command, Done, Outcome

LOCAL = ControlSettings(listen="127.0.0.1:0")


class Site:
    """The hardware's side: notes what it is told to do, and how it ends."""

    def __init__(self) -> None:
        self.done: list[Command] = []
        self.outcome: Callable[[Command], Awaitable[Outcome]] = self._well

    async def _well(self, command: Command) -> Outcome:
        return Done()

    async def carry_out(self, command: Command) -> Carried:
        self.done.append(command)
        return Carried(await self.outcome(command))

    def ends(self, outcome: Outcome | BaseException) -> None:
        async def end(command: Command) -> Outcome:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        self.outcome = end


class Door:
    """A served control and a client in front of it."""

    def __init__(self, control: Control, site: Site, session: aiohttp.ClientSession) -> None:
        self.control, self.site, self.session = control, site, session

    async def post(self, content: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.control.port}/remotecontrol.do"
        async with self.session.post(url, data=content, headers=signed(content) if headers is None else headers) as got:
            assert got.status == 200
            assert got.headers["Content-Type"] == "application/json; charset=utf-8"
            answer = await got.json()
        assert list(answer) == ["code", "msg"]
        assert len(answer["msg"]) <= 40
        return answer

    async def code(self, content: bytes, headers: dict[str, str] | None = None) -> str:
        return (await self.post(content, headers))["code"]

    async def order(self, method: str = "cabinetControl", **business: object) -> dict[str, Any]:
        return await self.post(body(method, time.time(), **business))

    async def raw(self, content: bytes, wait_s: float = 10.0) -> bytes:
        """What comes back until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control.port)
        try:
            writer.write(content)
            async with asyncio.timeout(wait_s):
                with contextlib.suppress(ConnectionResetError):
                    return await reader.read()
            return b""
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def opened(
    store: Any, settings: ControlSettings = LOCAL, site: Site | None = None, **limits: float
) -> AsyncIterator[Door]:
    hardware = site or Site()
    command_s = limits.pop("command_s", 30.0)
    tolerance_s = settings.clock_tolerance_s
    execution = Execution(SITE, hardware.carry_out, store, time.time, tolerance_s=tolerance_s, command_s=command_s)
    control = Control(settings, SITE, AUTH, execution, time.time, **limits)
    ready = asyncio.Event()
    serving = asyncio.create_task(control.run(ready))
    try:
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({serving, waiting}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if serving.done():
            serving.result()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            yield Door(control, hardware, session)
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
