"""The command line: thin. Each subcommand calls one function and says what it found in the reader's language."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gantry_agent.config import Config, read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import AgentError
from gantry_agent.text import Language, Text, reader_language

FAULTY_SITE_FILE = 78  # sysexits.h EX_CONFIG; the systemd unit does not try again on it
LATEST, AROUND_MOST = 50, 10_000  # of audit entries; around one moment all count, whoever knocked meanwhile
DEFAULT_FILE = Path("/etc/gantry-agent/gantry.yaml")

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
    "probe": Text("读取一个设备：原始报文和逐点数值", "read one device: raw frames, and point by point"),
    "scan": Text("扫描一条总线上有哪些设备应答", "find out who answers on a bus"),
    "doctor": Text(
        "检查总线、接线、上传和时钟，指出问题", "look at buses, wiring, uploads and clock, and say what is wrong"
    ),
    "frames": Text("显示一条总线的原始报文", "show the raw frames of a bus"),
    "identify": Text(
        "认出总线或主机上是什么设备，给出配置行", "tell which product answers, and print its lines for the site file"
    ),
    "command": Text(
        "在本地执行平台的命令（同样检查，同样记入审计）", "the cloud's commands from here, checked and audited alike"
    ),
    "audit": Text(
        "谁要求做什么、做了没有；show：查看，verify：校验是否被改动",
        "who asked what, and what was done; show them, or verify that nobody edited them",
    ),
}
_FILE = Text("配置文件", "the site file")
_RESET = Text(
    "清除一项（如 server.cabinet），下次启动后恢复配置文件中的值",
    "drop one (like server.cabinet): from the next start on the site file counts again",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code (0 good, 1 a fault, 2 wrong usage, 78 `run` on a faulty site file)."""
    language = reader_language(os.environ)
    arguments = _parser(language).parse_args(argv)
    try:
        return _COMMANDS[arguments.command](arguments, language)
    except ConfigFault as e:
        for fault in e.faults:
            print(fault.render(language), file=sys.stderr)
        count = len(e.faults)
        said = Text(f"配置有 {count} 处错误", f"{count} fault{'s' * (count > 1)} in the configuration")
        print(said.render(language), file=sys.stderr)
        return FAULTY_SITE_FILE if arguments.command == "run" else 1
    except BrokenPipeError:  # `gantry-agent profiles | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except PermissionError as e:
        said = Text(
            f"无法读取 {e.filename}：只有 root 和该文件的属组成员可以；请加 sudo",
            f"cannot read {e.filename}: only root and members of its group may; try sudo",
        )
        print(f"gantry-agent: {said.render(language) if e.filename else e}", file=sys.stderr)
    except (AgentError, OSError) as e:
        print(f"gantry-agent: {e}", file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return 1


def _parser(language: Language) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gantry-agent", description=_HELP[""].render(language))
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in _COMMANDS:
        said = _HELP[name].render(language)
        sub = subparsers.add_parser(name, help=said, description=said)
        if name not in {"profiles", "schema"}:
            sub.add_argument("-c", "--config", type=Path, default=DEFAULT_FILE, help=_FILE.render(language))
        if name == "run":
            sub.add_argument("-v", "--verbose", action="store_true")
        if name in _QUESTIONS:
            _ask_for(sub, name, language)
        if name == "identify":
            from gantry_agent.cli import identify

            identify.add_arguments(sub, language)
        if name == "profiles":
            from gantry_agent.cli import profiles

            profiles.add_arguments(sub, language)
        if name == "outbox":
            sub.add_argument("what", nargs="?", choices=("gaps", "outages"))
            sub.add_argument("--since", type=_span, default="30d", metavar="30d|12h|90m")
        if name == "command":
            _order_for(sub, language)
        if name == "audit":
            sub.add_argument("what", choices=("show", "verify"))
            sub.add_argument("--since", type=_span, default="7d", metavar="30d|12h|90m")
            sub.add_argument("--at", metavar="03:12", help=_AT.render(language))
            sub.add_argument("--latest", type=int, metavar="N")
            sub.add_argument("--json", action="store_true")
        if name == "state":
            sub.add_argument("reset", nargs="*", metavar="reset NAME", help=_RESET.render(language))
    return parser


def _run(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent import agent
    from gantry_agent.cli import logs

    logs.set_up(verbose=arguments.verbose)
    for warning in config.warnings:
        logging.getLogger("gantry_agent.config").warning("%s", warning.render("en"))
    asyncio.run(agent.run(config))
    return 0


def _check(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    site = config.site
    print(
        Text(
            f"{arguments.config}: 正确。门架 {site.gantry_id}，{len(site.cabinets)} 个机柜，"
            f"{len(site.devices)} 个设备，{len(site.buses)} 条总线",
            f"{arguments.config}: good. Gantry {site.gantry_id}, cabinets: {len(site.cabinets)}, "
            f"devices: {len(site.devices)}, buses: {len(site.buses)}",
        ).render(language)
    )
    if config.warnings:
        print(Text("请再看一下：", "Look again at:").render(language))
    for warning in config.warnings:
        print(f"  {warning.render(language)}")
    for line in _caveats(config, language):
        print(line)
    return 0


def _caveats(config: Config, language: Language) -> list[str]:
    """Say once per profile what its user must know."""
    used = {profile.name: profile for profile in config.profiles.values()}
    return [f"  {name}: {text.render(language)}" for name, profile in sorted(used.items()) for text in profile.caveats]


def _show(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent import agent
    from gantry_agent.cloud import protocol

    logging.getLogger("gantry_agent").addHandler(logging.NullHandler())  # the list below says who is silent
    watch = asyncio.run(agent.look_once(config))
    computers = protocol.build_computers(config.site, watch.snapshots[0])
    print(json.dumps({"computerStatus": computers}, ensure_ascii=False, indent=2))
    for cabinet in config.site.cabinets:
        built = protocol.build_cabinet(config.site, watch.snapshots[cabinet.number])
        print(json.dumps({"cabinetStatus": built}, ensure_ascii=False, indent=2))
    silent = [Text(f"设备 {device} 无应答", f"device {device} does not answer") for device in agent.silent(watch)]
    why = [Text("原因见 gantry-agent doctor", "gantry-agent doctor says why")] if silent else []
    for said in (*silent, *why):
        print(said.render(language), file=sys.stderr)
    _print_overrides(config, language)
    return 0


def _profiles(arguments: argparse.Namespace, language: Language) -> int:
    from gantry_agent.cli import profiles

    return profiles.run(arguments, language)


def _identify(arguments: argparse.Namespace, language: Language) -> int:
    from gantry_agent.cli import identify

    config = None
    if arguments.config != DEFAULT_FILE or arguments.config.exists():  # a new site has no file yet
        try:
            config = read_config(arguments.config)
        except ConfigFault:
            if not identify.is_host(arguments.target):
                raise
    return identify.run(config, arguments, language)


def _schema(arguments: argparse.Namespace, language: Language) -> int:
    from gantry_agent.config.schema import json_schema

    print(json.dumps(json_schema(), ensure_ascii=False, indent=2))
    return 0


def _state(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent.cli import kept
    from gantry_agent.orders.changes import OVERRIDES_SHOWN, is_override

    words = arguments.reset
    if not words:
        settings = asyncio.run(kept.overrides(config))
        nothing = Text("平台没有改过设置", "the cloud has set nothing")
        for said in kept.told_overrides(settings) if settings else [nothing]:
            print(said.render(language))
        return 0
    names = words[1:]
    if words[0] != "reset" or not names or not all(map(is_override, names)):
        valid = OVERRIDES_SHOWN
        usage = Text(
            f"用法：gantry-agent state [reset 名称 …]；可用的名称：{valid}",
            f"usage: gantry-agent state [reset NAME …]; valid names: {valid}",
        )
        print(usage.render(language), file=sys.stderr)
        return 2
    known = asyncio.run(kept.drop(config, names))
    for name in names:
        good = Text(
            f"{name} 已恢复为配置文件中的值；重启程序后生效",
            f"{name}: the site file counts again; restart the agent to apply it",
        )
        bad = Text(f"{name} 没有被设置过", f"{name} was not set")
        print((good if name in known else bad).render(language))
    return 0 if set(names) <= known else 1


def _print_overrides(config: Config, language: Language) -> None:
    from gantry_agent.cli import kept

    for said in kept.told_overrides(asyncio.run(kept.overrides(config))):
        print(said.render(language), file=sys.stderr)


def _outbox(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent.cli import kept, ledger

    good = True
    if arguments.what == "gaps":
        lines, good = asyncio.run(ledger.gaps(config, arguments.since))
    elif arguments.what == "outages":
        lines = asyncio.run(ledger.offline(config, arguments.since))
    else:
        lines = asyncio.run(kept.outbox(config))
    for line in lines:
        print(line.render(language))
    return 0 if good else 1


_AT = Text("这个时刻前后十分钟：03:12 或 2026-11-24 03:12", "ten minutes around: 03:12 or 2026-11-24 03:12")


def _order_for(sub: argparse.ArgumentParser, language: Language) -> None:
    """Add the arguments of `command`, and list the words it knows."""
    from gantry_agent.cli import command

    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.epilog = command.usage(language)
    sub.add_argument("words", nargs="+", metavar="COMMAND|FIELD=VALUE")
    dry = Text("只检查并打印将要写出的报文", "only check, and print the frames that would be written")
    computer = Text("computerControl（服务器、频率、立即上传）", "computerControl: server, frequency, update now")
    sub.add_argument("--dry-run", action="store_true", help=dry.render(language))
    sub.add_argument("--computer", action="store_true", help=computer.render(language))
    sub.add_argument("--json", action="store_true")


def _command(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent.cli import command

    how = {"computer": arguments.computer, "dry": arguments.dry_run, "as_json": arguments.json}
    return command.run(config, arguments.words, language, **how)


def _audit(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent.cli import audit

    if arguments.what == "verify":
        lines, good = asyncio.run(audit.verify(config))
        for line in lines:
            print(line.render(language))
        return 0 if good else 1
    limit = arguments.latest or (AROUND_MOST if arguments.at else LATEST)
    asked = {"since_s": arguments.since, "around": arguments.at, "limit": limit}
    for told in asyncio.run(audit.show(config, language, as_json=arguments.json, **asked)):
        print(told)
    return 0


def _span(text: str) -> float:
    from gantry_agent.cli import ledger

    return ledger.span(text)


_QUESTIONS = frozenset({"probe", "scan", "doctor", "frames"})
_ARGUMENTS = {
    "device": Text("设备，如 1.meter", "the device, like 1.meter"),
    "bus": Text("总线名", "the name of the bus"),
    "units": Text("只扫描这些地址，如 1-32", "only these units, like 1-32"),
    "thorough": Text("四种功能码都问（慢一倍）", "ask by all four functions (twice as long)"),
    "latest": Text("显示最近多少帧", "how many of the latest frames"),
    "json": Text("每行一个 JSON 对象", "one JSON object a line"),
}


def _ask_for(sub: argparse.ArgumentParser, name: str, language: Language) -> None:
    """Add the arguments of a technician's question."""
    said = {key: text.render(language) for key, text in _ARGUMENTS.items()}
    if name == "probe":
        from gantry_agent.cli import identify

        sub.add_argument("device", metavar="DEVICE", help=said["device"])
        identify.add_recording(sub, language)
    if name in {"scan", "frames"}:
        sub.add_argument("bus", metavar="BUS", help=said["bus"])
    if name == "scan":
        sub.add_argument("--units", type=_units, metavar="FIRST-LAST", help=said["units"])
        sub.add_argument("--thorough", action="store_true", help=said["thorough"])
    if name == "frames":
        sub.add_argument("--latest", type=int, default=200, metavar="N", help=said["latest"])
    sub.add_argument("--json", action="store_true", help=said["json"])


def _units(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return [int(first), int(last or first)]


def _question(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent.cli import technician

    keys = ("device", "bus", "units", "thorough", "latest", "record")
    question = {"ask": arguments.command} | {key: getattr(arguments, key) for key in keys if key in arguments}
    output = getattr(arguments, "output", None)
    return technician.run(config, question, language, as_json=arguments.json, output=output)


_COMMANDS: dict[str, Callable[[argparse.Namespace, Language], int]] = {
    "run": _run,
    "check": _check,
    "show": _show,
    "profiles": _profiles,
    "schema": _schema,
    "state": _state,
    "outbox": _outbox,
    "command": _command,
    "audit": _audit,
    "identify": _identify,
    **dict.fromkeys(sorted(_QUESTIONS), _question),
}
