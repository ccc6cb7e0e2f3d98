"""Writes the ticks' diary into the store: jobs become the cabinets and channels whose uploads they make.

Knows which series a job stands for and which boot of the host this is; what the entries mean is `core.ledger`.
"""

from collections.abc import Mapping
from pathlib import Path

from gantry_agent.core.ledger import Series
from gantry_agent.model import Site
from gantry_agent.store import Store
from gantry_agent.ticks import Times

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one: the host was restarted in between


class Diary:
    """The ticks' account, in the state database."""

    def __init__(self, store: Store, series: Mapping[str, tuple[Series, ...]]) -> None:
        self._store = store
        self._series = series
        self._boot = boot()

    async def begin(self, at: float, times: Times) -> None:
        """Begin a stretch in which every tick of these times is due."""
        schedule = {each: times[name] for name, series in self._series.items() if name in times for each in series}
        await self._store.begin_stretch(at, self._boot, schedule)

    async def seen(self, at: float) -> None:
        await self._store.seen(at)

    async def end(self, at: float, cause: str) -> None:
        await self._store.end_stretch(at, cause)

    async def mark(self, from_at: float, until_at: float, cause: str) -> None:
        await self._store.mark(from_at, until_at, cause)


def series_of(site: Site) -> dict[str, tuple[Series, ...]]:
    """List what each channel's tick uploads."""
    computers: tuple[Series, ...] = (("computer", 0),) if site.computers else ()
    return {
        "status computer": computers,
        "status cabinet": tuple(("cabinet", cabinet.number) for cabinet in site.cabinets),
    }


def boot() -> str:
    """Name this boot of the host; empty where the kernel does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
