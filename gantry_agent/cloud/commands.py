"""What the business member of a request asks for: fields in, orders out, or the field that is wrong (D4, D7, D8, D9).

Pure. Each `cmd` is a row of a table: the function that checks its fields against the site and gives the order. Nothing
here knows who asked or how an order is done.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from gantry_agent.cloud.protocol import PATH_UPLOAD, read_time
from gantry_agent.command import (
    AskBatteryTest,
    Card,
    Command,
    Defend,
    Reboot,
    Refused,
    RunAirConditioner,
    SetFrequency,
    SetPowerMode,
    SetServer,
    SetTemperatures,
    SetWhitelist,
    SwitchRectifiers,
    TestBattery,
    Unlock,
    UpdateNow,
)
from gantry_agent.model import Cabinet, Channel, Device, Relay, Site
from gantry_agent.text import Text, joined

Business = Mapping[str, object]

CHANNEL: Mapping[str, Channel] = MappingProxyType({"computerControl": "computer", "cabinetControl": "cabinet"})
INTERVAL_S = (10, 86400)  # D9
TEMPERATURE_C = (-40, 80)  # no air conditioner of a roadside cabinet is set outside this
VALUE_SHOWN, LINE_SHOWN = 24, 200
CARD_ID_LIMIT = 64  # longer than any card number; the source gives no length


class Wrong(Exception):
    """A field that is missing, outside its values or names what is not configured; and what would be valid."""

    def __init__(self, name: str, valid: Text) -> None:
        super().__init__(name)
        self.valid = valid


@dataclass(frozen=True, slots=True)
class MediaQuery:
    """getCabinetImageVedio: the picture or video of the opening of that cabinet's door nearest to `opened_at`."""

    cabinet: int
    opened_at: float


def read_commands(method: str, business: Business, site: Site) -> tuple[Command, ...] | Refused:
    """The orders of computerControl or cabinetControl in the order they are done: server, frequency, cmd, update (D8).

    All is checked before anything is given back. A request that asks for nothing is refused under the name of its
    business member: a misspelt order must not be answered 成功.
    """
    try:
        orders = tuple(_orders(CHANNEL[method], business, site))
    except Wrong as wrong:
        return Refused(str(wrong), wrong.valid)
    return orders or Refused(method, _one_of(KNOWN[method]))


def read_media_query(business: Business, site: Site) -> MediaQuery | Refused:
    """The query of §3.3.2. `cabinetId` has its default here too, as its description says."""
    try:
        cabinet = _cabinet(business, site)
        form = Text("应为 yyyy-MM-dd hh:mm:ss.zzz", "must be yyyy-MM-dd hh:mm:ss.zzz")
        opened_at = read_time(_text(business, "doorOpenTime", form), ZoneInfo(site.timezone))
    except Wrong as wrong:
        return Refused(str(wrong), wrong.valid)
    return Refused("doorOpenTime") if opened_at is None else MediaQuery(cabinet.number, opened_at)


def asks_result(business: Business) -> bool:
    """Tell whether this is cmd 10: a query, to which D6 (repeats) does not apply."""
    return _scalar(business.get("cmd")) == "10"


def named(method: str, business: Business) -> str:
    """A request in a line for log and audit: the method and its plain fields, short. A server may hide a password."""
    fields = [
        f"{name}={ascii(text[:VALUE_SHOWN])[1:-1]}"
        for name in business
        if name in KNOWN[method] and name != "setServer" and (text := _scalar(business[name])) is not None
    ]
    return " ".join((method, *fields))[:LINE_SHOWN]


def unknown_members(method: str, business: Business) -> tuple[str, ...]:
    """The members that the interface does not have; they are ignored and logged (D4)."""
    return tuple(name for name in business if name not in KNOWN[method])


def _orders(channel: Channel, business: Business, site: Site) -> Iterable[Command]:
    if _present(business, "setServer"):
        asked = _text(business, "setServer", SERVER)
        try:
            server_url("http://192.0.2.1/", asked)
        except ValueError as fault:
            raise Wrong("setServer", SERVER) from fault
        yield SetServer(channel, asked)
    if _present(business, "setFrequency"):
        yield SetFrequency(channel, _whole(business, "setFrequency", *INTERVAL_S))
    if channel == "cabinet" and _present(business, "cmd"):
        yield CMD[_whole(business, "cmd", 1, len(CMD))](business, site)
    if _present(business, "updateNow"):
        _whole(business, "updateNow", 1, 1)
        yield UpdateNow(channel)


# --- cmd 1 to 10 (§3.2.2) -------------------------------------------------------------------------------------------


def _reboot(business: Business, site: Site) -> Command:
    """cmd 1. Address and port stand together or not at all, and name a relay of the site (D10)."""
    named = [name for name in ("rebootIp", "rebootPort") if _present(business, name)]
    if not named:
        for relay in site.relays:
            if relay.default:
                return Reboot(relay.name)
        raise Wrong("rebootIp", _relays(site.relays))
    text = _text(business, "rebootIp", _relays(site.relays))
    try:
        address = ipaddress.ip_address(text)
    except ValueError as fault:
        raise Wrong("rebootIp", _relays(site.relays)) from fault
    there = [relay for relay in site.relays if ipaddress.ip_address(relay.ip) == address]
    port = _whole(business, "rebootPort", 1, 65535, _relays(there or site.relays))
    for relay in there:
        if relay.port == port:
            return Reboot(relay.name)
    raise Wrong("rebootPort" if there else "rebootIp", _relays(there or site.relays))


def _unlock(business: Business, site: Site) -> Command:
    """cmd 2."""
    sides: tuple[Literal["front"], Literal["back"]] = ("front", "back")
    cabinet = _cabinet(business, site)
    able = [door.side for door in cabinet.doors if door.unlock]
    valid = _one_of((_DOORS[side] for side in sides if side in able), _NO_DOOR)
    side = sides[_whole(business, "unlockDoorId", 1, 2, valid) - 1]
    if side not in able:
        raise Wrong("unlockDoorId", valid)
    return Unlock(cabinet.number, side)


def _run_air_conditioner(business: Business, site: Site) -> Command:
    """cmd 3."""
    cabinet, number = _air_conditioner(business, site)
    valid = Text("可用：1（运行）, 2（待机）", "valid: 1 (run), 2 (stand by)")
    return RunAirConditioner(cabinet, number, run=_whole(business, "airOperate", 1, 2, valid) == 1)


def _set_temperatures(business: Business, site: Site) -> Command:
    """cmd 4: at least one of the two, and cooling above heating (D13)."""
    cabinet, number = _air_conditioner(business, site)
    cooling, heating = _temperature(business, "autoRefrigerationTemp"), _temperature(business, "autoHeatingTemp")
    if cooling is None and heating is None:
        raise Wrong("autoRefrigerationTemp", _TEMPERATURES)
    if cooling is not None and heating is not None and cooling <= heating:
        valid = Text(f"须高于 autoHeatingTemp（{heating}）", f"must be above autoHeatingTemp ({heating})")
        raise Wrong("autoRefrigerationTemp", valid)
    return SetTemperatures(cabinet, number, cooling, heating)


def _power_mode(business: Business, site: Site) -> Command:
    """cmd 5. A level of its own that switches nothing off names what is not configured (D7)."""
    valid = _one_of(["0", *(str(level) for level, outputs in enumerate(site.power_modes, 1) if outputs)])
    mode = _whole(business, "mode", 0, 3, valid)
    if mode and not site.power_modes[mode - 1]:  # 成功 would tell that the rear antennas are off
        raise Wrong("mode", valid)
    return SetPowerMode(mode)


def _defend(business: Business, site: Site) -> Command:
    """cmd 6. The interface has no cabinet here: it is the gantry that is defended."""
    del site
    return Defend(on=_whole(business, "isDoorDefend", 0, 1) == 1)


def _whitelist(business: Business, site: Site) -> Command:
    """cmd 7. An empty list is in order: it revokes every card; one card with two dates is not (D12)."""
    del site
    cards = business.get("cardInfos")
    if not isinstance(cards, list):
        raise Wrong("cardInfos", _CARDS)
    found: dict[str, Card] = {}
    for place, card in enumerate(cards):
        if not isinstance(card, dict):
            raise Wrong(f"cardInfos[{place}]", _CARDS)
        number, expires = _scalar(card.get("cardId")), _scalar(card.get("expireDate"))
        if number is None or not _is_card(number):
            raise Wrong(f"cardInfos[{place}].cardId", _CARD_ID)
        until = _date(expires)
        if until is None:
            raise Wrong(f"cardInfos[{place}].expireDate", _DAY)
        if found.setdefault(number, Card(number, until)).expires != until:
            valid = Text("同一张卡出现两次，有效期不同", "one card has two dates; give it once")
            raise Wrong(f"cardInfos[{place}].expireDate", valid)
    return SetWhitelist(tuple(found.values()))


def _rectifiers(business: Business, site: Site) -> Command:
    """cmd 8."""
    return SwitchRectifiers(_cabinet(business, site).number, on=_whole(business, "onOff", 0, 1) == 1)


def _battery_test(business: Business, site: Site) -> Command:
    """cmd 9."""
    return TestBattery(_cabinet(business, site).number, start=_whole(business, "testStartStop", 0, 1) == 1)


def _battery_result(business: Business, site: Site) -> Command:
    """cmd 10."""
    return AskBatteryTest(_cabinet(business, site).number)


CMD: Mapping[int, Callable[[Business, Site], Command]] = MappingProxyType(
    {
        1: _reboot,
        2: _unlock,
        3: _run_air_conditioner,
        4: _set_temperatures,
        5: _power_mode,
        6: _defend,
        7: _whitelist,
        8: _rectifiers,
        9: _battery_test,
        10: _battery_result,
    }
)

_COMMON = frozenset({"updateNow", "setServer", "setFrequency"})
KNOWN: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "computerControl": _COMMON,
        "cabinetControl": _COMMON
        | {
            *("cmd", "rebootIp", "rebootPort", "cabinetId", "unlockDoorId", "airId", "airOperate"),
            *("autoRefrigerationTemp", "autoHeatingTemp", "mode", "isDoorDefend", "cardInfos", "onOff"),
            "testStartStop",
        },
        "getCabinetImageVedio": frozenset({"cabinetId", "doorOpenTime"}),
    }
)


# --- fields ---------------------------------------------------------------------------------------------------------

_WHOLE = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
_TEMPERATURE = re.compile(r"-?\d{1,3}(\.\d{1,2})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _scalar(value: object) -> str | None:
    """The text of a value that may come as a string or a number (D4); None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _present(business: Business, name: str) -> bool:
    """A member that is null is absent: serializers of the platforms write null for what was not set."""
    return business.get(name) is not None


def _text(business: Business, name: str, valid: Text) -> str:
    text = _scalar(business.get(name))
    if not text:
        raise Wrong(name, valid)
    return text


def _whole(business: Business, name: str, lowest: int, highest: int, valid: Text | None = None) -> int:
    can = valid or Text(f"可用：{lowest}–{highest} 的整数", f"valid: a whole number from {lowest} to {highest}")
    text = _text(business, name, can)
    if _WHOLE.fullmatch(text) is None or not lowest <= int(text) <= highest:
        raise Wrong(name, can)
    return int(text)


def _temperature(business: Business, name: str) -> Decimal | None:
    if not _present(business, name):
        return None
    text = _text(business, name, _TEMPERATURES)
    if _TEMPERATURE.fullmatch(text) is None or not TEMPERATURE_C[0] <= Decimal(text) <= TEMPERATURE_C[1]:
        raise Wrong(name, _TEMPERATURES)
    return Decimal(text)


def _is_card(text: str) -> bool:
    return 0 < len(text) <= CARD_ID_LIMIT and text.isascii() and text.isprintable()


def _date(text: str | None) -> date | None:
    if text is None or _DATE.fullmatch(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _cabinet(business: Business, site: Site) -> Cabinet:
    valid = _one_of(str(cabinet.number) for cabinet in site.cabinets)
    number = _whole(business, "cabinetId", 1, 999_999_999, valid) if _present(business, "cabinetId") else 1
    for cabinet in site.cabinets:
        if cabinet.number == number:
            return cabinet
    raise Wrong("cabinetId", valid)


def _air_conditioner(business: Business, site: Site) -> tuple[int, int]:
    """Cabinet and air conditioner, the latter 0 for every one; refused where there is none to mean."""
    cabinet = _cabinet(business, site)
    numbers = air_conditioners(site.devices.values(), cabinet.number)
    valid = _one_of([Text("0（全部）", "0 (all)"), *map(str, numbers)] if numbers else (), _NO_AIR)
    number = _whole(business, "airId", 0, 999_999_999, valid)
    if not numbers or (number and number not in numbers):
        raise Wrong("airId", valid)
    return cabinet.number, number


def air_conditioners(devices: Iterable[Device], cabinet: int) -> tuple[int, ...]:
    """The numbers of a cabinet's air conditioners."""
    member = "airConditioners"
    mine = (device for device in devices if device.cabinet == cabinet and member not in device.skip)
    return tuple(sorted({number for device in mine for number in device.roles.get(member, ())}))


# --- what would be valid, for a technician ---------------------------------------------------------------------------

SERVER = Text(
    "可用：[http[s]://]主机[:端口][/路径]，例如 192.168.1.1:8080",
    "valid: [http[s]://]host[:port][/path], like 192.168.1.1:8080",
)
_TEMPERATURES = Text(
    f"可用：{TEMPERATURE_C[0]}–{TEMPERATURE_C[1]} °C，最多两位小数",
    f"valid: {TEMPERATURE_C[0]} to {TEMPERATURE_C[1]} °C, with at most two decimals",
)
_CARDS = Text(
    "应为列表，每项有 cardId 和 expireDate（yyyy-mm-dd）",
    "must be a list of items with cardId and expireDate (yyyy-mm-dd)",
)
_CARD_ID = Text(f"应为卡号，1–{CARD_ID_LIMIT} 个字符", f"must be a card's number, 1 to {CARD_ID_LIMIT} characters")
_DAY = Text("应为 yyyy-mm-dd", "must be yyyy-mm-dd, like 2027-12-31")
_NOTHING = Text("", "")
_NO_DOOR = Text("本机柜没有可远程解锁的门", "no door of this cabinet has an unlock")
_NO_AIR = Text("本机柜没有空调", "this cabinet has no air conditioner")
_NO_RELAY = Text("站点文件没有 relays", "the site file has no relays")
_DOORS: Mapping[str, Text] = MappingProxyType(
    {"front": Text("1（前门）", "1 (front)"), "back": Text("2（后门）", "2 (back)")}
)


def _one_of(words: Iterable[str | Text], none: Text = _NOTHING) -> Text:
    """The words that are valid; `none` where there is nothing that could be meant."""
    texts = [Text(word, word) if isinstance(word, str) else word for word in words]
    said = joined(texts, ", ", ", ")
    return Text(f"可用：{said.zh}", f"valid: {said.en}") if texts else none


def _relays(relays: Iterable[Relay]) -> Text:
    """Addresses as the command gives them, and what they stand for."""
    return _one_of((f"{one.ip} {one.port} ({one.name})" for one in relays), _NO_RELAY)


# --- setServer (D9) -------------------------------------------------------------------------------------------------

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*\.?")
_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
_URL_LIMIT = 256


def server_url(current: str, asked: str) -> str:
    """The address that `asked` means: without a scheme the current one is kept, without a path it is /monitor.do.

    Raises ValueError for what is not `[http[s]://]host[:port][/path]`.
    """
    scheme, mark, rest = asked.rpartition("://")
    if not mark:
        scheme = urlsplit(current).scheme
    if scheme.lower() not in {"http", "https"} or len(asked) > _URL_LIMIT:
        raise ValueError(f"cannot use {asked[:_URL_LIMIT]!r} as a server: not [http[s]://]host[:port][/path]")
    authority, slash, path = rest.partition("/")
    host, port = _host_and_port(authority)
    if not _is_host(host) or _PATH.fullmatch(slash + path) is None:
        raise ValueError(f"cannot use {asked!r} as a server: not [http[s]://]host[:port][/path]")
    return f"{scheme.lower()}://{host}{port}{'/' + path if path else PATH_UPLOAD}"


def _host_and_port(authority: str) -> tuple[str, str]:
    """Split off `:port`, checked; a bare IPv6 address must stand in brackets."""
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, ""
    if _WHOLE.fullmatch(port) is None or not 1 <= int(port) <= 65535:
        raise ValueError(f"cannot use {port!r} as a port: not 1 to 65535")
    return host, f":{port}"


def _is_host(host: str) -> bool:
    try:
        if host.startswith("["):
            return host.endswith("]") and "%" not in host and bool(ipaddress.IPv6Address(host[1:-1]))
        if re.fullmatch(r"[\d.]+", host):  # digits and dots are an address, not a name
            return bool(ipaddress.IPv4Address(host))
    except ValueError:
        return False
    return _HOST.fullmatch(host) is not None
