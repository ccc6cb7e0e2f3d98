"""A UPS that speaks Megatec Q1 (tables §3.8; NUT `drivers/nutdrv_qx_megatec.c`): the plant's UPS, single phase.

With the parameter `cells` above 1 it is an on-line model that shows the voltage of one cell, as the Santak C1K does.
A command that it does not know it sends back, as many of the family do. `QS` is the same UPS in Voltronic's dialect of
that name (`drivers/nutdrv_qx_voltronic-qs.c`).
"""

from hwsim.devices.image import Effect, Seen
from hwsim.devices.spoken import MegatecProduct, Spoken
from hwsim.plant.orders import Order, UpsTesting
from hwsim.plant.power import UPS_FULL_V

LOW_CHARGE = 0.2
SHORT_TEST_S, UNTIL_LOW_S = 10.0, 600.0
LAST_FAULT_V = 1  # latch: the input voltage at the last failure, in tenths
BEEPER = 2


def status(seen: Seen) -> str:
    """`(MMM.M NNN.N PPP.P QQQ RR.R S.SS TT.T b7b6b5b4b3b2b1b0`."""
    plant, ups = seen.plant, seen.plant.ups
    v, on = plant.mains.at(0), ups.source != "off"
    battery = ups.source == "battery"
    cells = float(seen.parameters.get("cells", 1))
    each = ups.battery_v / cells
    bits = (
        not plant.mains.good[0],
        battery and ups.charge < LOW_CHARGE,
        ups.source == "bypass",
        ups.replace,
        False,  # an on-line UPS; a stand-by one has 1
        ups.testing_s > 0,
        False,
        bool(seen.memory.get(BEEPER, 1)),
    )
    load = 100 * ups.load_w / 0.9 / ups.rated_va if on else 0
    hertz = plant.mains.frequency_hz if v or on else 0
    each_text = f"{each:04.2f}" if cells > 1 else f"{each:04.1f}"
    flags = "".join(str(int(bit)) for bit in bits)
    return (
        f"({v:05.1f} {seen.memory.get(LAST_FAULT_V, 0) / 10:05.1f} {220.1 if on else 0:05.1f} {load:03.0f}"
        f" {hertz:04.1f} {each_text} {plant.climate.inside_c + 3:04.1f} {flags}"
    )


def ratings(seen: Seen) -> str:
    """`#VVV.V III BB.BB FF.F`."""
    ups = seen.plant.ups
    return f"#220.0 {ups.rated_va / 220:03.0f} {UPS_FULL_V / 1.14:05.2f} 50.0"


def identity() -> str:
    """`#` and maker 15, model 10, version 10 characters."""
    return f"#{'SIMULATED':<15} {'C3K':<10} {'V1.00':<10}"


def answer(seen: Seen, command: str) -> Spoken:
    said = {"Q1": status, "F": ratings}.get(command)
    if said is not None:
        return Spoken(said(seen).encode("ascii"))
    if command == "I":
        return Spoken(identity().encode("ascii"))
    effect = _effect(seen, command)
    return Spoken(effect=effect) if effect is not None else Spoken(command.encode("ascii", "replace"))


def _effect(seen: Seen, command: str) -> Effect | None:
    """What a command does that gets no answer; None for one that it does not know."""
    if command == "Q":
        return Effect(memory={BEEPER: 1 - seen.memory.get(BEEPER, 1)})
    seconds = _test_s(command)
    orders: tuple[Order, ...] = () if seconds is None else (UpsTesting(seconds),)
    return Effect(orders=orders) if orders else None


def _test_s(command: str) -> float | None:
    if command == "T":
        return SHORT_TEST_S
    if command == "TL":
        return UNTIL_LOW_S
    if command == "CT":
        return 0.0
    if command[:1] == "T" and len(command) == 3 and command[1:].isdigit():
        return 60.0 * int(command[1:])
    return None


def charge(seen: Seen) -> str:
    """`(CCC RRRRR FF.F AAA.A LLL HHH …`: charge, seconds left, mains frequency, output current (QS dialect)."""
    plant, ups = seen.plant, seen.plant.ups
    left = min(99999, int(3600 * ups.charge * UPS_FULL_V * 9 / ups.load_w)) if ups.load_w > 0 else 99999
    hertz = plant.mains.frequency_hz if plant.mains.at(0) else 0
    return f"({100 * ups.charge:03.0f} {left:05d} {hertz:04.1f} {ups.load_w / 220:05.1f} 177 290 0 0000010000112000"


def answer_qs(seen: Seen, command: str) -> Spoken:
    """`QS` is Q1's line; there is no test but the quick one."""
    said = {"QS": status, "QI": charge, "F": ratings}.get(command)
    if said is not None:
        return Spoken(said(seen).encode("ascii"))
    if command == "M":
        return Spoken(b"V")
    effect = _effect(seen, command) if command in ("Q", "T") else None
    return Spoken(effect=effect) if effect is not None else Spoken(command.encode("ascii", "replace"))


Q1 = MegatecProduct(answer, ("Q1", "F", "I"))
QS = MegatecProduct(answer_qs, ("QS", "QI", "F", "M"))
