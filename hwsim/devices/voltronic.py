"""A UPS that speaks Voltronic's dialect of Megatec (tables §3.9; NUT `drivers/nutdrv_qx_voltronic.c`, its comments).

The plant's UPS as an on-line one of 3 kVA with six 12-V batteries, protocol P01. What it obeys it answers with `(ACK`,
what it does not know with `(NAK`. Widths are exact: a driver refuses an answer that is one character short.
"""

from collections.abc import Callable, Mapping

from hwsim.devices.image import Effect, Seen
from hwsim.devices.q1 import LOW_CHARGE, SHORT_TEST_S, UNTIL_LOW_S
from hwsim.devices.spoken import MegatecProduct, Spoken
from hwsim.plant.orders import Change, Order, UpsTesting
from hwsim.plant.power import ups_remaining_s

ACK, NAK = b"(ACK", b"(NAK"
MODES = {"line": "L", "battery": "B", "bypass": "Y", "off": "S"}
WARNINGS = 64
LOW, OVERLOAD, HOT, REPLACE = 7, 8, 12, 55  # their places in the answer to QWS, from 0
HOT_C = 50.0


def _bits(*bits: bool) -> str:
    return "".join(str(int(bit)) for bit in bits)


def _load_percent(seen: Seen) -> float:
    ups = seen.plant.ups
    return 100 * ups.load_w / 0.9 / ups.rated_va if ups.source != "off" else 0.0


def _battery_low(seen: Seen) -> bool:
    ups = seen.plant.ups
    return ups.source == "battery" and ups.charge < LOW_CHARGE


def status(seen: Seen) -> str:
    """Twelve items; the last are twelve bits, of which the first two say the type: 10 is on-line."""
    plant, ups = seen.plant, seen.plant.ups
    on, volts = ups.source != "off", plant.mains.at(0)
    bits = _bits(
        not plant.mains.good[0],
        _battery_low(seen),
        ups.source == "bypass",
        False,  # fault
        False,  # not known
        ups.testing_s > 0,
        False,  # shutting down
        False,  # beeper on
    )
    return (
        f"({volts:05.1f} {plant.mains.frequency_hz if volts else 0:04.1f} {220.1 if on else 0:05.1f}"
        f" {50.0 if on else 0:04.1f} {ups.load_w / 220.1 if on else 0:05.1f} {_load_percent(seen):03.0f} 369.1 ---.-"
        f" {ups.battery_v:05.1f} ---.- {plant.climate.inside_c + 3:05.1f} 10{bits}01"
    )


def mode(seen: Seen) -> str:
    return "(T" if seen.plant.ups.testing_s > 0 else f"({MODES[seen.plant.ups.source]}"


def battery(seen: Seen) -> str:
    """Volts of the pack, batteries in it, packs, percent, minutes."""
    ups = seen.plant.ups
    minutes = min(999, int(ups_remaining_s(ups) / 60))
    return f"({ups.battery_v:05.1f} 06 01 {ups.charge * 100:03.0f} {minutes:03d}"


def warnings(seen: Seen) -> str:
    told = {
        LOW: _battery_low(seen),
        OVERLOAD: _load_percent(seen) > 105,
        HOT: seen.plant.climate.inside_c > HOT_C,
        REPLACE: seen.plant.ups.replace,
    }
    return "(" + _bits(*(told.get(place, False) for place in range(WARNINGS)))


def ratings(seen: Seen) -> str:
    return f"(220.0 {seen.plant.ups.rated_va / 220:03.0f} 072.0 50.0"


def model(seen: Seen) -> str:
    return f"({'SIMULATED':#>15} {seen.plant.ups.rated_va:#>7.0f} 90 1/1 220 220 06 12.0"


SAID: Mapping[str, Callable[[Seen], str]] = {
    "QGS": status,
    "QMOD": mode,
    "QBV": battery,
    "QWS": warnings,
    "QRI": ratings,
    "QMD": model,
    "QPI": lambda _seen: "(PI01",
    "QVFW": lambda _seen: "(VERFW:00001.00",
    "QID": lambda _seen: "(00000000000000",
    "QFS": lambda _seen: "(OK",
    "QMF": lambda _seen: "(SIMULATED",
}


def answer(seen: Seen, command: str) -> Spoken:
    said = SAID.get(command)
    if said is not None:
        return Spoken(said(seen).encode("ascii"))
    order = _order(command)
    return Spoken(NAK) if order is None else Spoken(ACK, Effect(orders=(order,)))


def _order(command: str) -> Order | None:
    """What a command does; None for one that it does not know."""
    if command in ("SON", "SOFF"):
        return Change("ups", (("enabled", command == "SON"),))
    seconds = {"T": SHORT_TEST_S, "TL": UNTIL_LOW_S, "CT": 0.0}.get(command)
    if seconds is None and command[:1] == "T" and len(command) == 3:
        if command[1:].isdigit():
            seconds = 60.0 * int(command[1:])  # T01 … T99: minutes
        elif command[1] == "." and command[2].isdigit():
            seconds = 6.0 * int(command[2])  # T.2 … T.9: tenths of a minute
    return None if seconds is None else UpsTesting(seconds)


VOLTRONIC = MegatecProduct(answer, ("QGS", "QMOD", "QBV", "QWS", "QRI", "QPI"))
