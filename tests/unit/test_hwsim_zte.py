"""The simulated ZTE site unit against texts worked out by hand from the table, and its server as a client sees it."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from support import free_ports

from hwsim import site
from hwsim.devices import PRODUCTS
from hwsim.devices.image import Seen
from hwsim.devices.zte import ZteProduct, number
from hwsim.faults import Fault
from hwsim.plant.state import AirConditioner, Battery, Climate, Dc, Mains, Rectifier, State
from hwsim.rack import Rack
from hwsim.world import World

PLANT = State(
    mains=Mains(voltage_v=(231.5, 230.0, 229.0)),
    climate=Climate(inside_c=-5.3, inside_rh=61.2, outside_c=-9.0),
    air=(AirConditioner(compressor=True), AirConditioner(fault=True, fan=False)),
    dc=Dc(bus_v=53.46, modules=(Rectifier(current_a=6.1, temperature_c=33.0), Rectifier(current_a=6.3)),
          battery=Battery(charge=0.5, current_a=-2.5)),
)  # fmt: skip


def values(profile: str, **seen: Any) -> dict[str, str]:
    product = PRODUCTS[profile]
    assert isinstance(product, ZteProduct)
    return dict(product.values(Seen(PLANT, **seen)))


def test_numbers_are_written_as_the_unit_writes_them():
    assert [number(one) for one in (222.2, 49.35, 27.0, 0.0, -5.3, 100)] == ["222.2", "49.35", "27", "0", "-5.3", "100"]


def test_each_firmware_has_numbers_of_its_own():
    old = {"firmware": 1}
    assert values("zte-temperature-humidity") == {"118201001": "-5.3", "118204001": "61.2"}
    new_air, old_air = values("zte-air-conditioner"), values("zte-air-conditioner", parameters=old, instance=1)
    assert (new_air["115238001"], new_air["115011001"], new_air["115236001"]) == ("2", "2", "-5.3")
    assert (new_air["115234001"], new_air["115233001"], new_air["115235001"]) == ("1", "0", "35")
    assert (old_air["115008001"], old_air["115012001"], old_air["115013001"]) == ("3", "-5.3", "-9")
    assert (old_air["115022001"], old_air["115009001"]) == ("1", "0")
    new, older = values("zte-rectifier"), values("zte-rectifier", parameters=old)
    assert [new[one] for one in ("106304001", "106305001", "106002001")] == ["53.46", "12.4", "33"]
    assert [older[one] for one in ("106030001", "106100001", "106101001")] == ["53.46", "12.4", "33"]
    assert [new[one] for one in ("106400001", "106417001", "106425001")] == ["231.5", "230", "229"]
    assert [older[one] for one in ("106206001", "106207001", "106208001")] == ["231.5", "230", "229"]
    assert new["106335002"] == "-2.5"
    assert values("zte-lithium-battery")["190229001"] == values("zte-lithium-battery", parameters=old)["190004001"]
    battery = values("zte-lithium-battery")
    assert [battery[one] for one in ("190264001", "190265001", "190262001")] == ["50", "100", "50"]
    assert values("zte-door", inputs=(True,)) == {"118012001": "1"}


# --- the server -------------------------------------------------------------------------------------------------------

UNLOCK = bytes.fromhex("7E0101000000020005C1777E7E")
QUERY = bytes.fromhex("7E0101000000020016E3257E7E")


@pytest.fixture
async def unit() -> AsyncIterator[tuple[str, World]]:
    (port,) = free_ports(1)
    place = {"host": "127.0.0.1", "port": port, "user": "admin", "password": "geheim"}
    devices = {
        "climate": {"profile": "zte-temperature-humidity", "bus": "zte", "object": "1101"},
        "water": {"profile": "zte-water", "bus": "zte", "object": "1105"},
        "lock": {"profile": "shengjiu-lock", "bus": "com", "unit": 1, "object": "1801"},
    }
    buses = {"zte": {"type": "zte-http", **place}, "com": {"type": "zte-serial", **place}}
    world = World(site.build({"buses": buses, "cabinets": [{"id": 1, "devices": devices}]}), time.monotonic)
    async with Rack(world, fast_lines=True):
        yield f"http://127.0.0.1:{port}/jscmd", world


async def told(url: str, body: Any = None) -> Any:
    login = aiohttp.DigestAuthMiddleware("admin", "geheim")
    async with aiohttp.ClientSession(middlewares=(login,)) as session:
        method = "GET" if body is None else "POST"
        async with session.request(method, url, json=body) as answer:
            assert answer.status == 200
            return (await answer.json())["result"]


def sent(frame: bytes, number: str = "1801") -> dict[str, Any]:
    params = {"objid": number, "data": base64.b64encode(frame).decode(), "endchar": ""}
    return {"jsonrpc": "2.0", "method": "POST_METHOD", "id": "3", "params": params}


async def test_nobody_is_let_in_without_the_login(unit: tuple[str, World]):
    url, _ = unit
    wrong = aiohttp.DigestAuthMiddleware("admin", "other")
    for middlewares in ((), (wrong,)):
        async with (
            aiohttp.ClientSession(middlewares=middlewares) as session,
            session.get(f"{url}/objs") as answer,
        ):
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Digest ")


async def test_it_tells_its_objects_their_values_and_alarms(unit: tuple[str, World]):
    url, world = unit
    listed = await told(f"{url}/objs")
    assert [(one["ObjId"], one["Name"]) for one in listed["Objs"][1:]] == [
        ("1101", "数字温湿度"), ("1105", "水浸"), ("1801", "cabinet_lock"),
    ]  # fmt: skip
    assert await told(f"{url}/sensorports") == [{"objId": "1801", "portId": "0_COM2", "addr": "1"}]
    assert await told(f"{url}/objdataquery?objId=1105&mId=0") == [{"Id": "118001001", "Value": "0"}]
    assert await told(f"{url}/objdataquery?objId=7&mId=0") == []
    assert await told(f"{url}/alarmquery?type=now") == []
    world.faults.inflict("1.climate", Fault("silent"))
    assert await told(f"{url}/objdataquery?objId=1101&mId=0") == []


async def test_the_lock_hears_what_comes_through_the_tunnel(unit: tuple[str, World]):
    url, world = unit
    assert await told(f"{url}/serialsend", sent(UNLOCK)) == {"data": ""}
    spec = world.site.devices["1.lock"]
    assert world.seen(spec).memory[0] == 1
    answer = base64.b64decode((await told(f"{url}/serialsend", sent(QUERY)))["data"])
    assert (len(answer), answer[9], answer[25]) == (27, 1, 0x7E)
    assert await told(f"{url}/serialsend", sent(QUERY, "1101")) == {"data": ""}, "nothing hangs on a line there"


async def test_a_call_that_makes_no_sense_has_no_result(unit: tuple[str, World]):
    url, _ = unit
    login = aiohttp.DigestAuthMiddleware("admin", "geheim")
    async with (
        aiohttp.ClientSession(middlewares=(login,)) as session,
        session.post(f"{url}/serialsend", data=b"{") as answer,
    ):
        assert "result" not in json.loads(await answer.text())
