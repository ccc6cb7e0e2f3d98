"""A site for tests of the cloud side: two cabinets, front doors that unlock, two air conditioners in the first."""

import hashlib
import json
from types import MappingProxyType

from gantry_agent.model import Cabinet, Computer, Device, Door, Output, Relay, Site

GANTRY = "G000211001002110010"
AUTH = "roadside-7"
NOW = 1_564_734_526

SITE = Site(
    gantry_id=GANTRY,
    timezone="Asia/Shanghai",
    buses={},
    devices={
        "1.air": Device("1.air", 1, "air", "line", 1, {"airConditioners": (1, 2)}),
        "2.air": Device("2.air", 2, "air", "line", 2, {"airConditioners": (1,)}, skip=frozenset({"airConditioners"})),
    },
    cabinets=(
        Cabinet(1, ("1.air",), {"lock": Output("lock", "1.io", "do0")}, (Door("front", "lock"), Door("back"))),
        Cabinet(2, ("2.air",), MappingProxyType({}), (Door("front", "lock"),)),
    ),
    relays=(
        Relay("router", "10.0.0.9", 502, (1, "lock"), default=True),
        Relay("switch", "10.0.0.9", 503, (1, "lock")),
    ),
    power_modes=((), ((1, "lock"),), ()),
    computers=(Computer(2, monitor=False, main=True, ip="192.168.1.2"), Computer(1, monitor=True, main=False, ip="")),
)


def document(method: str = "cabinetControl", at: float = NOW, **business: object) -> dict[str, object]:
    """A request as the cloud writes it."""
    return {
        "gantryId": GANTRY,
        "method": method,
        "timeStamp": str(int(at)),
        "version": "1001",
        method: business,
    }


def body(method: str = "cabinetControl", at: float = NOW, **business: object) -> bytes:
    return json.dumps(document(method, at, **business)).encode()


def signed(content: bytes, auth: str = AUTH) -> dict[str, str]:
    return {"binfile-md5": hashlib.md5(content).hexdigest(), "binfile-auth": auth}


def short(value: object) -> str | None:
    """The beginning of a long value, as a test's id."""
    return value[:40].decode("ascii", "replace") if isinstance(value, bytes) else None
