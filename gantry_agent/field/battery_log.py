"""What a device itself knows of its battery tests, asked for in the command lane: its newest record, its verdict.

The newest record is the one that began last, whatever its row: the rows of a Huawei SMU are numbered in no order that
its MIB promises. Knows nothing of who asks, or of what the agent measured itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gantry_agent.field import codec, plan
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.request import Block, GetOids
from gantry_agent.model import Device, Quality, Value

Record = Mapping[str, Value | Quality]  # by field of batterysTestResult; testStartTime as the device writes it


@dataclass(frozen=True, slots=True)
class BatteryLog:
    """One device on its bus. What is asked raises NoReply, BadReply or DeviceRefused."""

    poller: Poller
    device: Device
    profile: Profile

    @property
    def keeps_records(self) -> bool:
        return bool(self.profile.battery_test.records)

    @property
    def has_verdict(self) -> bool:
        return bool(self.profile.battery_test.verdict)

    async def newest(self) -> Record | None:
        """Give the record of the last test; None where there is none yet, or the device keeps none."""
        testing, profile, device = self.profile.battery_test, self.profile, self.device
        if not testing.records:
            return None
        table = plan.table(profile, device, testing.records)
        replies = [await self.poller.transact(request, profile.timing) for request in table.requests]
        rows = plan.locate(table, replies)
        if not rows:
            return None
        marks = plan.marks(table, replies, rows)
        found = plan.Located({table.name: rows}, marks)
        parts = [
            block
            for point in testing.fields.values()
            for block in plan.point_blocks(profile, device, point, (len(rows),), found)
        ]
        values = await self._read(parts)
        read = {key.partition("[")[0]: value for key, value in values.items()}
        return {name: read.get(point, Quality.NO_DATA) for name, point in testing.fields.items()}

    async def verdict(self) -> int:
        """Give what the device makes of its battery, as testResult; 0 where it has nothing to say."""
        testing = self.profile.battery_test
        if not testing.verdict:
            return 0
        blocks = plan.point_blocks(self.profile, self.device, testing.verdict, ())
        said = (await self._read(list(blocks))).get(testing.verdict)
        return testing.verdicts.get(int(said), 0) if isinstance(said, int | float) else 0

    async def _read(self, parts: list[Block]) -> Mapping[str, Value | Quality]:
        """Ask for several points of SNMP at once, else one by one."""
        asked = [part.request for part in parts]
        if all(isinstance(request, GetOids) for request in asked):
            oids = [oid for request in asked if isinstance(request, GetOids) for oid in request.oids]
            points = tuple(point for part in parts for point in part.points)
            known_by = tuple(dict.fromkeys(mark for part in parts for mark in part.marks))
            parts = [Block(GetOids(tuple(dict.fromkeys(oids))), points, "slow", known_by)]
        values: dict[str, Value | Quality] = {}
        for part in parts:
            reply = await self.poller.transact(part.request, self.profile.timing)
            values |= codec.decode(part, reply, self.profile, self.device)
        return values
