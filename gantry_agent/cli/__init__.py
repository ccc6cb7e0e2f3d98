"""The command line: thin. Each subcommand calls one function and says what it found in the reader's language."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gantry_agent.config import Config, read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import AgentError
from gantry_agent.text import Language, Text, reader_language

DEFAULT_FILE = Path("/etc/gantry-agent/gantry.yaml")

_HELP = {
    "": Text("ETC 门架机柜监测程序", "monitors the cabinets of an ETC toll gantry"),
    "run": Text("运行（由 systemd 启动）", "run the daemon"),
    "check": Text("检查配置文件，列出所有错误", "check the site file and list every fault"),
    "show": Text("读取所有设备一次，打印将要上传的内容", "read everything once and print what would be uploaded"),
    "profiles": Text("列出已知的设备型号", "list the products that are known"),
    "schema": Text("打印配置文件的 JSON Schema（供编辑器使用）", "print the site file's JSON Schema for editors"),
    "state": Text("查看或清除平台下发的设置", "show or reset what the cloud has set"),
    "outbox": Text("查看等待上传的记录", "show the records waiting to be uploaded"),
}
_FILE = Text("配置文件", "the site file")
_RESET = Text(
    "清除一项（如 server.cabinet），恢复配置文件中的值", "drop one (like server.cabinet): the site file counts again"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code (0 good, 1 a fault, 2 wrong usage)."""
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
    except (AgentError, OSError) as e:
        print(f"gantry-agent: {e}", file=sys.stderr)
    except (KeyboardInterrupt, BrokenPipeError):
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
        if name == "state":
            sub.add_argument("reset", nargs="*", metavar="reset NAME", help=_RESET.render(language))
    return parser


def _run(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent import agent
    from gantry_agent.cli import logs

    logs.set_up(verbose=arguments.verbose)
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

    watch = asyncio.run(agent.look_once(config))
    computers = protocol.build_computers(config.site, watch.snapshots[0])
    print(json.dumps({"computerStatus": computers}, ensure_ascii=False, indent=2))
    for cabinet in config.site.cabinets:
        built = protocol.build_cabinet(config.site, watch.snapshots[cabinet.number])
        print(json.dumps({"cabinetStatus": built}, ensure_ascii=False, indent=2))
    for device in agent.silent(watch):
        said = Text(f"设备 {device} 无应答", f"device {device} does not answer")
        print(said.render(language), file=sys.stderr)
    _print_overrides(config, language)
    return 0


def _profiles(arguments: argparse.Namespace, language: Language) -> int:
    from gantry_agent.config.site import SHIPPED_PROFILES, SITE_PROFILES
    from gantry_agent.field import profile as profiles

    folders = (SITE_PROFILES, SHIPPED_PROFILES)
    for name in profiles.names(folders):
        found = profiles.load(name, folders)
        print(f"{name:28} {found.maturity:11} {found.protocol:7} {found.title.render(language)}")
    return 0


def _schema(arguments: argparse.Namespace, language: Language) -> int:
    from gantry_agent.config.schema import json_schema

    print(json.dumps(json_schema(), ensure_ascii=False, indent=2))
    return 0


def _state(arguments: argparse.Namespace, language: Language) -> int:
    config = read_config(arguments.config)
    from gantry_agent.cli import kept

    words = arguments.reset
    if not words:
        _print_overrides(config, language)
        return 0
    names = words[1:]
    if words[0] != "reset" or not names:
        print("gantry-agent state [reset NAME …]", file=sys.stderr)
        return 2
    known = asyncio.run(kept.drop(config, names))
    for name in names:
        good = Text(
            f"{name} 已恢复为配置文件中的值", f"{name}: the site file counts again; restart the agent to apply it"
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
    from gantry_agent.cli import kept

    for line in asyncio.run(kept.outbox(config)):
        print(line.render(language))
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Language], int]] = {
    "run": _run,
    "check": _check,
    "show": _show,
    "profiles": _profiles,
    "schema": _schema,
    "state": _state,
    "outbox": _outbox,
}
