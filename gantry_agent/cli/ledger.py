"""The ledger in lines: uploads that were due and never taken, records lost, and when the cloud could not be reached.

For `gantry-agent outbox gaps` and `gantry-agent outbox outages`; safe beside a running daemon. What is told and why is
decided below (`core.ledger`, `store.outages`); here it is put in words.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from gantry_agent.agent import DATABASE
from gantry_agent.config import Config
from gantry_agent.core import ledger
from gantry_agent.store import Outage, Store, lock, outages
from gantry_agent.text import Text, joined

_CAUSES: Final[Mapping[str, Text]] = {
    ledger.STOPPED: Text("程序被停止", "the agent was stopped"),
    ledger.KILLED: Text("程序异常结束", "the agent was killed or crashed"),
    ledger.POWER: Text("主机断电或重启", "the host lost power or was restarted"),
    ledger.CLOCK: Text("时钟被调整", "the clock was stepped"),
    ledger.SCHEDULE: Text("上传间隔被修改", "the interval was changed"),
    ledger.NOT_RUNNING: Text("程序未运行", "the agent does not run"),
    ledger.DAMAGED: Text("数据库损坏", "the state database was damaged"),
    "busy": Text("程序忙或停顿", "the agent was busy or stood still"),
    "": Text("原因不明", "unexplained"),
}


async def gaps(config: Config, span_s: float) -> tuple[list[Text], bool]:
    """Tell every due upload that is not accounted for, and why; and whether all is explained."""
    path = config.storage / DATABASE
    if not path.exists():
        return [_NEVER_RAN], True
    running = lock.is_held(config.storage)
    async with Store(path, readonly=True) as store:
        now = time.time()
        books, counts, losses = await store.books(), await store.counts(), await store.intervals(now - span_s)
    found = ledger.gaps(books, now - span_s, now, running=running)
    unexplained = sum(gap.count for gap in found if not gap.cause) + abs(counts.unaccounted)
    zone = ZoneInfo(config.site.timezone)
    lines = [Text(f"{unexplained} 条原因不明", f"{unexplained} unexplained")]
    for gap in found:
        cause = _CAUSES.get(gap.cause, Text(gap.cause, gap.cause))
        where, when = _named(*gap.series), f"{_clock(gap.first, zone)} - {_clock(gap.last, zone)}"
        lines.append(
            Text(
                f"{when}  {where.zh}：缺 {gap.count} 条：{cause.zh}",
                f"{when}  {where.en}: {gap.count} not taken: {cause.en}",
            )
        )
    for loss in losses:
        where = _named(loss.channel, loss.cabinet or 0)
        when = f"{_clock(loss.first_taken_at, zone)} - {_clock(loss.last_taken_at, zone)}"
        lines.append(
            Text(
                f"{when}  {where.zh}：丢失 {loss.count} 条：{loss.cause}",
                f"{when}  {where.en}: {loss.count} lost: {loss.cause}",
            )
        )
    said = Text(
        f"共接收 {counts.accepted} 条：已上传 {counts.delivered}，等待 {counts.waiting}，"
        f"搁置 {counts.aside}，丢失 {counts.lost}",
        f"accepted {counts.accepted}: delivered {counts.delivered}, waiting {counts.waiting}, "
        f"set aside {counts.aside}, lost {counts.lost}",
    )
    return [*lines, said], not unexplained


async def offline(config: Config, span_s: float) -> list[Text]:
    """Tell when the cloud could not be reached, which hop failed, what waited and whether it arrived."""
    path = config.storage / DATABASE
    if not path.exists():
        return [_NEVER_RAN]
    async with Store(path, readonly=True) as store:
        found = await store.outages(time.time() - span_s)
    zone = ZoneInfo(config.site.timezone)
    if not found:
        return [Text("没有断网记录", "no outage")]
    return [told(outage, zone) for outage in found]


def told(outage: Outage, zone: ZoneInfo) -> Text:
    """Say one outage in a line."""
    end = _clock(outage.ended_at, zone) if outage.ended_at is not None else "…"
    when = f"{_clock(outage.began_at, zone)} - {end}"
    hops = joined(map(outages.told, outage.hops), " → ", ", then ")
    zh, en = hops.zh, hops.en
    if not outage.channel:
        return Text(f"{when}  {zh}", f"{when}  {en}")
    channel = _CHANNELS[outage.channel]
    if outage.ended_at is None:
        return Text(f"{when}  {channel.zh}：{zh}；尚未恢复", f"{when}  {channel.en}: {en}; not over yet")
    arrived = Text("，已全部补传", ", all arrived")
    if outage.arrived_at is None:
        arrived = Text("，补传中", ", on their way")
    return Text(
        f"{when}  {channel.zh}：{zh}；积压 {outage.waited} 条{arrived.zh if outage.waited else ''}",
        f"{when}  {channel.en}: {en}; records that waited: {outage.waited}{arrived.en if outage.waited else ''}",
    )


_NEVER_RAN: Final = Text("还没有运行过，没有记录", "the agent has not run yet; there are no records")
_CHANNELS: Final[Mapping[str, Text]] = {
    "computer": Text("工控机状态", "computers"),
    "cabinet": Text("机柜状态", "cabinets"),
}


def _named(channel: str, cabinet: int) -> Text:
    """Name a series; what was lost with a damaged database may not tell its cabinet."""
    return (
        Text(f"机柜 {cabinet}", f"cabinet {cabinet}")
        if channel == "cabinet" and cabinet
        else _CHANNELS.get(channel, Text(channel, channel))
    )


def _clock(at: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")
