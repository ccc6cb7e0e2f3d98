"""What the state database keeps, shown from the command line; safe beside a running daemon.

`state` shows and drops what commands have set; `outbox` shows what waits, what was set aside, and what was lost.
"""

import os
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from gantry_agent.agent import DATABASE
from gantry_agent.config import Config
from gantry_agent.console import door
from gantry_agent.core.audit import Entry
from gantry_agent.orders.changes import is_override
from gantry_agent.store import Salvaged, Store
from gantry_agent.text import Text


async def overrides(config: Config) -> dict[str, str]:
    """Read what commands have set; nothing where the agent never ran."""
    path = config.storage / DATABASE
    if not path.exists():
        return {}
    async with Store(path, readonly=True) as store:
        return {name: value for name, value in (await store.settings()).items() if is_override(name)}


async def reset(config: Config, names: Sequence[str]) -> tuple[list[Text], bool]:
    """Drop overrides by name, through the running agent where there is one; say what became of each."""
    lines, good = [], True
    try:
        async for step in door.ask(config.storage / door.NAME, {"ask": "reset", "names": list(names)}):
            name, failed = step["reset"], step.get("failed")
            good = good and step["known"] and not failed
            if failed:
                lines.append(Text(f"{name} 没有恢复：{failed['zh']}", f"{name} cannot be reset: {failed['en']}"))
            elif step["known"]:
                lines.append(
                    Text(f"{name} 已恢复为配置文件中的值，已生效", f"{name}: the site file counts again, from now on")
                )
            else:
                lines.append(_not_set(name))
    except door.NobodyHome:
        known = await _drop(config, names)
        for name in names:
            said = Text(
                f"{name} 已恢复为配置文件中的值；程序未运行，下次启动时生效",
                f"{name}: the site file counts again; the agent does not run, so from its next start on",
            )
            lines.append(said if name in known else _not_set(name))
        good = set(names) <= known
    return lines, good


def _not_set(name: str) -> Text:
    return Text(f"{name} 没有被设置过", f"{name} was not set")


async def _drop(config: Config, names: Sequence[str]) -> set[str]:
    """Drop overrides in the database of an agent that does not run; return those that were there."""
    there = await overrides(config)
    known = set(names) & set(there)
    if known:
        dropped = ", ".join(f"{name} = {there[name]}" for name in sorted(known))
        outcome = Text("已删除", "dropped").kept()
        entry = Entry(time.time(), door.user(os.getuid()), "shell", "state reset", "", intent=dropped, outcome=outcome)
        async with Store(config.storage / DATABASE) as store:
            for name in known:
                await store.set_setting(name, None)
            await store.note_requests((entry,))
    return known


async def outbox(config: Config, limit: int = 50) -> list[Text]:
    """Tell the outbox in lines: counts, what was set aside with the cloud's answer, and losses by cause."""
    path = config.storage / DATABASE
    if not path.exists():
        return [Text("还没有运行过，没有记录", "the agent has not run yet; there are no records")]
    async with Store(path, readonly=True) as store:
        counts, kept, losses = await store.counts(), await store.records(limit), await store.losses()
        salvages = await store.salvages()
    zone = ZoneInfo(config.site.timezone)
    lines = [
        Text(
            f"等待 {counts.waiting} 条（事件 {counts.urgent} 条），搁置 {counts.aside} 条，丢失 {counts.lost} 条",
            f"waiting: {counts.waiting} (events: {counts.urgent}), set aside: {counts.aside}, lost: {counts.lost}",
        )
    ]
    if counts.oldest_taken_at is not None:
        minutes = (time.time() - counts.oldest_taken_at) / 60
        lines.append(
            Text(f"最早一条等了 {minutes:.0f} 分钟", f"the oldest has waited for {minutes:.0f} min")
            if minutes < 90
            else Text(f"最早一条等了 {minutes / 60:.1f} 小时", f"the oldest has waited for {minutes / 60:.1f} h")
        )
    for one in kept:
        record = one.record
        kind = Text("事件" if record.urgent else "定时", "event" if record.urgent else "status")
        told = f"#{record.number} {_clock(record.taken_at, zone)} {record.channel} {record.cabinet}"
        why = f"  {one.code} {one.answer}" if one.aside else ""
        lines.append(Text(f"{told} {kind.zh}{why}", f"{told} {kind.en}{why}"))
    for loss in losses:
        span = f"{_clock(loss.first_taken_at, zone)} - {_clock(loss.last_taken_at, zone)}"
        lines.append(Text(f"丢失 {loss.count} 条：{loss.cause}（{span}）", f"lost {loss.count}: {loss.cause} ({span})"))
    return [*lines, *(_told_salvage(one, zone) for one in salvages)]


def _told_salvage(one: Salvaged, zone: ZoneInfo) -> Text:
    when = _clock(one.at, zone)
    more = Text("", "") if one.done else Text("，仍在进行", ", and it goes on")
    return Text(
        f"{when} 数据库损坏，救回 {one.saved} 条记录，{one.lost} 条无法读出{more.zh}",
        f"{when} the state database was damaged: {one.saved} records were carried over, {one.lost} could not be read"
        f"{more.en}",
    )


def _clock(at: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def told_overrides(settings: dict[str, str]) -> Iterator[Text]:
    for name, value in sorted(settings.items()):
        yield Text(f"平台已设置 {name} = {value}", f"set by the cloud: {name} = {value}")
