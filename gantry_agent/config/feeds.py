"""`feeds:` of an output: which air conditioners lose their supply with it, so that no compressor is run too soon again.

They are named by their numbers in the interface (airId), or all of the cabinet by the word alone, which also means one
that nothing reads. Only those of the output's own cabinet can be meant: a number says nothing without its cabinet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from gantry_agent.cloud.commands import air_conditioners
from gantry_agent.config import schema
from gantry_agent.config.complaints import Complaints
from gantry_agent.faults import Path_
from gantry_agent.field.product import Profile
from gantry_agent.model import Cabinet, Device, Output
from gantry_agent.text import Text

AIR: Final = "airConditioners"


def fed(
    shape: schema.SiteFile,
    cabinets: Sequence[Cabinet],
    devices: Mapping[str, Device],
    profiles: Mapping[str, Profile],
    complaints: Complaints,
) -> tuple[Cabinet, ...]:
    """Return the cabinets, their outputs knowing which air conditioners they feed; complain of what cannot be."""
    units = {cabinet.number: air_conditioners(devices.values(), cabinet.number) for cabinet in cabinets}
    found = []
    for i, (given, cabinet) in enumerate(zip(shape.cabinets, cabinets, strict=True)):
        outputs = dict(cabinet.outputs)
        for name, output in given.outputs.items():
            if output.feeds is None or output.feeds.what != AIR:
                continue
            path: Path_ = ("cabinets", i, "outputs", name)
            if output.pulse_s is not None:
                said = Text(
                    f"{name} 为空调供电，不能有 pulse_s：停机时间由 interlocks 的 compressor_off_s 决定",
                    f"{name} feeds an air conditioner and cannot have pulse_s: compressor_off_s of interlocks says "
                    "how long it stays off",
                )
                complaints.add((*path, "pulse_s"), said.zh, said.en)
            whole = all(f"{given.id}.{key}" in profiles for key in given.devices)  # else its numbers are not known
            for k, said in _unknown(output.feeds.numbers or (), given.id, units) if whole else ():
                complaints.add((*path, "feeds", AIR, k), said.zh, said.en)
            outputs[name] = _feeding(outputs[name], output.feeds.numbers, units[given.id])
        found.append(replace(cabinet, outputs=outputs))
    return tuple(found)


def _feeding(output: Output, numbers: Sequence[int] | None, there: Sequence[int]) -> Output:
    return replace(output, feeds=AIR, units=tuple(there if numbers is None else sorted(set(numbers))))


def _unknown(numbers: Sequence[int], cabinet: int, units: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, Text]]:
    """Name the numbers that no air conditioner of the cabinet has, or that stand twice, with their places."""
    valid = ", ".join(map(str, units[cabinet]))
    can = (
        Text(f"可用：{valid}", f"valid: {valid}")
        if valid
        else Text("本机柜没有读取任何空调，请写 feeds: airConditioners", "it reads none; write feeds: airConditioners")
    )
    for k, number in enumerate(numbers):
        elsewhere = [other for other, theirs in units.items() if other != cabinet and number in theirs]
        if number in numbers[:k]:
            yield k, Text(f"空调 {number} 重复", f"air conditioner {number} is given twice")
        elif number not in units[cabinet] and elsewhere:
            yield (
                k,
                Text(
                    f"空调 {number} 属于机柜 {elsewhere[0]}，输出只能为本机柜（{cabinet}）的空调供电；{can.zh}",
                    f"air conditioner {number} is one of cabinet {elsewhere[0]}; an output feeds those of its own, "
                    f"cabinet {cabinet}: {can.en}",
                ),
            )
        elif number not in units[cabinet]:
            yield (
                k,
                Text(
                    f"机柜 {cabinet} 没有空调 {number}；{can.zh}",
                    f"cabinet {cabinet} has no air conditioner {number}; {can.en}",
                ),
            )
