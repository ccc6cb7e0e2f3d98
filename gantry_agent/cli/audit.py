"""`gantry-agent audit`: who asked what of this gantry, what was done for it, and whether anybody edited that.

Reads the state database, safe beside a running daemon. The chain and what breaks it are `core.audit`.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gantry_agent.agent import DATABASE
from gantry_agent.config import Config
from gantry_agent.core.audit import Anchor, Break, Kept
from gantry_agent.model import AgentError
from gantry_agent.store import Store
from gantry_agent.text import Language, Text, read_kept

AROUND_S = 600.0  # before and after the time asked for
NEVER_RAN = Text("还没有运行过，没有审计记录", "the agent has not run yet; there is no audit")

_KINDS = {
    "edited": Text("被改动", "was edited"),
    "missing": Text("之前缺少", "is missing before it"),
    "cut": Text("最新的被删除", "the newest were deleted"),
}


def window(text: str, zone: ZoneInfo, now: float) -> tuple[float, float]:
    """The time around `03:12`, `2026-11-24 03:12` or `2026-11-24`, in Unix seconds. Raises AgentError."""
    today = datetime.fromtimestamp(now, zone)
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text):
        hour, minute, *second = map(int, text.split(":"))
        if hour > 23 or minute > 59 or (second and second[0] > 59):
            raise AgentError(Text(f"{text} 不是时刻：应如 03:12", f"cannot read {text} as a time: valid is 03:12"))
        at = today.replace(hour=hour, minute=minute, second=second[0] if second else 0, microsecond=0)
        if at > today:  # the last time it was that late
            at -= timedelta(days=1)
        return at.timestamp() - AROUND_S, at.timestamp() + AROUND_S
    try:
        at = datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:
        raise AgentError(
            Text(
                f"{text} 不是时刻：应如 03:12、2026-11-24 或 2026-11-24 03:12",
                f"cannot read {text} as a time: valid are 03:12, 2026-11-24 and 2026-11-24 03:12",
            )
        ) from None
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return at.timestamp(), (at + timedelta(days=1)).timestamp()
    return at.timestamp() - AROUND_S, at.timestamp() + AROUND_S


async def show(
    config: Config, language: Language, *, since_s: float, around: str | None, limit: int, as_json: bool
) -> list[str]:
    """The newest entries in lines, oldest first: of a span of time, or around one moment."""
    path = config.storage / DATABASE
    if not path.exists():
        return [NEVER_RAN.render(language)]
    zone, now = ZoneInfo(config.site.timezone), time.time()
    since, until = window(around, zone, now) if around else (now - since_s, now + 86_400.0)
    async with Store(path, readonly=True) as store:
        kept = await store.audit_entries(since, until, limit + 1)
    left_out, kept = len(kept) > limit, kept[-limit:]
    if as_json:
        return [json.dumps(_as_json(one), ensure_ascii=False) for one in kept]
    nothing = Text("这段时间没有记录", "nothing in that time").render(language)
    more = Text("更早的没有列出：用 --latest 增加条数", "earlier ones are not listed: ask for more with --latest")
    lines = [more.render(language)] if left_out else []
    return lines + [line for one in kept for line in _told(one, zone, language)] or [nothing]


def _as_json(one: Kept) -> dict[str, object]:
    """For programs: the sentences in English."""
    said = asdict(one.entry)
    sentences = {name: read_kept(said[name]).en for name in ("who", "what", "intent", "outcome")}
    steps = [read_kept(step).en for step in one.entry.steps]
    return {"number": one.number, **said, **sentences, "steps": steps}


def _told(one: Kept, zone: ZoneInfo, language: Language) -> Iterator[str]:
    def say(kept: str) -> str:
        return read_kept(kept).render(language)

    entry = one.entry
    at = datetime.fromtimestamp(entry.at, zone).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    via = {"cloud": Text("平台", "cloud"), "shell": Text("本地", "shell"), "site": Text("现场", "site")}
    named = via.get(entry.via, Text(entry.via, entry.via)).render(language)
    yield f"#{one.number} {at}  {named} {say(entry.who)}  {say(entry.what)}"
    if entry.intent:
        yield f"    {say(entry.intent)}"
    for step in entry.steps:
        yield f"    - {say(step)}"
    yield f"    {say(entry.outcome)}{f'  {entry.answer}' if entry.answer else ''}"


async def verify(config: Config) -> tuple[list[Text], bool]:
    """Say whether the chain holds, and where it does not."""
    path = config.storage / DATABASE
    if not path.exists():
        return [NEVER_RAN], True
    async with Store(path, readonly=True) as store:
        breaks, newest = await store.audit_breaks(), await store.audit_newest()
    return [*map(_broken, breaks), _head(newest)], not breaks


def _broken(found: Break) -> Text:
    kind = _KINDS[found.kind]
    many = f" ({found.missing})" if found.missing else ""
    return Text(f"#{found.number} {kind.zh}{many}", f"#{found.number} {kind.en}{many}")


def _head(newest: Anchor) -> Text:
    """The newest mark, to be held against the one in the log."""
    return Text(
        f"共 {newest.number} 条，最新校验值 {newest.mark}（应与日志中的一致）",
        f"{newest.number} entries, newest mark {newest.mark} (the log has it too)",
    )
