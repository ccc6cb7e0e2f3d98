"""A single-phase UPS behind an RFC 1628 card (tables §3.1).

Like the recorded cards it leaves out what it does not measure. Remaining minutes are 4294967295, "unknown", while the
battery rests full, as the recorded Huawei card says.
"""

from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import Alarm, Cell, Declined, SnmpProduct, gauge, integer, number, system, text
from hwsim.plant.orders import UpsTesting
from hwsim.plant.power import ups_remaining_s

U = "1.3.6.1.2.1.33.1"
TRAPS = "1.3.6.1.2.1.33.2"
UNKNOWN = 4294967295
LOW_CHARGE = 0.2
TESTS = {f"{U}.7.7.2": 0.0, f"{U}.7.7.3": 10.0, f"{U}.7.7.4": 10.0, f"{U}.7.7.5": 600.0}  # seconds; 0 aborts
SPIN_LOCK, LAST_TEST = 1, 2  # latches


def table(seen: Seen) -> dict[str, Cell]:
    plant, ups = seen.plant, seen.plant.ups
    v, on, battery = plant.mains.at(0), ups.source != "off", ups.source == "battery"
    load_w = ups.load_w if on else 0.0
    minutes = UNKNOWN if not battery and ups.charge > 0.98 else ups_remaining_s(ups) / 60
    flow_a = load_w / ups.battery_v if battery else 0.0
    test = seen.memory.get(LAST_TEST, 1)
    results = {"none": 6, "running": 5, "passed": 1, "warning": 2, "failed": 3, "aborted": 4}
    cells = {
        "1.1.0": text("SIMULATED"),
        "1.2.0": text("UPS 3kVA"),
        "1.3.0": text("1.0"),
        "2.1.0": integer(4 if ups.charge <= 0 else 3 if battery and ups.charge < LOW_CHARGE else 2),
        "2.2.0": integer(ups.on_battery_s),
        "2.3.0": gauge(minutes),
        "2.4.0": gauge(ups.charge * 100),
        "2.5.0": gauge(ups.battery_v * 10),
        "2.6.0": integer(-flow_a * 10),
        "2.7.0": integer(plant.climate.inside_c),
        "3.2.0": gauge(1),
        "3.3.1.2.1": integer(plant.mains.frequency_hz * 10 if v else 0),
        "3.3.1.3.1": integer(v),
        "4.1.0": integer({"off": 2, "line": 3, "bypass": 4, "battery": 5}[ups.source]),
        "4.2.0": gauge(500 if on else 0),
        "4.3.0": gauge(1),
        "4.4.1.2.1": integer(230 if on else 0),
        "4.4.1.3.1": integer(load_w / 230 * 10),
        "4.4.1.4.1": integer(load_w),
        "4.4.1.5.1": integer(load_w / 0.9 / ups.rated_va * 100),
        "7.1.0": Cell("oid", f"{U}.7.7.{test}"),
        "7.2.0": integer(seen.memory.get(SPIN_LOCK, 0)),
        "7.3.0": integer(results[ups.test_result]),
        "7.4.0": text(""),
        "7.6.0": integer(ups.tested_s * 100),
    }
    alarms = _alarms(seen)
    cells["6.1.0"] = gauge(len(alarms))
    for k, alarm in enumerate(alarms, 1):
        cells |= {f"6.2.1.2.{k}": Cell("oid", f"{U}.6.3.{alarm}"), f"6.2.1.3.{k}": Cell("ticks", int(plant.t * 100))}
    head = system("UPS card", f"{U[:-2]}", "ups", plant.t + 3600.0)
    return head | {f"{U}.{name}": cell for name, cell in cells.items()}


def _alarms(seen: Seen) -> list[int]:
    ups = seen.plant.ups
    on_battery = ups.source == "battery"
    conditions = {
        1: ups.replace,
        2: on_battery,
        3: on_battery and ups.charge < LOW_CHARGE,
        4: ups.charge <= 0.0,
        6: seen.plant.mains.at(0) < 176.0,
        8: ups.load_w / 0.9 > ups.rated_va,
        14: ups.source == "off",
        24: ups.testing_s > 0.0,
    }
    return [alarm for alarm, active in conditions.items() if active]


def set_object(seen: Seen, oid: str, cell: Cell) -> Effect:
    """The test identity is an OID-valued write; the spin lock takes only its present value and counts on."""
    if oid == f"{U}.7.1.0":
        if cell.kind != "oid":
            raise Declined("wrongType")
        if cell.value not in TESTS:
            raise Declined("wrongValue")
        chosen = str(cell.value)
        return Effect(memory={LAST_TEST: int(chosen.rsplit(".", 1)[1])}, orders=(UpsTesting(TESTS[chosen]),))
    if oid == f"{U}.7.2.0":
        present = seen.memory.get(SPIN_LOCK, 0)
        if number(cell) != present:
            raise Declined("inconsistentValue")
        return Effect(memory={SPIN_LOCK: (present + 1) % 2**31})
    raise Declined("notWritable")


def alarms(seen: Seen) -> frozenset[Alarm]:
    """For each condition upsTrapAlarmEntryAdded and upsTrapAlarmEntryRemoved."""
    return frozenset(Alarm(f"{TRAPS}.0.3", f"{TRAPS}.0.4", alarm) for alarm in _alarms(seen))


UPS_MIB = SnmpProduct(table, set_object, alarms)
