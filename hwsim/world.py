"""The running simulation: plants, toll computers, devices' latches, faults, and the clock that moves them.

It is the one place with state that changes. Wires ask it what a device shows and hand it writes; the control API and
scenes hand it orders. It knows neither frames nor sockets.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hwsim.devices import PRODUCTS
from hwsim.devices.image import Effect, ModbusProduct, Seen
from hwsim.devices.oids import SnmpProduct
from hwsim.faults import Ward
from hwsim.plant import step
from hwsim.plant.host import Host, step_host
from hwsim.plant.orders import Change, Energise, Order, obey
from hwsim.plant.state import AirConditioner, Mains, Spd, State
from hwsim.signals import level
from hwsim.site import CabinetSpec, DeviceSpec, SimSite

TICK_S = 0.1


class World:
    """Everything that changes. `version` counts changes, so that a reader may keep what it computed."""

    def __init__(self, site: SimSite, now: Any, speed: float = 1.0) -> None:
        self.site = site
        self.speed = speed
        self.faults = Ward(now)
        self.version = 0
        self.elapsed_s = 0.0  # of plant time
        self._now = now
        self._plants = {number: _plant(spec) for number, spec in site.cabinets.items()}
        self._hosts = {key: Host() for key, spec in site.devices.items() if spec.cabinet == 0}
        self._memory: dict[str, dict[int, int]] = {key: {} for key in site.devices}
        for spec in site.devices.values():  # an inverted output holds its lock open from the start
            self.absorb(spec, Effect())

    # --- what is ---

    @property
    def plants(self) -> Mapping[int, State]:
        return self._plants

    @property
    def hosts(self) -> Mapping[str, Host]:
        return self._hosts

    def seen(self, spec: DeviceSpec) -> Seen:
        """What device `spec` knows now."""
        plant = self._plants.get(spec.cabinet) or State()
        width = max(spec.inputs, default=-1) + 1
        inputs = [False] * width
        for channel, wired in spec.inputs.items():
            inputs[channel] = level(plant, wired.signal, wired.number, invert=wired.invert)
        memory, host = self._memory[spec.key], self._hosts.get(spec.key)
        return Seen(plant, memory, tuple(inputs), spec.parameters, spec.instance, host)

    def modbus(self, spec: DeviceSpec) -> ModbusProduct:
        product = PRODUCTS[spec.profile]
        assert isinstance(product, ModbusProduct)
        return product

    def snmp(self, spec: DeviceSpec) -> SnmpProduct:
        product = PRODUCTS[spec.profile]
        assert isinstance(product, SnmpProduct)
        return product

    # --- what changes it ---

    def command(self, cabinet: int, orders: Iterable[Order]) -> None:
        """Carry out orders at once. Raises IndexError when one names a unit the cabinet does not have."""
        plant = self._plants[cabinet]
        for order in orders:
            plant = obey(plant, order)
        self._plants[cabinet] = step(plant, 1e-6)  # what depends on it follows at once
        self.version += 1

    def change_host(self, key: str, fields: Mapping[str, Any]) -> None:
        self._hosts[key] = replace(self._hosts[key], **fields)
        self.version += 1

    def absorb(self, spec: DeviceSpec, effect: Effect) -> None:
        """A device was written: its latches, its orders, and what hangs on its outputs."""
        self._memory[spec.key].update(effect.memory)
        self.version += 1
        if spec.cabinet in self._plants:
            self.command(spec.cabinet, (*effect.orders, *self._driven(spec)))

    def _driven(self, spec: DeviceSpec) -> Iterable[Order]:
        memory = self._memory[spec.key]
        for output in self.site.cabinets[spec.cabinet].outputs:
            if output.device != spec.key or output.drives is None:
                continue
            on = bool(memory.get(output.channel, 0)) != output.invert
            if output.drives == "siren" or output.drives == "beacon":  # noqa: PLR1714 - so that mypy sees what is left
                yield Change("plant", ((output.drives, on),))
            elif self._plants[spec.cabinet].door(output.drives).energised != on:
                yield Energise(output.drives, on)

    def advance(self, dt: float) -> None:
        for number, plant in self._plants.items():
            self._plants[number] = step(plant, dt)
        for key, host in self._hosts.items():
            self._hosts[key] = step_host(host, dt)
        self.elapsed_s += dt
        self.version += 1

    async def run(self) -> None:
        """Let time pass, `speed` times as fast as outside, until cancelled."""
        before = self._now()
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            self.advance((now - before) * self.speed)
            before = now


def _plant(spec: CabinetSpec) -> State:
    return State(
        mains=Mains(phases=spec.phases),
        air=(AirConditioner(),) * spec.air_conditioners,
        spds=(Spd(),) * spec.spds,
    )
