"""`gantry-agent command`: the cloud's commands from a shell at the cabinet, through the running daemon.

The fields are those of the interface, as `name=value`; the command is its number or its word. A list of cards may
stand in a file: `cardInfos=@cards.csv`, a line per card with its number and its last day.
"""

import asyncio
import contextlib
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gantry_agent.config import Config
from gantry_agent.console import door
from gantry_agent.faults import suggest
from gantry_agent.model import AgentError
from gantry_agent.text import Language, Text, of_system


@dataclass(frozen=True, slots=True)
class Word:
    """One command of the interface: its number, what it is, its fields, and examples with what each does."""

    number: int
    said: Text
    fields: str
    examples: tuple[tuple[str, Text], ...]


WORDS: Mapping[str, Word] = MappingProxyType(
    {
        "reboot": Word(
            1,
            Text("远程重启", "reboot by a relay"),
            "rebootIp= rebootPort=",
            (
                ("rebootIp=192.168.1.50 rebootPort=1", Text("relays 中这个地址和端口的一路", "that one of relays")),
                ("", Text("relays 中标明 default 的一路", "the one of relays that is the default")),
            ),
        ),
        "unlock": Word(
            2,
            Text("解锁机柜门", "unlock a door"),
            "cabinetId= unlockDoorId=1|2",
            (
                ("cabinetId=1 unlockDoorId=1", Text("前门", "the front door")),
                ("cabinetId=1 unlockDoorId=2", Text("后门", "the back door")),
            ),
        ),
        "air": Word(
            3,
            Text("空调运行或待机", "air conditioner: run or stand by"),
            "cabinetId= airId= airOperate=1|2",
            (
                ("cabinetId=1 airId=1 airOperate=2", Text("空调 1 待机", "number 1 stands by")),
                ("cabinetId=1 airId=0 airOperate=1", Text("全部运行", "all of them run")),
            ),
        ),
        "temperatures": Word(
            4,
            Text("空调的温度设定", "set points of an air conditioner"),
            "cabinetId= airId= autoRefrigerationTemp= autoHeatingTemp=",
            (
                (
                    "cabinetId=1 airId=1 autoRefrigerationTemp=28 autoHeatingTemp=5",
                    Text("28 °C 起制冷，5 °C 起制热", "cool from 28 °C, heat from 5 °C"),
                ),
            ),
        ),
        "power-mode": Word(
            5,
            Text("电源模式", "power mode"),
            "mode=0|1|2|3",
            (
                ("mode=0", Text("全部供电", "everything has its supply")),
                ("mode=1", Text("切断 power_modes 第 1 级", "cut level 1 of power_modes")),
            ),
        ),
        "defend": Word(
            6,
            Text("布防", "door defence"),
            "isDoorDefend=0|1",
            (
                ("isDoorDefend=1", Text("布防", "on")),
                ("isDoorDefend=0", Text("撤防", "off")),
            ),
        ),
        "cards": Word(
            7,
            Text("下发白名单", "card whitelist"),
            "cardInfos=@FILE.csv",
            (("cardInfos=@cards.csv", Text("名单以此文件为准", "the list is what that file has")),),
        ),
        "rectifiers": Word(
            8,
            Text("整流模块开关", "rectifiers on or off"),
            "cabinetId= onOff=0|1",
            (("cabinetId=1 onOff=1", Text("全部开启", "all of them on")),),
        ),
        "battery-test": Word(
            9,
            Text("电池测试", "battery test"),
            "cabinetId= testStartStop=0|1",
            (
                ("cabinetId=1 testStartStop=1", Text("开始", "begin")),
                ("cabinetId=1 testStartStop=0", Text("停止", "end")),
            ),
        ),
        "battery-result": Word(
            10,
            Text("查询电池测试结果", "result of the battery test"),
            "cabinetId=",
            (("cabinetId=1", Text("上一次的结果", "of the last one")),),
        ),
    }
)
OTHERS = (
    ("setFrequency=300", Text("机柜每 300 秒上传一次", "the cabinets are uploaded every 300 s")),
    (
        "--computer setServer=192.168.1.9:8080",
        Text("计算机上传到该服务器", "the computers are uploaded to that server"),
    ),
    ("updateNow=1", Text("机柜立即上传", "the cabinets are uploaded now")),
)

NOTES = (
    Text(
        "FILE.csv 每行一张卡：卡号,有效期，如 12345678,2027-12-31；# 开头的行不读。FILE.json 同接口的数组。",
        "FILE.csv has a line per card: number,yyyy-mm-dd, like 12345678,2027-12-31; lines that begin with # are not"
        " read. FILE.json is the interface's array.",
    ),
    Text(
        "setServer=、setFrequency=、updateNow=1 对机柜上传生效；加 --computer 则对计算机上传生效。",
        "setServer=, setFrequency= and updateNow=1 are about the cabinets' uploads; with --computer, the computers'.",
    ),
    Text(
        "cabinetId 不写即为 1。先加 --dry-run 看会写出什么。",
        "Without cabinetId it is 1. With --dry-run first, it is shown what would be written.",
    ),
    Text("命令由运行中的 gantry-agent 执行，没有运行则不能下命令。", "A command goes through the running daemon."),
)


def usage(language: Language) -> str:
    """The words, their fields, and examples that can be typed."""
    lines = [Text("命令、字段和示例：", "Commands, their fields, and examples:").render(language), ""]
    for word, one in WORDS.items():
        lines.append(f"  {one.number:>2}  {word:15} {one.said.render(language)}  {one.fields}")
        lines += [_example(f"{word} {fields}".rstrip(), said, language) for fields, said in one.examples]
    lines += ["", Text("其他：", "Others:").render(language)]
    lines += [_example(fields, said, language) for fields, said in OTHERS]
    return "\n".join((*lines, "", *(text.render(language) for text in NOTES)))


def _example(words: str, said: Text, language: Language) -> str:
    return f"        gantry-agent command {words}  # {said.render(language)}"


def read(words: Sequence[str]) -> dict[str, Any]:
    """The business member that the words mean. Raises AgentError."""
    business: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            business[name] = _from_file(Path(value[1:])) if value.startswith("@") else value
        elif word in WORDS:
            business["cmd"] = str(WORDS[word].number)
        elif word.isdigit():
            business["cmd"] = word
        else:
            tail = suggest(word, WORDS)
            raise AgentError(
                Text(
                    f"没有命令 {word}：应为 字段=值、1 到 10，或命令名{tail.zh}",
                    f"cannot read {word!r}: valid are name=value, 1 to 10, or the name of a command{tail.en}",
                )
            )
    return business


def _from_file(path: Path) -> list[dict[str, str]]:
    """A list of cards: JSON as the interface has it, or a line per card, `number,yyyy-mm-dd`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix == ".json" else None
        rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].startswith("#")]
    except (ValueError, RecursionError, csv.Error) as fault:
        raise AgentError(
            Text(
                f"无法读取 {path}：应为 UTF-8 编码的 JSON，或每行 卡号,yyyy-mm-dd",
                f"cannot read {path}: {fault}; valid are UTF-8, JSON or lines of number,yyyy-mm-dd",
            )
        ) from fault
    except OSError as fault:
        why = of_system(fault)
        raise AgentError(Text(f"无法读取 {path}：{why.zh}", f"cannot read {path}: {why.en}")) from fault
    if path.suffix == ".json":
        if not isinstance(found, list):
            raise AgentError(Text(f"{path} 应为卡的数组", f"cannot use {path}: a list of cards is wanted"))
        return found
    for place, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise AgentError(
                Text(
                    f"{path} 的第 {place} 张卡：每行应为 卡号,yyyy-mm-dd",
                    f"cannot use card {place} of {path}: a line is number,yyyy-mm-dd",
                )
            )
    return [{"cardId": number.strip(), "expireDate": day.strip()} for number, day in rows]


def run(config: Config, words: Sequence[str], language: Language, *, computer: bool, dry: bool, as_json: bool) -> int:
    """Order it, print what comes, and give the exit code: 0 when the answer is 1000."""
    method = "computerControl" if computer else "cabinetControl"
    question = {"ask": "command", "method": method, "business": read(words), "dry": dry}
    code = ""
    hints: list[str] = []  # what would be valid

    async def order() -> None:
        nonlocal code
        async with contextlib.aclosing(door.ask(config.storage / door.NAME, question)) as steps:  # type: ignore[type-var]
            async for step in steps:
                if as_json:
                    print(json.dumps(step, ensure_ascii=False))
                elif "order" in step:
                    print(step["order"][language])
                    for said in step["steps"]:
                        print(f"    {said[language]}")
                elif step.get("valid"):
                    hints.append(f"    {step['refused']}: {step['valid'][language]}")
                if "answer" in step:
                    code = step["answer"]["code"]
                    if not as_json:
                        _tell(step["answer"], hints, language, dry=dry)

    try:
        asyncio.run(order())
    except door.NobodyHome as fault:
        raise AgentError(
            Text(
                f"{fault.text.zh}；命令由运行中的程序执行，请先启动",
                f"{fault}; a command goes through the running daemon",
            )
        ) from fault
    return 0 if code == "1000" else 1


def _tell(answer: Mapping[str, Any], hints: Sequence[str], language: Language, *, dry: bool) -> None:
    print("\n".join((f"{answer['code']} {answer['msg']}", *hints)))
    for name, value in answer.get("batterysTestResult", {}).items():
        print(f"    {name}: {value}")
    if dry:
        print(Text("（演练，没有写入任何设备）", "(a dry run; nothing was written)").render(language))
