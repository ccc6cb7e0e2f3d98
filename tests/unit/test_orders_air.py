"""Air conditioners: when a compressor may run again, and what a unit without a set point answers."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from gantry_agent.command import Done, Failed, Outcome, Partial, Refused, RunAirConditioner, SetTemperatures
from gantry_agent.field import profile
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Poller
from gantry_agent.field.trace import Trace
from gantry_agent.field.unit import Lanes
from gantry_agent.model import Answered, Bus, Cabinet, Device, Missed, Quality, Reading, Role, Site
from gantry_agent.orders import Orders
from gantry_agent.orders.air import Air
from gantry_agent.orders.rests import AIR, Rests

COOLER = """\
profile: cooler
title: {zh: 冷, en: cooler}
protocol: modbus
maturity: draft
sources: [{document: manual, page: "7"}]
members: {airConditioners: 1}
points:
  switch: {read: holding 1}
  cooling_on: {read: holding 2}
writes:
  airConditioners.airOperate: {write: holding 1, map: {1: 1, 2: 0}, confirm: {point: switch}}
  airConditioners.autoRefrigerationTemp: {write: holding 2, low: 18, high: 40, confirm: {point: cooling_on}}
"""
READER = COOLER[: COOLER.index("writes:")].replace("profile: cooler", "profile: reader")


class Clock:
    now = 1000.0


class NoStore:
    """Nothing is cut here, so nothing is kept."""

    async def set_setting(self, name: str, value: str | None) -> None:
        raise AssertionError(name)


def rig(folder: Path, *profiles: str) -> tuple[Air, Rests, Clock]:
    """Air conditioners 1, 2 … of these profiles, on a bus that nobody polls."""
    products, devices = {}, {}
    for number, name in enumerate(profiles, 1):
        path = folder / f"{name}.yaml"
        path.write_text(COOLER if name == "cooler" else READER, encoding="utf-8")
        key = f"1.air{number}"
        devices[key] = Device(key, 1, name, "io", number, {AIR: (number,)})
        products[key] = profile.check(path)
    bus = Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": 9})
    poller = Poller(open_link(bus), [(devices[k], products[k]) for k in devices], Lanes(1, 1, 3), lambda _: None)
    site = Site("G", "UTC", {"io": bus}, devices, (Cabinet(1, tuple(devices), {}),), ())
    actuator = Actuator(
        site, products, {"io": poller}, lambda name, work: asyncio.create_task(work, name=name), lambda *_: None
    )
    clock = Clock()
    rests = Rests(site, NoStore(), {}, lambda: clock.now)
    return Air(actuator, rests), rests, clock


def seen(rests: Rests, value: int | Quality, number: int = 1) -> None:
    reading = Reading(None, value) if isinstance(value, Quality) else Reading(value)
    rests.heard(Answered(f"1.air{number}", 0.0, {(Role(1, AIR, number), "isWorking"): reading}))


async def run(air: Air, number: int = 1, *, on: bool = True) -> Outcome:
    return await air.run(RunAirConditioner(1, number, on), Trace(dry=True))


async def test_a_unit_that_works_may_be_told_to_run(tmp_path: Path) -> None:
    air, rests, _ = rig(tmp_path, "cooler")
    seen(rests, 1)
    assert await run(air) == Done()


async def test_a_compressor_rests_from_when_it_was_seen_to_stop(tmp_path: Path) -> None:
    air, rests, clock = rig(tmp_path, "cooler")
    seen(rests, 1)
    seen(rests, 0)
    clock.now += 100
    seen(rests, 0)
    seen(rests, Quality.GET_FAILED)
    assert await run(air) == Failed("压缩机保护，还需80秒")
    assert await run(air, on=False) == Done()
    clock.now += 80
    assert await run(air) == Done()


async def test_a_unit_that_is_just_being_stopped_may_not_run_before_its_rest(tmp_path: Path) -> None:
    air, rests, _ = rig(tmp_path, "cooler")
    seen(rests, 1)
    stopping = asyncio.create_task(air.run(RunAirConditioner(1, 1, run=False), Trace()))  # nobody answers it
    await asyncio.sleep(0.05)
    starting = asyncio.create_task(run(air))
    await asyncio.sleep(0.05)
    stopping.cancel()  # as when whoever ordered it has waited long enough: it may have stopped all the same
    assert await starting == Failed("压缩机保护，还需180秒")


@pytest.mark.parametrize("value", [0, Quality.NOT_SUPPORT, None])
async def test_a_unit_never_seen_working_rests_from_the_start(tmp_path: Path, value: int | Quality | None) -> None:
    air, rests, clock = rig(tmp_path, "cooler")
    clock.now += 170.5
    if value is not None:
        seen(rests, value)
    rests.heard(Missed("1.air1", 0.0, "silent"))
    assert await run(air) == Failed("压缩机保护，还需10秒")
    clock.now += 9.5
    assert await run(air) == Done()


async def test_of_several_units_those_that_may_run_do(tmp_path: Path) -> None:
    air, rests, _ = rig(tmp_path, "cooler", "cooler", "reader")
    seen(rests, 1, 1)
    assert await run(air, 0) == Partial((2, 3), "压缩机保护，还需180秒")
    seen(rests, 1, 2)
    seen(rests, 1, 3)
    assert await run(air, 0) == Partial((3,), "设备不支持")
    assert await run(air, 4) == Refused("airId")


SAME = Failed("设备不支持制热温度设定")


@pytest.mark.parametrize(
    ("cooling", "heating", "outcome"),
    [
        (Decimal(30), None, Done()),
        (None, Decimal(10), SAME),
        (Decimal(30), Decimal(10), SAME),
        (Decimal(41), None, Failed("超出18~40")),
        (Decimal("30.5"), None, Failed("设备步长1")),
    ],
)
async def test_a_unit_without_heating_takes_a_cooling_set_point_alone(
    tmp_path: Path, cooling: Decimal | None, heating: Decimal | None, outcome: Outcome
) -> None:
    air, _, _ = rig(tmp_path, "cooler")
    trace = Trace(dry=True)
    assert await air.set_temperatures(SetTemperatures(1, 1, cooling, heating), trace) == outcome
    assert any("would write" in step.en for step in trace.steps) is (outcome == Done())


async def test_set_points_of_several_units_name_those_that_have_none(tmp_path: Path) -> None:
    air, _, _ = rig(tmp_path, "cooler", "reader")
    command: Callable[[int], SetTemperatures] = lambda number: SetTemperatures(1, number, Decimal(30), None)  # noqa: E731
    assert await air.set_temperatures(command(0), Trace(dry=True)) == Partial((2,), "设备不支持制冷温度设定")
    assert await air.set_temperatures(command(3), Trace(dry=True)) == Refused("airId")


async def test_an_order_that_takes_too_long_tells_what_was_written_by_then(tmp_path: Path) -> None:
    air, _, _ = rig(tmp_path, "cooler")  # on a bus whose task does not run: nobody takes the write
    failed: list[object] = []
    orders = Orders({RunAirConditioner: air.run}, lambda _, devices: failed.extend(devices), limit_s=0.2)
    carried = await orders.carry_out(RunAirConditioner(1, 1, run=False))
    assert carried.outcome == Failed("超时")
    assert any("write" in step.en for step in carried.steps)
    assert failed == ["1.air1"], "the raw frames of its bus are kept"
