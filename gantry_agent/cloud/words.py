"""Orders and their ends in words: for the audit and a dry run in both languages, for the log in English.

What is secret stays out: of a whitelist only its length is told, for its numbers open doors. The words of the interface
(`computer`, `cabinet`, the texts of `msg`) stay as the interface has them.
"""

from decimal import Decimal
from typing import assert_never

from gantry_agent.command import (
    AskBatteryTest,
    Command,
    Defend,
    Done,
    Failed,
    Outcome,
    Partial,
    Reboot,
    Refused,
    RunAirConditioner,
    SetFrequency,
    SetPowerMode,
    SetServer,
    SetTemperatures,
    SetWhitelist,
    SwitchRectifiers,
    TestBattery,
    Unlock,
    UpdateNow,
)
from gantry_agent.text import Text

_SIDES = {"front": Text("前门", "front door"), "back": Text("后门", "back door")}


def shown(order: Command) -> Text:
    """Say what an order asks for."""
    match order:
        case SetServer(channel, server):
            return Text(f"{channel} 上传到 {server}", f"upload {channel} to {server}")
        case SetFrequency(channel, interval_s):
            return Text(f"{channel} 每 {interval_s} 秒上传一次", f"upload {channel} every {interval_s} s")
        case UpdateNow(channel):
            return Text(f"立即上传 {channel}", f"upload {channel} now")
        case Reboot(relay):
            return Text(f"经继电器 {relay} 重启", f"reboot by relay {relay}")
        case Unlock(cabinet, side):
            door = of_door(cabinet, side)
            return Text(f"解锁{door.zh}", f"unlock the {door.en}")
        case RunAirConditioner(cabinet, number, run):
            unit, does = _air(cabinet, number), Text("运行", "run") if run else Text("待机", "stand by")
            return Text(f"{unit.zh}{does.zh}", f"{unit.en}: {does.en}")
        case SetTemperatures(cabinet, number, cooling, heating):
            unit, points = _air(cabinet, number), _set_points(cooling, heating)
            return Text(f"{unit.zh}：{points.zh}", f"{unit.en}: {points.en}")
        case SetPowerMode(mode):
            return Text(f"电源模式 {mode}", f"power mode {mode}")
        case Defend(on):
            return Text("布防", "door defence on") if on else Text("撤防", "door defence off")
        case SetWhitelist(cards):
            return Text(f"白名单，{len(cards)} 张卡", f"whitelist of {len(cards)} cards")
        case SwitchRectifiers(cabinet, on):
            does = Text("开启", "on") if on else Text("关闭", "off")
            return Text(f"机柜 {cabinet} 整流模块{does.zh}", f"rectifiers of cabinet {cabinet} {does.en}")
        case TestBattery(cabinet, start):
            does = Text("开始", "begin") if start else Text("停止", "end")
            return Text(f"{does.zh}机柜 {cabinet} 的电池测试", f"{does.en} the battery test of cabinet {cabinet}")
        case AskBatteryTest(cabinet):
            return Text(f"查询机柜 {cabinet} 的电池测试结果", f"result of the battery test of cabinet {cabinet}")
        case _:
            assert_never(order)


def told(outcome: Outcome) -> Text:
    """Say how an order ended; the reason is in the words that travel in `msg`."""
    match outcome:
        case Done():
            return Text("已执行", "done")
        case Partial(failed, why):
            units = ", ".join(map(str, failed))
            return Text(f"第 {units} 台未执行：{why}", f"not done by {units}: {why}")
        case Refused(field):
            return Text(f"字段 {field} 有误", f"the field {field} is wrong")
        case Failed(why):
            return Text(f"未执行：{why}", f"not done: {why}")
        case _:
            assert_never(outcome)


def of_door(cabinet: int, side: str) -> Text:
    """Name a door."""
    return Text(f"机柜 {cabinet} {_SIDES[side].zh}", f"{_SIDES[side].en} of cabinet {cabinet}")


def _air(cabinet: int, number: int) -> Text:
    if number == 0:
        return Text(f"机柜 {cabinet} 全部空调", f"every air conditioner of cabinet {cabinet}")
    return Text(f"机柜 {cabinet} 空调 {number} ", f"air conditioner {number} of cabinet {cabinet}")


def _set_points(cooling: Decimal | None, heating: Decimal | None) -> Text:
    said = [Text(f"制冷 {cooling} °C", f"cool from {cooling} °C")] if cooling is not None else []
    said += [Text(f"制热 {heating} °C", f"heat from {heating} °C")] if heating is not None else []
    return Text("，".join(one.zh for one in said), ", ".join(one.en for one in said))
