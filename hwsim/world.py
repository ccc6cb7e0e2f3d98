"""The running simulation: plants, toll computers, devices' latches, faults, and the clock that moves them.

It is the one place with state that changes. Wires ask it what a device shows and hand it writes; the control API and
scenes hand it orders. It knows neither frames nor sockets.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from hwsim.devices import PRODUCTS, READERS
from hwsim.devices.access import AccessProduct, Panel
from hwsim.devices.image import Effect, ModbusProduct, Seen
from hwsim.devices.oids import SnmpProduct
from hwsim.faults import Fault, Ward
from hwsim.plant import step
from hwsim.plant.host import Host, step_host
from hwsim.plant.orders import Change, Cut, Energise, Order, obey
from hwsim.plant.state import AirConditioner, Mains, Side, Spd, State, Supply
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
        self._memory = {key: _resting(spec) for key, spec in site.devices.items()}
        self._ends: dict[str, dict[int, tuple[float, int]]] = {key: {} for key in site.devices}  # latch → when, to what
        self.panels = {
            key: Panel(int(spec.parameters.get("serial", 0)))
            for key, spec in site.devices.items()
            if isinstance(PRODUCTS[spec.profile], AccessProduct)
        }
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

    def local_now(self) -> datetime:
        """The time on the clocks of the gantry."""
        return datetime.now(ZoneInfo(self.site.timezone)).replace(tzinfo=None)

    # --- what changes it ---

    def show(self, cabinet: int, side: Side, card: int) -> bool:
        """Show a card at a door: to the controller that unlocks it, else to its reader; False if there is neither."""
        for output in self.site.cabinets[cabinet].outputs:
            panel = self.panels.get(output.device)
            if panel is not None and output.drives == side:
                if panel.swipe(card, output.channel, self.local_now()):
                    later = ((panel.delays[output.channel], output.channel, 0),)
                    self.absorb(self.site.devices[output.device], Effect(memory={output.channel: 1}, later=later))
                return True
        key = self.site.cabinets[cabinet].readers.get(side)
        spec = self.site.devices.get(key) if key else None
        if spec is None or spec.profile not in READERS:
            return False
        self.absorb(spec, READERS[spec.profile](self.seen(spec), card))
        return True

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
        if (fault := self.faults.of(spec.key)) is not None and fault.kind == "ignore":
            return
        if fault is not None and fault.kind == "clamp":
            effect = _clamped(effect, fault)
        ends = self._ends[spec.key]
        for cell in effect.memory:  # a newer write ends what the device had begun
            ends.pop(cell, None)
        ends.update({cell: (self.elapsed_s + after_s, value) for after_s, cell, value in effect.later})
        self._latch(spec, effect.memory, effect.orders)

    def power_cycle(self, key: str) -> None:
        """A device loses its own power for a moment: it forgets its latches and lets its outputs go."""
        spec = self.site.devices[key]
        self._ends[key].clear()
        self._latch(spec, dict.fromkeys(self._memory[key], 0) | _resting(spec))

    def _latch(self, spec: DeviceSpec, memory: Mapping[int, int], orders: Iterable[Order] = ()) -> None:
        self._memory[spec.key].update(memory)
        self.version += 1
        if spec.cabinet in self._plants:
            self.command(spec.cabinet, (*orders, *self._driven(spec)))

    def _end_pulses(self) -> None:
        """What devices end by their own clocks, whoever lives to see it."""
        for key, ends in self._ends.items():
            due = {cell: value for cell, (at, value) in ends.items() if at <= self.elapsed_s + 1e-9}
            for cell in due:
                del ends[cell]
            if due:
                self._latch(self.site.devices[key], due)

    def _driven(self, spec: DeviceSpec) -> Iterable[Order]:
        memory = self._memory[spec.key]
        for output in self.site.cabinets[spec.cabinet].outputs:
            if output.device != spec.key:
                continue
            on = bool(memory.get(output.channel, 0)) != output.invert
            if output.supply:
                yield Cut(output.supply, off=on)
            if output.drives is None:
                continue
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
        self._end_pulses()
        self.version += 1

    async def run(self) -> None:
        """Let time pass, `speed` times as fast as outside, until cancelled."""
        before = self._now()
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            self.advance((now - before) * self.speed)
            before = now


def _clamped(effect: Effect, fault: Fault) -> Effect:
    """What a device does that takes a number outside its range as the end of the range, and says nothing."""

    def taken(order: Order) -> Order:
        if not isinstance(order, Change):
            return order
        fields = (
            (name, min(max(value, float(fault.first)), float(fault.last)) if isinstance(value, float) else value)
            for name, value in order.fields
        )
        return replace(order, fields=tuple(fields))

    return replace(effect, orders=tuple(taken(order) for order in effect.orders))


def _resting(spec: DeviceSpec) -> dict[int, int]:
    """A device's latches when it gets power."""
    product = PRODUCTS[spec.profile]
    return dict(product.resting) if isinstance(product, SnmpProduct) else {}


def _plant(spec: CabinetSpec) -> State:
    return State(
        mains=Mains(phases=spec.phases),
        air=(AirConditioner(),) * spec.air_conditioners,
        spds=(Spd(),) * spec.spds,
        supplies={name: Supply(air=air) for name, air in spec.supplies.items()},
    )
