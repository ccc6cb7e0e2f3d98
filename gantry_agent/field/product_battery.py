"""What is known of how a product tests its battery, beside how it is told to (`ups.testStartStop` among its writes).

Some keep a record of every test, some only a verdict; most do neither, and then the agent's own measuring is all there
is. Values here are names of the profile's points; `battery_log` asks for them, `profile_battery` reads the names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NO_NAMES: Mapping[str, str] = MappingProxyType({})
NO_VERDICTS: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BatteryTesting:
    """`records` is the table with a row for every test, `fields` its points by field of `batterysTestResult`.

    `verdict` is the point that tells how the last test went, `verdicts` what its values are as testResult. `minutes` is
    how long a test lasts that nothing ends earlier: a number, or the parameter of that name; 0 where that is not known.
    """

    records: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: NO_NAMES, hash=False)
    verdict: str = ""
    verdicts: Mapping[int, int] = field(default_factory=lambda: NO_VERDICTS, hash=False)
    minutes: int | float | str = 0

    @property
    def points(self) -> frozenset[str]:
        """The points that are asked for."""
        return frozenset({*self.fields.values(), self.verdict} - {""})


UNKNOWN = BatteryTesting()
