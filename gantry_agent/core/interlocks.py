"""What is never ordered of hardware now, whoever asks: each question answers None, or why not.

A reason is Chinese and short, for it travels in `msg` (40 characters, of which 30 are left). What nobody knows is
taken to be bad: no order is worth a dark cabinet. Instants are given, all of one question on the same clock; what has
to hold across a restart is kept as an `Instant`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from gantry_agent.model import Interlocks, Quality, Reading, Role, Snapshot, Value

DISCHARGING, TESTING = 3, 5  # ups.runningState (PROTOCOL §2)
MAINS_ALARMS = ("缺相", "输入过压", "输入欠压")  # of the standard texts of elec (PROTOCOL §2)
FUSE_BLOWN = "电池熔丝断"  # of those of ups: nothing would carry the load
NOISE_A = 0.5  # a battery at rest may show so much
NO_MAINS_V = 100.0  # below it there is no mains, whatever the meter calls normal
CLOCK_LOST = 1_704_067_200.0  # 2024-01-01: a computer that shows an older time has lost its own


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment as it is kept for a later process: Unix seconds, and the monotonic clock of that boot of the host."""

    at: float
    boot: str = ""  # empty: not known
    mono: float = 0.0

    def taken_up(self, wall: float, mono: float, boot: str) -> float:
        """Put it on the monotonic clock of this process; what cannot have been is now, so a rest begins anew then.

        Within one boot no step of the wall clock matters. Over a boot one that was set back makes a rest longer by no
        more than its length, and never endless.
        """
        if boot and self.boot == boot:
            return min(self.mono, mono)
        return mono if self.at < CLOCK_LOST else mono - max(0.0, wall - self.at)


# --- relays and air conditioners ------------------------------------------------------------------------------------


def hold_off(last: float | None, now: float, hold_off_s: float) -> str | None:
    """A relay is not cut again so soon: what it feeds is still starting (cmd 1). `last` None: never cut."""
    left = 0.0 if last is None else last + hold_off_s - now
    return f"距上次重启过近，还需{ceil(left)}秒" if left > 0 else None


def compressor(off_since: float | None, now: float, rest_s: float) -> str | None:
    """An air conditioner rests before it runs again (cmd 3). `off_since` None: it runs, so nothing starts anew.

    For a unit that was found off, since when is not known: give the instant it was found, which is the safe side.
    """
    left = 0.0 if off_since is None else off_since + rest_s - now
    return f"压缩机保护，还需{ceil(left)}秒" if left > 0 else None


def supply(cut_at: float, stopped: Iterable[float], now: float, rest_s: float) -> float:
    """Seconds that a supply stays cut still, for the compressors that it feeds would run at once (cmd 1 and 5).

    Counted from when it was cut or one of them last ran (`stopped`), whichever is later.
    """
    return max(0.0, max((cut_at, *stopped)) + rest_s - now)


def stays_cut(left_s: float) -> str:
    """What the cloud hears of a supply that comes back by itself when its compressors have rested."""
    return f"压缩机保护，{ceil(left_s)}秒后恢复"


# --- batteries ------------------------------------------------------------------------------------------------------


def rectifier_off(snapshot: Snapshot, interlocks: Interlocks) -> str | None:
    """No rectifier is switched off while a battery of the cabinet could not carry the load (cmd 8)."""
    batteries = list(_members(snapshot, "ups"))
    if not batteries:
        return "没有电池数据"
    volts = [v for _, one in _members(snapshot, "rectifier") if (v := _value(one, "outputVoltage")) is not None]
    bus = max(map(float, volts), default=None)  # a module that is off shows less than the bus has
    found = (_battery(f"电池{role.number}", one, bus, interlocks) for role, one in batteries)
    return next((why for why in found if why), None)


def _battery(name: str, battery: dict[str, Reading], bus: float | None, interlocks: Interlocks) -> str | None:
    """Tell what keeps one battery from carrying the load; `bus` is the voltage that the rectifiers show."""
    state, current = _value(battery, "runningState"), _value(battery, "outputCurrent")
    if state == TESTING:
        return f"{name}正在测试"
    if state == DISCHARGING or (current is not None and float(current) > NOISE_A):
        return f"{name}正在放电"
    if state is None and current is None:
        return f"{name}状态未知"
    if FUSE_BLOWN in str(_value(battery, "warningMsg") or ""):
        return f"{name}熔丝断"
    shown = [_value(battery, "outputVoltage"), _value(battery, "inputVoltage"), bus]
    volts, percent = next((float(v) for v in shown if v is not None), None), _value(battery, "powerRate")
    if volts is None and percent is None:
        return f"{name}电量未知"
    if volts is not None and volts < interlocks.battery_low_v:
        return f"{name}电压低: {volts:.1f}V"
    if percent is not None and float(percent) < interlocks.battery_low_percent:
        return f"{name}电量低: {float(percent):.3g}%"
    return None


def battery_test(snapshot: Snapshot) -> str | None:
    """No battery test without sound mains, nor while a battery discharges already (cmd 9, D14).

    A test that runs is no obstacle here: who keeps the test knows whether it is the same one.
    """
    if (why := mains(snapshot)) is not None:
        return why
    for role, battery in _members(snapshot, "ups"):
        state = battery.get("runningState")
        if state is None or state.quality in (Quality.GET_FAILED, Quality.NO_DATA):
            return f"电池{role.number}状态未知"
        if state.value == DISCHARGING:
            return f"电池{role.number}正在放电"
    return None


def mains(snapshot: Snapshot) -> str | None:
    """Tell why the mains of a cabinet cannot be counted on: abnormal at one of its meters, or not known."""
    supplies = list(_members(snapshot, "elec"))
    if not supplies:
        return "没有市电数据"
    for role, supply in supplies:
        status, volts = _value(supply, "status"), _value(supply, "voltage")
        text = str(_value(supply, "warningMsg") or "")
        if status is None:
            return f"市电{role.number}状态未知"
        alarm = next((one for one in text.split(",") if any(word in one for word in MAINS_ALARMS)), "")
        if alarm or status == 0 or (volts is not None and float(volts) < NO_MAINS_V):
            return f"市电{role.number}异常" + (f": {alarm}" if alarm else "")
    return None


def _members(snapshot: Snapshot, member: str) -> Iterator[tuple[Role, dict[str, Reading]]]:
    return ((role, dict(one)) for role, one in sorted(snapshot.entries.items()) if role.member == member)


def _value(readings: dict[str, Reading], name: str) -> Value | None:
    """Return what a field reads now; None where it cannot be read or is not to be had."""
    reading = readings.get(name)
    return reading.value if reading is not None and reading.quality is Quality.OK else None
