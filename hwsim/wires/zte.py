"""The HTTP server of a ZTE site supervision unit (tables §10.1): its objects as JSON, and the serial lines behind it.

One server for all buses of the site file that are at its address: `zte-http`, and a `zte-serial` for each line. Digest
login where the site file has a user. A fault of an object spoils the answers about it: `silent` is a device that the
unit has lost, so that its list of values is empty; of what hangs on a line the answer comes back in Base64, spoilt as
on the line. The list of alarms is the unit's own and is spoilt by no device.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from hwsim.devices import PRODUCTS
from hwsim.devices.zte import ZteProduct
from hwsim.faults import Fault, spoil
from hwsim.site import DeviceSpec, SiteFault
from hwsim.wires import listener
from hwsim.wires.spoken import Talkers
from hwsim.world import World

PORT = 80
REALM = "FSU"
OWN_NAME = "智能动环监控设备（FSU）"
OWN_NUMBER = "1"
ALARM_TIME = "2026-01-01 00:00:00"
LOGIN_PAGE = b"<html><body><form>login</form></body></html>"
LOST = frozenset({"silent", "loose"})
_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class ZteUnit:
    """One unit; its wires come and go, and it listens while there is any."""

    def __init__(self, host: str, port: int, world: World) -> None:
        self.host, self.port, self._world = host, port, world
        self._wires: dict[str, list[DeviceSpec]] = {}  # plugged
        self._user, self._password = "", ""
        self._nonces: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.asked: list[str] = []

    async def plug(self, name: str, login: tuple[str, str], specs: list[DeviceSpec]) -> None:
        if login[0]:
            self._user, self._password = login
        if self._runner is None:
            await self._listen()
        self._wires[name] = specs

    async def unplug(self, name: str) -> None:
        self._wires.pop(name, None)
        if not self._wires and self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=16 * 1024)
        app.router.add_get("/jscmd/objs", self._let_in(self.objects))
        app.router.add_get("/jscmd/sensorports", self._let_in(self.ports))
        app.router.add_get("/jscmd/objdataquery", self._let_in(self.values))
        app.router.add_get("/jscmd/alarmquery", self._let_in(self.alarms))
        app.router.add_post("/jscmd/serialsend", self._let_in(self.serial_send))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise listener.unheard(self.host, self.port, error) from error
        self._runner = runner

    # --- who is let in ---

    def _let_in(self, handler: Any) -> Any:
        async def checked(request: web.Request) -> web.StreamResponse:
            self.asked.append(request.path_qs)
            if self._user and not self._knows(request):
                nonce = secrets.token_hex(16)
                self._nonces.add(nonce)
                challenge = f'Digest realm="{REALM}", qop="auth", nonce="{nonce}", algorithm=MD5'
                return web.Response(status=401, headers={"WWW-Authenticate": challenge}, text="Unauthorized")
            answer: web.StreamResponse = await handler(request)
            return answer

        return checked

    def _knows(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        said = {name: quoted or plain for name, quoted, plain in _PAIR.findall(given)}
        if scheme.lower() != "digest" or said.get("nonce") not in self._nonces or said.get("uri") != request.path_qs:
            return False
        one, two = _md5(f"{self._user}:{REALM}:{self._password}"), _md5(f"{request.method}:{request.path_qs}")
        middle = ":".join(said.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return said.get("response") == _md5(f"{one}:{middle}:{two}")

    # --- what it knows ---

    def _specs(self) -> list[DeviceSpec]:
        return [spec for specs in self._wires.values() for spec in specs]

    async def objects(self, _request: web.Request) -> web.StreamResponse:
        listed = [{"ObjId": OWN_NUMBER, "Name": OWN_NAME}]
        for spec in self._specs():
            product = PRODUCTS[spec.profile]
            name = product.name if isinstance(product, ZteProduct) else "cabinet_lock"
            listed.append({"ObjId": spec.object, "Name": name})
        return _said({"Objs": listed})

    async def ports(self, _request: web.Request) -> web.StreamResponse:
        ports = [
            {"objId": spec.object, "portId": f"0_COM{place}", "addr": str(spec.unit)}
            for place, specs in enumerate(self._wires.values(), 1)
            for spec in specs
            if not isinstance(PRODUCTS[spec.profile], ZteProduct)
        ]
        return _said(ports)

    async def values(self, request: web.Request) -> web.StreamResponse:
        spec = next((one for one in self._specs() if one.object == request.query.get("objId")), None)
        product = PRODUCTS[spec.profile] if spec else None
        if spec is None or not isinstance(product, ZteProduct):
            return _said([])
        fault = self._world.faults.take(spec.key)
        if fault is not None and fault.kind in LOST:
            return _said([])
        values = product.values(self._world.seen(spec))
        body = _body([{"Id": point, "Value": text} for point, text in values.items()])
        return await _spoilt(request, fault, body)

    async def alarms(self, _request: web.Request) -> web.StreamResponse:
        found = []
        for spec in self._specs():
            product, fault = PRODUCTS[spec.profile], self._world.faults.of(spec.key)
            lost = fault is not None and fault.kind in LOST
            if isinstance(product, ZteProduct) and not lost and product.alarm(self._world.seen(spec)):
                found.append({"DeviceId": spec.object, "AlarmTime": ALARM_TIME})
        return _said(found)

    # --- the tunnel ---

    async def serial_send(self, request: web.Request) -> web.StreamResponse:
        try:
            call = json.loads(await request.text())
            number, frame = call["params"]["objid"], base64.b64decode(call["params"]["data"], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error):
            return web.json_response({"jsonrpc": "2.0", "error": {"code": -32602, "message": "Invalid params"}})
        said = b""
        for specs in self._wires.values():
            if any(one.object == number and not isinstance(PRODUCTS[one.profile], ZteProduct) for one in specs):
                said = await self._ask_line(specs, frame)
        return _said({"data": base64.b64encode(said).decode("ascii")}, number=str(call.get("id", "")))

    async def _ask_line(self, specs: list[DeviceSpec], frame: bytes) -> bytes:
        exchange = Talkers(self._world, {spec.unit: spec for spec in specs}).answer(frame)
        if exchange is None:
            return b""
        await asyncio.sleep(exchange.response_s)
        fault = self._world.faults.take(exchange.spec.key)
        spoilt = spoil(fault, exchange.request, exchange.answer, exchange.changed)
        said = b""
        for piece in () if spoilt.aside else spoilt.pieces:
            await asyncio.sleep(piece.wait_s)
            said += piece.data
        return said


class ZteWire:
    """One bus that leads to a unit."""

    def __init__(self, name: str, settings: Mapping[str, Any], unit: ZteUnit, specs: list[DeviceSpec]) -> None:
        if nameless := [spec.key for spec in specs if not spec.object]:
            raise SiteFault(
                f"{nameless[0]} 不能接在总线 {name} 上：缺少 object",
                f"cannot put {nameless[0]} on bus {name}: it has no object",
            )
        secret = str(settings.get("password", ""))
        if "password_file" in settings:
            secret = Path(settings["password_file"]).read_text(encoding="utf-8").strip()
        self._name, self._unit, self._specs = name, unit, specs
        self._login = str(settings.get("user", "")), secret

    @property
    def place(self) -> str:
        return f"http://{self._unit.host}:{self._unit.port}"

    async def plug(self) -> None:
        await self._unit.plug(self._name, self._login, self._specs)

    async def unplug(self) -> None:
        await self._unit.unplug(self._name)


def _said(result: Any, number: str = "") -> web.Response:
    return web.Response(body=_body(result, number), content_type="application/json")


def _body(result: Any, number: str = "") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}, ensure_ascii=False).encode()


async def _spoilt(request: web.Request, fault: Fault | None, body: bytes) -> web.StreamResponse:
    """An answer as the fault in force lets it go out."""
    match fault.kind if fault else None:
        case "delay" | "late":
            await asyncio.sleep((fault.ms if fault else 0) / 1000)
        case "exception":
            return web.Response(status=500, text="Internal Server Error")
        case "garbage":
            return web.Response(body=LOGIN_PAGE, content_type="text/html")
        case "half":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            if request.transport is not None:
                request.transport.close()
            return response
        case "drop":
            if request.transport is not None:
                request.transport.abort()
    return web.Response(body=body, content_type="application/json")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
