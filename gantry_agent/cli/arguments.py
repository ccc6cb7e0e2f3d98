"""The words of the command line: every subcommand with its arguments, explained in the reader's language."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gantry_agent.cli import command, profiles
from gantry_agent.cli.usage import Parser, count, span, units
from gantry_agent.text import Language, Text

DEFAULT_FILE = Path("/etc/gantry-agent/gantry.yaml")
PORTS = {"snmp": 161, "modbus-tcp": 502, "zte-http": 80}  # of hosts that `identify` asks
PUBLIC = "public"  # the one community that is no secret
QUESTIONS = ("doctor", "frames", "probe", "scan")  # a technician's, asked of the running daemon

_HELP = {
    "": Text("ETC 门架机柜监测程序", "monitors the cabinets of an ETC toll gantry"),
    "run": Text("运行（由 systemd 启动）", "run the daemon"),
    "check": Text("检查配置文件，列出所有错误", "check the site file and list every fault"),
    "show": Text("读取所有设备一次，打印将要上传的内容", "read everything once and print what would be uploaded"),
    "profiles": Text(
        "已知的设备型号；show、lint、schema：一个型号、检查型号文件、其 JSON Schema",
        "the products that are known; show one, lint a file, or print the schema of such files",
    ),
    "schema": Text("打印配置文件的 JSON Schema（供编辑器使用）", "print the site file's JSON Schema for editors"),
    "state": Text("查看或清除平台下发的设置", "show or reset what the cloud has set"),
    "outbox": Text(
        "查看等待上传的记录；gaps：缺了哪些、为什么；outages：何时断网、断在哪里",
        "show the records waiting to be uploaded; gaps: which are missing, and why; outages: when the cloud could not"
        " be reached, and which hop failed",
    ),
    "command": Text(
        "在本地执行平台的命令（同样检查，同样记入审计）", "the cloud's commands from here, checked and audited alike"
    ),
    "audit": Text(
        "谁要求做什么、做了没有；show：查看，verify：校验是否被改动",
        "who asked what, and what was done; show them, or verify that nobody edited them",
    ),
    "identify": Text(
        "认出总线或主机上是什么设备，给出配置行", "tell which product answers, and print its lines for the site file"
    ),
    "doctor": Text(
        "检查总线、接线、上传、时钟和摄像机，指出问题",
        "look at buses, wiring, uploads, clock and cameras, and say what is wrong",
    ),
    "frames": Text("显示一条总线的原始报文", "show the raw frames of a bus"),
    "probe": Text("读取一个设备：原始报文和逐点数值", "read one device: raw frames, and point by point"),
    "scan": Text("扫描一条总线上有哪些设备应答", "find out who answers on a bus"),
}
NAMES = tuple(name for name in _HELP if name)


def parser(language: Language) -> Parser:
    """Build the parser of all subcommands."""
    whole = Parser(prog="gantry-agent", description=_HELP[""].render(language), language=language)
    subparsers = whole.add_subparsers(dest="command", required=True, metavar=whole.say("命令", "COMMAND"))
    for name in NAMES:
        said = _HELP[name].render(language)
        _fill(subparsers.add_parser(name, help=said, description=said, language=language), name)
    return whole


def _fill(sub: Parser, name: str) -> None:
    if name not in {"profiles", "schema"}:
        said = sub.say(f"配置文件（默认 {DEFAULT_FILE}）", f"the site file (default: {DEFAULT_FILE})")
        sub.add_argument("-c", "--config", type=Path, default=DEFAULT_FILE, metavar=sub.say("文件", "FILE"), help=said)
    match name:
        case "run":
            sub.add_argument("-v", "--verbose", action="store_true", help=sub.say("日志更详细", "log more"))
        case "profiles":
            profiles.add_arguments(sub)
        case "state":
            said = sub.say(
                "清除一项（如 server.cabinet），恢复配置文件中的值；程序运行时立即生效",
                "drop one (like server.cabinet): the site file counts again, at once where the agent runs",
            )
            sub.add_argument("reset", nargs="*", metavar=sub.say("reset 名称", "reset NAME"), help=said)
        case "outbox":
            said = sub.say(
                "缺了哪些 | 何时断网；不写则列出等待的记录", "what is missing | offline when; without: what waits"
            )
            sub.add_argument("what", nargs="?", choices=("gaps", "outages"), help=said)
            _since(sub, "30d")
        case "command":
            _command(sub)
        case "audit":
            _audit(sub)
        case "identify":
            _identify(sub)
        case "probe" | "scan" | "frames" | "doctor":
            _question(sub, name)


def _since(sub: Parser, default: str) -> None:
    said = sub.say(f"多长时间以来（默认 {default}）", f"since how long ago (default: {default})")
    sub.add_argument("--since", type=span, default=default, metavar="30d|12h|90m", help=said)


def _json(sub: Parser) -> None:
    sub.add_argument("--json", action="store_true", help=sub.say("每行一个 JSON 对象", "one JSON object a line"))


def _command(sub: Parser) -> None:
    """Add the arguments of `command`, and list the words it knows."""
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.epilog = command.usage(sub.language)
    said = sub.say("命令名或 1 到 10，及其字段", "the name of a command or 1 to 10, and its fields")
    sub.add_argument("words", nargs="+", metavar=sub.say("命令|字段=值", "COMMAND|FIELD=VALUE"), help=said)
    dry = sub.say("只检查并打印将要写出的报文", "only check, and print the frames that would be written")
    computer = sub.say("对计算机上传（computerControl）生效", "about the computers' uploads (computerControl)")
    sub.add_argument("--dry-run", action="store_true", help=dry)
    sub.add_argument("--computer", action="store_true", help=computer)
    _json(sub)


def _audit(sub: Parser) -> None:
    said = sub.say("查看 | 校验是否被改动", "show them | verify that nobody edited them")
    sub.add_argument("what", choices=("show", "verify"), help=said)
    _since(sub, "7d")
    at = sub.say("这个时刻前后十分钟：03:12 或 2026-11-24 03:12", "ten minutes around: 03:12 or 2026-11-24 03:12")
    sub.add_argument("--at", metavar="03:12", help=at)
    sub.add_argument("--latest", type=count, metavar="N", help=sub.say("最近多少条", "how many of the latest"))
    _json(sub)


def _identify(sub: Parser) -> None:
    """Add the arguments of `identify`."""
    target = sub.say("总线名，或主机地址[:端口]", "a bus of the site file, or host[:port]")
    community = sub.say("SNMP 团体名（默认 public）", "SNMP community (default public)")
    version = sub.say("SNMP 版本（默认 2c）", "version of SNMP (default 2c)")
    kind = sub.say("主机讲什么（默认依次试）", "what the host speaks (default: each in turn, until it answers)")
    asked = sub.say("只问这些地址，如 1-32", "only these units, like 1-32")
    sub.add_argument("target", metavar=sub.say("总线|主机", "BUS|HOST"), help=target)
    sub.add_argument("--community", default=PUBLIC, metavar=sub.say("团体名", "COMMUNITY"), help=community)
    sub.add_argument("--snmp-version", choices=("1", "2c"), default="2c", help=version)
    sub.add_argument("--type", choices=tuple(PORTS), help=kind)
    sub.add_argument("--units", type=units, metavar=sub.say("首-末", "FIRST-LAST"), help=asked)
    _recording(sub)
    _json(sub)


def _recording(sub: Parser) -> None:
    """Add `--record`."""
    record = sub.say(
        "同时录制（已隐去名称、序列号、地址、口令），可发给开发者",
        "record it too, without names, serial numbers, addresses and secrets, to be sent in",
    )
    sub.add_argument("--record", action="store_true", help=record)
    said = sub.say("录制文件", "the file of the recording")
    sub.add_argument("-o", "--output", type=Path, metavar=sub.say("文件", "FILE"), help=said)


def _question(sub: Parser, name: str) -> None:
    """Add the arguments of a technician's question."""
    if name == "probe":
        said = sub.say("设备，如 1.meter", "the device, like 1.meter")
        sub.add_argument("device", metavar=sub.say("设备", "DEVICE"), help=said)
        _recording(sub)
    if name in {"scan", "frames"}:
        sub.add_argument("bus", metavar=sub.say("总线", "BUS"), help=sub.say("总线名", "the name of the bus"))
    if name == "scan":
        said = sub.say("只扫描这些地址，如 1-32", "only these units, like 1-32")
        sub.add_argument("--units", type=units, metavar=sub.say("首-末", "FIRST-LAST"), help=said)
        thorough = sub.say("四种功能码都问（慢一倍）", "ask by all four functions (twice as long)")
        sub.add_argument("--thorough", action="store_true", help=thorough)
    if name == "frames":
        said = sub.say("显示最近多少帧（默认 200）", "how many of the latest frames (default: 200)")
        sub.add_argument("--latest", type=count, default=200, metavar="N", help=said)
    _json(sub)


def parse(words: Sequence[str] | None, language: Language) -> argparse.Namespace:
    return parser(language).parse_args(words)
