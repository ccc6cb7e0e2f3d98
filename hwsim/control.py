"""The simulator's control: an HTTP API that shows and changes a running simulation. JSON in and out.

GET / (what can be asked), /state, /registers?device=, /faults; POST /plant, /fault, /powercycle, /unplug, /replug,
/speed, /camera; DELETE /fault?device=. A wrong request is answered 400 with a text that lists what is valid. For
loopback: there is no authentication.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from hwsim import wishes
from hwsim.devices import PRODUCTS, spoken
from hwsim.devices.oids import SnmpProduct
from hwsim.devices.spoken import SpokenProduct
from hwsim.devices.zte import ZteProduct
from hwsim.faults import KINDS
from hwsim.rack import Rack
from hwsim.wires import camera
from hwsim.wires.camera import Cameras
from hwsim.wires.listener import WireFault, unheard
from hwsim.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The handlers, over one world and its rack."""

    def __init__(self, world: World, rack: Rack, cameras: Cameras) -> None:
        self._world = world
        self._rack = rack
        self._cameras = cameras

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_complain], client_max_size=64 * 1024)
        app.router.add_get("/", self.words)
        app.router.add_get("/state", self.state)
        app.router.add_get("/registers", self.registers)
        app.router.add_get("/cards", self.cards)
        app.router.add_get("/faults", self.faults)
        app.router.add_post("/plant", self.plant)
        app.router.add_post("/fault", self.fault)
        app.router.add_delete("/fault", self.heal)
        app.router.add_post("/powercycle", self.power_cycle)
        app.router.add_post("/unplug", self.unplug)
        app.router.add_post("/replug", self.replug)
        app.router.add_post("/speed", self.speed)
        app.router.add_post("/camera", self.camera)
        return app

    async def words(self, request: web.Request) -> web.Response:
        """What can be asked for: the routes, and the keys of the bodies."""
        routes = [f"{r.method} {r.resource.canonical}" for r in request.app.router.routes() if r.resource]
        devices = {key: spec.profile for key, spec in self._world.site.devices.items()}
        return web.json_response(
            {
                "routes": [route for route in routes if not route.startswith("HEAD")],
                "plant": sorted([wishes.CARD, *wishes.PLANT]),
                "computer": list(wishes.HOST),
                "faults": dict(KINDS),
                "devices": devices,
                "wires": list(self._rack.wires),
                "cameras": {name: self._cameras.describe(name) for name in self._cameras.specs},
                "camera faults": dict(camera.KINDS),
            }
        )

    async def state(self, _request: web.Request) -> web.Response:
        return web.json_response(self._state())

    def _state(self) -> dict[str, Any]:
        world = self._world
        return {
            "elapsed_s": round(world.elapsed_s, 3),
            "speed": world.speed,
            "plant": {str(number): asdict(plant) for number, plant in world.plants.items()},
            "computers": {key: asdict(host) for key, host in world.hosts.items()},
            "devices": {key: self._device(key) for key in world.site.devices},
            "wires": {
                name: {"place": wire.place, "plugged": self._rack.plugged(name), "broken": self._rack.broken(name)}
                for name, wire in self._rack.wires.items()
            },
        }

    def _device(self, key: str) -> dict[str, Any]:
        spec, fault = self._world.site.devices[key], self._world.faults.of(key)
        seen = self._world.seen(spec)
        return {
            "profile": spec.profile,
            "wire": spec.wire,
            "unit": spec.unit,
            "memory": {str(cell): value for cell, value in seen.memory.items()},
            "inputs": [int(level) for level in seen.inputs],
            "fault": fault.kind if fault else None,
        }

    async def registers(self, request: web.Request) -> web.Response:
        """The raw image of one device: what a client would read, by address, OID or command."""
        spec = self._world.site.devices[wishes.device(self._world, request.query.get("device"))]
        seen = self._world.seen(spec)
        if spec.profile in wishes.SNMP_PROFILES:
            product: SnmpProduct = self._world.snmp(spec)
            cells = product.table(seen).items()
            return web.json_response({oid: {"type": cell.kind, "value": _plain(cell.value)} for oid, cell in cells})
        if isinstance(talker := PRODUCTS[spec.profile], SpokenProduct):
            return web.json_response(spoken.shown(talker, seen))
        if isinstance(known := PRODUCTS[spec.profile], ZteProduct):
            return web.json_response(dict(known.values(seen)))
        if spec.key in self._world.panels:
            raise wishes.WishFault(f"cannot show registers of {spec.key}: it has none, see /cards")
        image = self._world.modbus(spec).image(seen)
        tables = {"coils": image.coils, "discrete": image.discrete, "holding": image.holding, "input": image.input}
        return web.json_response({name: {str(k): v for k, v in table.items()} for name, table in tables.items()})

    async def cards(self, request: web.Request) -> web.Response:
        """The cards that a door controller holds: number, last day and doors."""
        key = wishes.device(self._world, request.query.get("device"))
        panel = self._world.panels.get(key)
        if panel is None:
            raise wishes.WishFault(f"cannot list cards of {key}: it keeps none; valid: {', '.join(self._world.panels)}")
        return web.json_response({str(one.number): [one.last.hex(), list(one.doors)] for one in panel.cards})

    async def faults(self, _request: web.Request) -> web.Response:
        found = {key: self._world.faults.of(key) for key in self._world.site.devices}
        return web.json_response({key: asdict(fault) for key, fault in found.items() if fault})

    async def plant(self, request: web.Request) -> web.Response:
        wishes.plant(self._world, await _body(request))
        return web.json_response(self._state()["plant"])

    async def fault(self, request: web.Request) -> web.Response:
        wishes.fault(self._world, await _body(request), asyncio.get_running_loop().time())
        return await self.faults(request)

    async def heal(self, request: web.Request) -> web.Response:
        """One device's fault, or with no device all of them."""
        keys = [wishes.device(self._world, request.query["device"])] if "device" in request.query else None
        healed = [key for key in keys or self._world.site.devices if self._world.faults.heal(key)]
        return web.json_response({"healed": healed})

    async def power_cycle(self, request: web.Request) -> web.Response:
        """A device loses its own power for a moment."""
        body = await _body(request)
        key = wishes.device(self._world, body.get("device") if isinstance(body, dict) else None)
        self._world.power_cycle(key)
        return web.json_response(self._device(key))

    async def unplug(self, request: web.Request) -> web.Response:
        return await self._with_wire(request, self._rack.unplug)

    async def replug(self, request: web.Request) -> web.Response:
        return await self._with_wire(request, self._rack.plug)

    async def _with_wire(self, request: web.Request, act: Callable[[str], Awaitable[None]]) -> web.Response:
        body = await _body(request)
        name = body.get("wire") if isinstance(body, dict) else None
        if not isinstance(name, str) or name not in self._rack.wires:
            raise wishes.WishFault(f"cannot find wire {name!r}; valid: {', '.join(self._rack.wires)}")
        try:
            await act(name)
        except WireFault as fault:
            raise wishes.WishFault(str(fault)) from fault
        return web.json_response(self._state()["wires"])

    async def camera(self, request: web.Request) -> web.Response:
        """How a camera behaves: `{"camera": "1 front", "kind": "hang"}`, kind null: well."""
        try:
            return web.json_response(self._cameras.behave(await _body(request)))
        except ValueError as error:
            raise wishes.WishFault(str(error)) from error

    async def speed(self, request: web.Request) -> web.Response:
        body = await _body(request)
        speed = body.get("speed") if isinstance(body, dict) else None
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 <= speed <= 3600:
            raise wishes.WishFault(f"cannot set speed to {speed!r}: a number from 0 to 3600 is needed")
        self._world.speed = float(speed)
        return web.json_response({"speed": self._world.speed})


def _plain(value: int | str | bytes) -> int | str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.text() or "{}")
    except ValueError as error:
        raise wishes.WishFault(f"cannot read the body as JSON: {error}") from error


@web.middleware
async def _complain(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except wishes.WishFault as fault:
        return web.json_response({"error": str(fault)}, status=400)


async def serve(control: Control, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Start the API; gives the runner to clean up and the URL it really has (port 0 is any)."""
    runner = web.AppRunner(control.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise unheard(host, port, error, "（操作接口）", " (the control API)") from error
    port = runner.addresses[0][1]
    return runner, f"http://{f'[{host}]' if ':' in host else host}:{port}"
