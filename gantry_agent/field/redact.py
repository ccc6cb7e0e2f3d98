"""What is taken out of a recording before it leaves the cabinet: names, places, serial numbers, addresses, secrets.

A recording is for people elsewhere, who need numbers and the texts by which rows are told apart. So texts keep their
length and their other words, and whatever was asked only to be taken out is not written at all. Pure.
"""

import re
from collections.abc import Iterable

from gantry_agent.field.request import SnmpValue

HIDDEN = "x"
_SYSTEM = "1.3.6.1.2.1.1."  # SNMPv2-MIB
NAMES = (f"{_SYSTEM}4.0", f"{_SYSTEM}5.0", f"{_SYSTEM}6.0")  # sysContact, sysName, sysLocation
_PRIVATE = (
    *NAMES,
    "1.3.6.1.2.1.2.2.1.6",  # ifPhysAddress
    "1.3.6.1.2.1.3",  # at
    "1.3.6.1.2.1.4",  # ip: addresses, routes, neighbours; many of them are in the index
    "1.3.6.1.2.1.31.1.1.1.18",  # ifAlias
    "1.3.6.1.2.1.47.1.1.1.1.11",  # entPhysicalSerialNum
)
_KEYS = re.compile(r"serial|card|swipe|contact|location|site_name|owner|mac\b|phone")  # of points that tell on somebody
_SHORTEST = 3  # a name of one letter would take every such letter out
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_HARDWARE = re.compile(r"(?<!\w)[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?!\w)")
_IPV6 = re.compile(r"(?<!\w)(?:[0-9A-Fa-f]{1,4}:){3,7}:?[0-9A-Fa-f]{0,4}(?!\w)")
_HOST_OF_LINUX = re.compile(r"(?<=^Linux )\S+")
_MAIL = re.compile(r"[\w.+-]+@[\w.-]+")
_SERIAL = re.compile(  # not V100R002 of Huawei, nor a row of bits
    r"(?<!\w)(?!V\d+R\d+|[01]+(?!\w))(?=[A-Z0-9-]*\d{6})[A-Z]{0,6}[0-9][A-Z0-9-]{6,}(?!\w)"
)
DOCUMENTED = "192.0.2.1"  # RFC 5737: belongs to nobody


def private(oid: str) -> bool:
    """Whether an object is told to nobody."""
    return any(f"{oid}.".startswith(f"{one}.") for one in _PRIVATE)


def telltale(key: str) -> bool:
    """Whether a point, by its name, says whose the device is or who was there."""
    return _KEYS.search(key) is not None


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Take out of a text what it should not tell; its length stays."""
    for secret in sorted({one for one in secrets if len(one) >= _SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN * len(secret))
    for pattern in (_ADDRESS, _HARDWARE, _IPV6, _MAIL, _HOST_OF_LINUX, _SERIAL):
        text = pattern.sub(lambda found: HIDDEN * len(found[0]), text)
    return text


def varbind(oid: str, value: SnmpValue, secrets: Iterable[str], *, hide: bool = False) -> SnmpValue | None:
    """Give what may be told of an object; None: nothing."""
    if private(oid):
        return None
    if hide:
        return 0 if isinstance(value, int) else HIDDEN.encode()
    if isinstance(value, str):
        return DOCUMENTED if _DOTTED.fullmatch(value) else value
    if isinstance(value, bytes):
        text = printable(value)
        if text is None:
            return bytes(len(value)) if len(value) == 6 else value  # the length of a hardware address
        return scrub(text, secrets).encode()
    return value


def printable(value: bytes) -> str | None:
    """Octets as a text, where they are one."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(one.isprintable() or one in "\r\n\t\0" for one in text) else None
