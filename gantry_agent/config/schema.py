"""The shape of the site file: which keys exist, of what type, within which bounds. The one schema of the project.

Validation, the editor's JSON Schema (`gantry-agent schema`) and the commented sample in config/ all follow from it.
Only the shape is here; what must agree between two places of the file is `site`'s matter.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]
GantryId = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{0,19}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:]+\]|[^:\s]+):\d{1,5}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$")]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=128)]
FilePath = Annotated[str, StringConstraints(min_length=1)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]*$")]
Number = Annotated[int, Field(ge=1, le=999)]
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
    path: FilePath = "/var/lib/gantry-agent"


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
    port: FilePath


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


AnyBus = Annotated[SerialBus | SerialTcpBus | ModbusTcpBus | SnmpBus, Field(discriminator="type")]


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
    ids: dict[str, list[Number]] = {}
    parameters: dict[str, Scalar] = {}
    skip: list[str] = []
    map: dict[str, Mapped] = {}


class Output(Part):
    device: Name
    point: str
    pulse_s: ShortSeconds | None = None
    invert: bool = False


class DoorSide(Part):
    unlock: Name | None = None


class Doors(Part):
    front: DoorSide | None = None
    back: DoorSide | None = None
    unlock_window_s: ShortSeconds = 10.0
    siren: Name | None = None


class Cabinet(Part):
    id: Number
    devices: dict[Name, Device] = {}
    outputs: dict[Name, Output] = {}
    doors: Doors = Doors()


class SiteFile(Part):
    """The whole file."""

    gantry: Gantry
    cloud: Cloud
    control: Control = Control()
    storage: Storage = Storage()
    polling: Polling = Polling()
    buses: dict[Name, AnyBus] = {}
    computers: list[AnyComputer] = []
    cabinets: list[Cabinet] = []


def json_schema() -> dict[str, Any]:
    """Build the JSON Schema that editors use for completion."""
    return SiteFile.model_json_schema()
