"""The shape of the site file: which keys exist, of what type, within which bounds. The one schema of the project.

Validation, the editor's JSON Schema (`gantry-agent schema`) and the commented sample in config/ all follow from it.
Only the shape is here; what must agree between two places of the file is `site`'s matter.
"""

import ipaddress
import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError


def _check_host(host: str) -> str:
    """Refuse what can only be meant as an address and is none, like 192.168.1.300."""
    if re.fullmatch(r"[\d.]+", host) or ":" in host:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise PydanticCustomError("host_address", "{host} is no IP address", {"host": host}) from None
    return host


def _check_ip(ip: str) -> str:
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        raise PydanticCustomError("host_address", "{host} is no IP address", {"host": ip}) from None
    return ip


def _check_host_alone(host: str) -> str:
    if found := re.fullmatch(r"([^:]+):(\d+)", host):
        raise PydanticCustomError("host_with_port", "give the port by itself", {"port": found[2]})
    return _check_host(host)


def _check_port(port: str) -> None:
    if not 0 < int(port) < 65536:
        raise PydanticCustomError("port_range", "port {port} is out of range", {"port": port})


def _check_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    _check_port(port)
    _check_host(host.removeprefix("[").removesuffix("]"))
    return address


def _check_url(url: str) -> str:
    if port := re.search(r":(\d+)$", urlsplit(url).netloc):
        _check_port(port[1])
    if url != "environment":
        _check_host(urlsplit(url).hostname or "")
    return url


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]
GantryId = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{0,19}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[
    str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:]+\]|[^:\s]+):\d{1,5}$"), AfterValidator(_check_address)
]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(/\S*)?$"), AfterValidator(_check_url)]
ProxyUrl = Annotated[str, StringConstraints(pattern=r"^(environment|http://[^\s/]+/?)$"), AfterValidator(_check_url)]
# Without a login: it would stand in whatever shows a URL.
SnapshotUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$"), AfterValidator(_check_url)]
StreamUrl = Annotated[
    str, StringConstraints(pattern=r"^(https?|rtsp)://[^\s/@]+(/[^\s@]*)?$"), AfterValidator(_check_url)
]
User = Annotated[str, StringConstraints(pattern=r"^[^:\x00-\x1f\x7f]{1,128}$")]  # RFC 7617: a colon ends it
Secret = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")]  # it travels in a header
GATHER_MS = 100  # D18
DEFAULT_AUTH = "123456"  # of the platform's simulators and manuals: whoever knows the interface knows it
ObjectNumber = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]  # it travels in a URL
FilePath = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")]
RootedPath = Annotated[
    str, StringConstraints(pattern=r"^/[^\x00]*$")
]  # the daemon has no folder of its own to count from
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]*$"), AfterValidator(_check_host_alone)]
Ip = Annotated[str, AfterValidator(_check_ip)]
NO_IP = "0.0.0.0"  # noqa: S104 - of a relay that stands for a faulty one
Number = Annotated[int, Field(ge=1, le=999)]
AlarmText = Annotated[str, StringConstraints(pattern=r"^[^,\x00-\x1f\x7f]{1,40}$")]  # commas join texts (§3.1.2)
ShortSeconds = Annotated[float, Field(gt=0, le=3600)]


class Part(BaseModel):
    """Base of every part of the file: unknown keys are errors, types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Gantry(Part):
    id: GantryId
    timezone: str = "Asia/Shanghai"


class Cloud(Part):
    server: Url
    auth: Secret | None = None
    auth_file: FilePath | None = None
    interval_s: Annotated[int, Field(ge=10, le=86400)] = 600
    backlog_per_minute: Annotated[int, Field(ge=1, le=6000)] = 300  # older statuses after an outage, at most
    ca_file: FilePath | None = None
    client_cert: FilePath | None = None
    client_key: FilePath | None = None
    proxy: ProxyUrl | None = None


class Tls(Part):
    cert: FilePath
    key: FilePath
    client_ca: FilePath | None = None


class Control(Part):
    listen: Address = "0.0.0.0:3699"  # the interface fixes the port; `allow` restricts who may ask
    allow: list[str] = []
    clock_tolerance_s: Annotated[int, Field(ge=10, le=86400)] = 300
    requests_per_minute: Annotated[int, Field(ge=1, le=100000)] = 120
    body_limit_kb: Annotated[int, Field(ge=4, le=65536)] = 1024
    tls: Tls | None = None


class Storage(Part):
    path: RootedPath = "/var/lib/gantry-agent"
    max_age_days: Annotated[int, Field(ge=1, le=3650)] = 90  # records older than that are lost, and counted


class Polling(Part):
    fast_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    slow_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    misses: Annotated[int, Field(ge=1, le=100)] = 3


class _Line(Part):
    baudrate: Literal[1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    bytesize: Literal[7, 8] = 8


class SerialBus(_Line):
    type: Literal["serial"]
    port: RootedPath


class SerialTcpBus(_Line):
    type: Literal["serial-tcp"]
    host: Host
    port: Port


class ModbusTcpBus(Part):
    type: Literal["modbus-tcp"]
    host: Host
    port: Port = 502


class SnmpBus(Part):
    type: Literal["snmp"]
    host: Host
    port: Port = 161
    version: Literal["1", "2c", "3", 1, 3] = "2c"
    community: Secret | None = None
    community_file: FilePath | None = None
    write_community: Secret | None = None
    write_community_file: FilePath | None = None
    user: Secret | None = None
    auth_protocol: Literal["MD5", "SHA", "SHA224", "SHA256", "SHA384", "SHA512"] | None = None
    auth_key: Annotated[str, StringConstraints(min_length=8, max_length=128)] | None = None
    auth_key_file: FilePath | None = None
    priv_protocol: Literal["DES", "AES", "AES192", "AES256"] | None = None
    priv_key: Annotated[str, StringConstraints(min_length=8, max_length=128)] | None = None
    priv_key_file: FilePath | None = None


class UhppoteBus(Part):
    type: Literal["uhppote"]
    host: Host
    port: Port = 60000
    listen: Address | None = None  # where the controllers' events are taken, usually port 60001
    set_listener: bool = False  # have the controllers send them there


class UdpBus(Part):
    type: Literal["udp"]
    host: Host
    port: Port


class _ZteBus(Part):
    host: Host
    port: Port = 80
    user: User | None = None
    password: Secret | None = None
    password_file: FilePath | None = None
    gap_ms: Annotated[int, Field(ge=0, le=60_000)] = 1000  # the unit is left alone for so long after each answer


class ZteHttpBus(_ZteBus):
    type: Literal["zte-http"]


class ZteSerialBus(_ZteBus):
    type: Literal["zte-serial"]


AnyBus = Annotated[
    SerialBus | SerialTcpBus | ModbusTcpBus | SnmpBus | UhppoteBus | UdpBus | ZteHttpBus | ZteSerialBus,
    Field(discriminator="type"),
]


class _Computer(Part):
    id: Number
    monitor: bool = False
    main: bool = False
    sys_disk: str = "/"
    data_disk: str | None = None
    nic: str | None = None
    link_mbps: Annotated[int, Field(ge=1, le=400000)] | None = None
    ip: str | None = None


class LocalComputer(_Computer):
    source: Literal["local"]


class SnmpComputer(_Computer):
    source: Literal["snmp"]
    bus: Name
    profile: str = "host-resources"


AnyComputer = Annotated[LocalComputer | SnmpComputer, Field(discriminator="source")]


class MapPoint(Part):
    point: str
    invert: bool = False


def _mapped(value: object) -> object:
    return {"point": value} if isinstance(value, str) else value


def _scalar(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("scalar_type", "must be a number or text")


Mapped = Annotated[MapPoint, BeforeValidator(_mapped, json_schema_input_type=str | MapPoint)]
Scalar = Annotated[Any, BeforeValidator(_scalar, json_schema_input_type=int | float | str)]


class Device(Part):
    profile: str
    bus: Name
    unit: Annotated[int, Field(ge=1, le=247)] = 1
    object: ObjectNumber | None = None
    ids: dict[str, list[Number]] = {}
    parameters: dict[str, Scalar] = {}
    skip: list[str] = []
    map: dict[str, Mapped] = {}


class Feeds(Part):
    """What an output cuts off: a word, and the numbers of air conditioners where they are given, else every one."""

    what: Literal["uplink", "agent", "airConditioners"]
    numbers: list[Number] | None = None


def _fed(value: object) -> object:
    if isinstance(value, str) and value in get_args(Feeds.model_fields["what"].annotation):
        return {"what": value}
    numbers = value.get("airConditioners") if isinstance(value, dict) and len(value) == 1 else None
    given = numbers if isinstance(numbers, list) else [numbers]
    if given and all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= 999 for one in given):
        return {"what": "airConditioners", "numbers": given}
    raise PydanticCustomError("feeds_form", "must be a word, or {{airConditioners: [1]}}")


# A map like that of `ids`, for `airConditioners[1]` cannot stand in YAML's { … } without quotes.
Fed = Annotated[
    Feeds,
    BeforeValidator(
        _fed,
        json_schema_input_type=Literal["uplink", "agent", "airConditioners"]
        | dict[Literal["airConditioners"], list[Number] | Number],
    ),
]


class Output(Part):
    device: Name
    point: str
    pulse_s: ShortSeconds | None = None
    invert: bool = False
    feeds: Fed | None = None


class DoorReader(Part):
    device: Name
    point: str


class DoorSide(Part):
    unlock: Name | None = None
    reader: DoorReader | None = None


class Doors(Part):
    front: DoorSide | None = None
    back: DoorSide | None = None
    unlock_window_s: ShortSeconds = 10.0
    siren: Name | None = None
    beacon: Name | None = None


class Alarm(Part):
    point: str  # member.field, or member[number].field for one of several
    above: float | None = None
    below: float | None = None
    clear: float
    for_s: Annotated[float, Field(ge=0, le=86400)] = 10.0
    text: AlarmText


class Camera(Part):
    snapshot: SnapshotUrl | None = None
    stream: StreamUrl | None = None
    user: User | None = None
    password: Secret | None = None
    password_file: FilePath | None = None


class Cameras(Part):
    front: Camera | None = None
    back: Camera | None = None


class Cabinet(Part):
    id: Number
    devices: dict[Name, Device] = {}
    outputs: dict[Name, Output] = {}
    doors: Doors = Doors()
    cameras: Cameras = Cameras()
    alarms: list[Alarm] = []


class Relay(Part):
    ip: Ip
    port: Port
    output: str | None = None  # its name, or cabinet.name
    host: bool = False
    pulse_s: Annotated[float, Field(ge=1, le=20)] = 10.0  # the answer waits for its end, and the cloud does for that
    hold_off_s: Annotated[float, Field(ge=0, le=86400)] = 120.0
    default: bool = False


class Interlocks(Part):
    compressor_off_s: Annotated[float, Field(ge=0, le=3600)] = 180.0
    battery_low_v: Annotated[float, Field(ge=0, le=1000)] = 48.0
    battery_low_percent: Annotated[float, Field(ge=0, le=100)] = 50.0


class Access(Part):
    whitelist: Literal["replace", "merge"] = "replace"
    card_numbers: Literal["decimal", "hex"] = "decimal"


class Media(Part):
    max_mb: Annotated[int, Field(ge=50, le=1_000_000)] = 500
    max_days: Annotated[int, Field(ge=1, le=3650)] = 90
    before_s: Annotated[float, Field(ge=0, le=20)] = 5.0  # the ring in memory holds both
    after_s: Annotated[float, Field(ge=1, le=20)] = 5.0
    tolerance_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0  # D23


class Events(Part):
    flap_changes: Annotated[int, Field(ge=1, le=20)] = 3  # pushed within hold_down_s; what changes more often is held
    hold_down_s: Annotated[float, Field(ge=1, le=3600)] = 30.0
    gather_ms: Annotated[int, Field(ge=GATHER_MS, le=5000)] = GATHER_MS  # the most: a dozen units at 9600 baud take 3 s


class Traps(Part):
    listen: Address = "0.0.0.0:162"


class SiteFile(Part):
    """The whole file."""

    gantry: Gantry
    lab: bool = False  # a trial on a bench: the default code will do
    cloud: Cloud
    control: Control = Control()
    storage: Storage = Storage()
    polling: Polling = Polling()
    events: Events = Events()
    traps: Traps | None = None
    media: Media = Media()
    buses: dict[Name, AnyBus] = {}
    computers: list[AnyComputer] = []
    cabinets: list[Cabinet] = []
    relays: list[Relay] = []
    power_modes: dict[Literal[1, 2, 3], list[str]] = {}
    interlocks: Interlocks = Interlocks()
    access: Access = Access()


def json_schema() -> dict[str, Any]:
    """Build the JSON Schema that editors use for completion."""
    return SiteFile.model_json_schema()
