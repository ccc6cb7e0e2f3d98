"""`gantry-agent command`: the cloud's commands from a shell at the cabinet, through the running daemon.

The fields are those of the interface, as `name=value`; the command is its number or its word. A list of cards may
stand in a file: `cardInfos=@cards.csv`, a line per card with its number and its last day.
"""

import asyncio
import contextlib
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gantry_agent.agent import DOOR
from gantry_agent.config import Config
from gantry_agent.console import door
from gantry_agent.model import AgentError
from gantry_agent.text import Language, Text

WORDS: Mapping[str, tuple[int, Text, str]] = MappingProxyType(
    {
        "reboot": (1, Text("远程重启", "reboot by a relay"), "rebootIp= rebootPort="),
        "unlock": (2, Text("解锁机柜门", "unlock a door"), "cabinetId= unlockDoorId=1|2"),
        "air": (3, Text("开关空调", "air conditioner"), "cabinetId= airId= airOperate=1|2"),
        "temperatures": (
            4,
            Text("调节空调温度", "its set points"),
            "cabinetId= airId= autoRefrigerationTemp= autoHeatingTemp=",
        ),
        "power-mode": (5, Text("电源模式", "power mode"), "mode=0|1|2|3"),
        "defend": (6, Text("布防", "door defence"), "isDoorDefend=0|1"),
        "cards": (7, Text("下发白名单", "card whitelist"), "cardInfos=@FILE.csv"),
        "rectifiers": (8, Text("整流模块开关", "rectifiers on/off"), "cabinetId= onOff=0|1"),
        "battery-test": (9, Text("电池测试", "battery test"), "cabinetId= testStartStop=0|1"),
        "battery-result": (10, Text("查询电池测试结果", "its result"), "cabinetId="),
    }
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
    Text("命令由运行中的 gantry-agent 执行，没有运行则不能下命令。", "A command goes through the running daemon."),
)


def usage(language: Language) -> str:
    """The words and their fields, a line each."""
    lines = (
        f"  {number:>2}  {word:15} {said.render(language)}  {fields}" for word, (number, said, fields) in WORDS.items()
    )
    return "\n".join((*lines, "", *(text.render(language) for text in NOTES)))


def read(words: Sequence[str]) -> dict[str, Any]:
    """The business member that the words mean. Raises AgentError."""
    business: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            business[name] = _from_file(Path(value[1:])) if value.startswith("@") else value
        elif word in WORDS:
            business["cmd"] = str(WORDS[word][0])
        elif word.isdigit():
            business["cmd"] = word
        else:
            raise AgentError(f"cannot read {word!r}: valid are name=value, 1 to 10, or {', '.join(WORDS)}")
    return business


def _from_file(path: Path) -> list[dict[str, str]]:
    """A list of cards: JSON as the interface has it, or a line per card, `number,yyyy-mm-dd`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if path.suffix == ".json" else None
        rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].startswith("#")]
    except (ValueError, RecursionError, csv.Error) as fault:
        raise AgentError(f"cannot read {path}: {fault}; valid are UTF-8, JSON or lines of number,yyyy-mm-dd") from fault
    if path.suffix == ".json":
        if not isinstance(found, list):
            raise AgentError(f"cannot use {path}: a list of cards is wanted")
        return found
    for place, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise AgentError(f"cannot use card {place} of {path}: a line is number,yyyy-mm-dd")
    return [{"cardId": number.strip(), "expireDate": day.strip()} for number, day in rows]


def run(config: Config, words: Sequence[str], language: Language, *, computer: bool, dry: bool, as_json: bool) -> int:
    """Order it, print what comes, and give the exit code: 0 when the answer is 1000."""
    method = "computerControl" if computer else "cabinetControl"
    question = {"ask": "command", "method": method, "business": read(words), "dry": dry}
    code = ""

    async def order() -> None:
        nonlocal code
        async with contextlib.aclosing(door.ask(config.storage / DOOR, question)) as steps:  # type: ignore[type-var]
            async for step in steps:
                if as_json:
                    print(json.dumps(step, ensure_ascii=False))
                elif "order" in step:
                    print(step["order"])
                    for line in step["steps"]:
                        print(f"    {line}")
                if "answer" in step:
                    code = step["answer"]["code"]
                    if not as_json:
                        _tell(step["answer"], language, dry=dry)

    try:
        asyncio.run(order())
    except door.NobodyHome as fault:
        raise AgentError(f"{fault}; a command goes through the running daemon") from fault
    return 0 if code == "1000" else 1


def _tell(answer: Mapping[str, Any], language: Language, *, dry: bool) -> None:
    print(f"{answer['code']} {answer['msg']}")
    for name, value in answer.get("batterysTestResult", {}).items():
        print(f"    {name}: {value}")
    if dry:
        print(Text("（演练，没有写入任何设备）", "(a dry run; nothing was written)").render(language))
