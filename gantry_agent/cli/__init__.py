"""The command line: thin. Each subcommand calls one function and says what it found in the reader's language."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence

from gantry_agent.cli.arguments import DEFAULT_FILE, QUESTIONS, parse
from gantry_agent.config import Config, read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import AgentError
from gantry_agent.text import Language, Text, of_system, reader_language

FAULTY_SITE_FILE = 78  # sysexits.h EX_CONFIG; the systemd unit does not try again on it
LATEST, AROUND_MOST = 50, 10_000  # of audit entries; around one moment all count, whoever knocked meanwhile


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code (0 good, 1 a fault, 2 wrong usage, 78 `run` on a faulty site file)."""
    language = reader_language(os.environ)
    arguments = parse(argv, language)
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
        print(f"gantry-agent: {(said if e.filename else of_system(e)).render(language)}", file=sys.stderr)
    except AgentError as e:
        print(f"gantry-agent: {e.text.render(language)}", file=sys.stderr)
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        print(f"gantry-agent: {where}{of_system(e).render(language)}", file=sys.stderr)
    except KeyboardInterrupt:
        pass
    return 1


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
    lines, good = asyncio.run(kept.reset(config, names))
    for line in lines:
        print(line.render(language))
    return 0 if good else 1


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
    **dict.fromkeys(QUESTIONS, _question),
}
