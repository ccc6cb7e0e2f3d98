"""SNMPv3, and SET of every version, by way of pysnmp: the one module of the agent that meets it.

pysnmp wants one engine per process, shared by all buses; it is made in a thread on first use (100 ms of imports and
MIB files) and given back with the last bus that uses it. Three of its internals are replaced before that, and each is
checked to exist, so that an upgrade fails at once instead of quietly bringing the trouble back:
- its timers read the wall clock, so that a clock set back by an hour makes a question to a silent agent last an hour;
- so does its notion of the peers' time, and a clock that is set right costs every v3 agent a round of resynchronising;
- after 300 s it forgets the peers' clocks again and again, and every question pays a second datagram.
Its own timeouts are never what ends a question here, and its own retries are off: they go on when a question is
cancelled.
"""

import asyncio
import importlib
import math
import socket
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from gantry_agent.field.bus.journal import number_setting, text_setting
from gantry_agent.field.framing import ber
from gantry_agent.field.request import SetOid
from gantry_agent.model import BadReply, Bus, BusDown, NoReply

TIMERS = ("pysnmp.carrier.asyncio.dispatch", "pysnmp.hlapi.v1arch.dispatch")
FORGET = "_SnmpUSMSecurityModel__expire_timeline_info"
FORGET_QUEUE = "_SnmpUSMSecurityModel__timelineExpQueue"
CLOCKS = "_SnmpUSMSecurityModel__timeline"
MODULES_OF_A_QUESTION = ("SNMPv2-TM", "PYSNMP-SOURCE-MIB", "PYSNMP-USM-MIB")
PEERS = "_SnmpV3MessageProcessingModel__engineIdCache"
PEERS_QUEUE = "_SnmpV3MessageProcessingModel__engineIdCacheExpQueue"
SILENT_TO_FORGET = 3
STRANGER = frozenset({"UnknownEngineID", "NotInTimeWindow"})  # the agent is another one now, or has another clock
PREPARE_S = 30.0  # imports and MIB files on a slow disk
DISCOVERY_ROUNDS = 3  # a v3 agent's first answer takes three: who are you, what is your time, the question
CACHED_OBJECTS = 256

AUTH_PROTOCOLS = {
    "MD5": "USM_AUTH_HMAC96_MD5",
    "SHA": "USM_AUTH_HMAC96_SHA",
    "SHA1": "USM_AUTH_HMAC96_SHA",
    "SHA224": "USM_AUTH_HMAC128_SHA224",
    "SHA256": "USM_AUTH_HMAC192_SHA256",
    "SHA384": "USM_AUTH_HMAC256_SHA384",
    "SHA512": "USM_AUTH_HMAC384_SHA512",
}
PRIV_PROTOCOLS = {
    "DES": "USM_PRIV_CBC56_DES",
    "3DES": "USM_PRIV_CBC168_3DES",
    "AES": "USM_PRIV_CFB128_AES",
    "AES128": "USM_PRIV_CFB128_AES",
    "AES192": "USM_PRIV_CFB192_AES",
    "AES256": "USM_PRIV_CFB256_AES",
}
SET_TYPES = {"integer": "Integer32", "unsigned": "Unsigned32", "octets": "OctetString", "oid": "ObjectIdentifier"}


def patch_pysnmp() -> None:
    """Put pysnmp's timers on the monotonic clock and let it remember its peers; harmless when done twice."""
    for name in TIMERS:
        module = importlib.import_module(name)
        if "time" not in vars(module):
            raise RuntimeError(f"cannot patch pysnmp: {name}.time is gone")
        module.time = time.monotonic  # type: ignore[attr-defined]
    security = importlib.import_module("pysnmp.proto.secmod.rfc3414.service")
    if not hasattr(vars(security).get("time"), "time"):
        raise RuntimeError("cannot patch pysnmp: the clock of its v3 time window is gone")
    security.time = SimpleNamespace(time=time.monotonic)  # type: ignore[attr-defined]
    service = security.SnmpUSMSecurityModel
    if not hasattr(service, FORGET) or not hasattr(service(), FORGET_QUEUE):
        raise RuntimeError(f"cannot patch pysnmp: {FORGET} or {FORGET_QUEUE} is gone")
    setattr(service, FORGET, lambda self: getattr(self, FORGET_QUEUE).clear())


def forget_peer(engine: Any, address: str) -> None:
    """Let pysnmp ask anew who answers at this address and what its clock says.

    A controller that was exchanged has another engine id; left alone, pysnmp addresses the old one for up to 300 s,
    which the new one does not answer or takes for a stranger's. The old one's clock goes too, else each leaves one.
    """
    model = engine.message_processing_subsystems[3]
    peers, queue = getattr(model, PEERS), getattr(model, PEERS_QUEUE)
    clocks = getattr(engine.security_models[3], CLOCKS)
    for key in [key for key in peers if key[1][0] == address]:
        clocks.pop(peers.pop(key)["securityEngineId"], None)
        for waiting in queue.values():
            if key in waiting:
                waiting.remove(key)


@dataclass(slots=True)
class _Shared:
    """An engine in use, and the keys by which it knows each user name: it can hold only one set for each."""

    making: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    users: dict[str, tuple[str, ...]] = field(default_factory=dict)
    holders: int = 0


# The one thing here that outlives its bus: pysnmp's engine is heavy and meant to be shared. Usually there is one; a
# user name that comes with other keys gets another.
_shared: list[_Shared] = []


def _acquire(user: str, keys: tuple[str, ...]) -> _Shared:
    loop = asyncio.get_running_loop()
    for shared in _shared:
        if shared.loop is loop and shared.users.get(user, keys) == keys:
            break
    else:
        shared = _Shared(loop.run_in_executor(None, _make_engine), loop)
        _shared.append(shared)
    shared.users[user] = keys
    shared.holders += 1
    return shared


def _release(shared: _Shared) -> None:
    shared.holders -= 1
    if shared.holders == 0:
        _shared.remove(shared)
        if shared.making.done() and shared.making.exception() is None:
            shared.making.result().close_dispatcher()


def _make_engine() -> Any:
    patch_pysnmp()
    hlapi = importlib.import_module("pysnmp.hlapi.v3arch.asyncio")
    engine = hlapi.SnmpEngine()
    # What the first question would otherwise read from disk while the event loop stands still.
    engine.get_mib_builder().load_modules(*MODULES_OF_A_QUESTION)
    hlapi.ObjectType(hlapi.ObjectIdentity("1.3.6.1.2.1.1.1.0")).resolve_with_mib(engine.cache["mibViewController"])
    return engine


class EngineAsker:
    """Asks an agent through the shared engine: v3 everything, v1 and v2c only what is written."""

    def __init__(self, bus: Bus) -> None:
        settings = bus.settings
        self._host = text_setting(settings, "host")
        self._port = int(number_setting(settings, "port", 161))
        self._where = f"{self._host} port {self._port}"
        self._version = text_setting(settings, "version", "2c")
        community = text_setting(settings, "community", "public")
        self._community = text_setting(settings, "write_community", community)
        self._user = text_setting(settings, "user", "")
        self._auth_key, self._priv_key = text_setting(settings, "auth_key", ""), text_setting(settings, "priv_key", "")
        self._auth_protocol = _protocol(AUTH_PROTOCOLS, text_setting(settings, "auth_protocol", "SHA"))
        self._priv_protocol = _protocol(PRIV_PROTOCOLS, text_setting(settings, "priv_protocol", "AES"))
        self._shared: _Shared | None = None
        self._hlapi: Any = None
        self._address: str | None = None  # looked up again after silence: the name may mean another one by then
        self._targets: dict[tuple[str, int], Any] = {}
        self._credentials: Any = None
        self._objects: dict[tuple[str, ...], list[Any]] = {}
        self._known = False  # whether the agent has answered: before that, v3 takes several rounds
        self._silent = 0
        self._deadline: asyncio.Timeout | None = None
        self._closed = asyncio.Event()

    async def ask(self, kind: int, oids: tuple[str, ...], repetitions: int, response_s: float) -> ber.Response:
        engine = await self._engine()
        if (objects := self._objects.get(oids)) is None:
            if len(self._objects) >= CACHED_OBJECTS:
                self._objects.clear()
            hlapi = self._hlapi
            objects = self._objects[oids] = [hlapi.ObjectType(hlapi.ObjectIdentity(oid)) for oid in oids]
        match kind:
            case ber.GET:
                return await self._call(self._hlapi.get_cmd, engine, response_s, (), objects)
            case ber.GET_NEXT:
                return await self._call(self._hlapi.next_cmd, engine, response_s, (), objects)
            case _:
                return await self._call(self._hlapi.bulk_cmd, engine, response_s, (0, repetitions), objects)

    async def set(self, request: SetOid, response_s: float) -> ber.Response:
        engine = await self._engine()
        hlapi = self._hlapi
        syntax = getattr(importlib.import_module("pysnmp.proto.rfc1902"), SET_TYPES[request.kind])
        value = request.value.encode() if request.kind == "octets" and isinstance(request.value, str) else request.value
        try:
            varbind = hlapi.ObjectType(hlapi.ObjectIdentity(request.oid), syntax(value))
        except importlib.import_module("pyasn1.error").PyAsn1Error as error:
            raise ValueError(f"cannot set {request.oid} to {request.value!r}: not {request.kind}") from error
        return await self._call(hlapi.set_cmd, engine, response_s, (), [varbind])

    async def close(self) -> None:
        self._closed.set()
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(0)  # the question in flight ends before its engine does
            await asyncio.sleep(0)
        shared, self._shared = self._shared, None
        if shared is not None:
            _release(shared)
            await asyncio.sleep(0)

    async def _engine(self) -> Any:
        if self._closed.is_set():
            raise NoReply(f"cannot ask {self._where}: bus closed")
        if self._shared is None:
            keys = (self._auth_protocol, self._auth_key, self._priv_protocol, self._priv_key)
            self._shared = _acquire(self._user, keys if self._version == "3" else ())
        shared = self._shared
        try:
            async with asyncio.timeout(PREPARE_S):
                engine = await asyncio.shield(shared.making)
        except TimeoutError as error:
            raise NoReply(f"cannot ask {self._where}: the SNMP engine is not ready within {PREPARE_S:g} s") from error
        if self._hlapi is None:
            self._hlapi = importlib.import_module("pysnmp.hlapi.v3arch.asyncio")
            self._credentials = self._identify()
        return engine

    def _identify(self) -> Any:
        hlapi = self._hlapi
        if self._version != "3":
            return hlapi.CommunityData(self._community, mpModel=0 if self._version == "1" else 1)
        options: dict[str, Any] = {}
        if self._auth_key:
            options |= {"authKey": self._auth_key, "authProtocol": getattr(hlapi, self._auth_protocol)}
        if self._priv_key:
            options |= {"privKey": self._priv_key, "privProtocol": getattr(hlapi, self._priv_protocol)}
        return hlapi.UsmUserData(self._user, **options)

    async def _target(self, response_s: float) -> Any:
        """Give the agent's address for pysnmp; kept, since each new one stays in the engine for ever."""
        if self._address is None:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            self._address = str(found[0][4][0])
        key = (self._address, math.ceil(response_s) + 1)
        if (target := self._targets.get(key)) is None:
            kind = self._hlapi.Udp6TransportTarget if ":" in self._address else self._hlapi.UdpTransportTarget
            target = await kind.create((self._address, self._port), timeout=key[1], retries=0)
            self._targets[key] = target
        return target

    async def _call(
        self, command: Any, engine: Any, response_s: float, counts: tuple[int, ...], objects: list[Any]
    ) -> ber.Response:
        trouble, status, index, varbinds = await self._exchange(command, engine, response_s, counts, objects)
        if type(trouble).__name__ in STRANGER:
            self._forget(engine)
            trouble, status, index, varbinds = await self._exchange(command, engine, response_s, counts, objects)
        if trouble is not None:
            if type(trouble).__name__ == "RequestTimedOut":
                self._note_silence(engine)
                raise NoReply(f"cannot get an answer from {self._where}: nothing in {response_s:g} s")
            raise BadReply(f"cannot use the answer of {self._where}: {trouble}")  # wrong user, wrong keys
        self._known, self._silent = True, 0
        return ber.Response(0, int(status), int(index), tuple(_varbind(name, value) for name, value in varbinds))

    async def _exchange(
        self, command: Any, engine: Any, response_s: float, counts: tuple[int, ...], objects: list[Any]
    ) -> Any:
        """Give pysnmp's trouble, status, index and varbinds; raises NoReply when they do not come in time."""
        rounds = DISCOVERY_ROUNDS if self._version == "3" and not self._known else 1
        failure = importlib.import_module("pysnmp.error").PySnmpError
        try:
            async with asyncio.timeout(response_s * rounds) as self._deadline:
                target = await self._target(response_s)
                return await command(
                    engine, self._credentials, target, self._hlapi.ContextData(), *counts, *objects, lookupMib=False
                )
        except TimeoutError as error:
            self._note_silence(engine)
            why = "bus closed" if self._closed.is_set() else f"nothing in {response_s:g} s"
            raise NoReply(f"cannot get an answer from {self._where}: {why}") from error
        except (OSError, UnicodeError) as error:  # no such name, no way there
            raise BusDown(f"cannot reach {self._where}: {error}") from error
        except failure as error:
            raise NoReply(f"cannot ask {self._where}: {error}") from error
        finally:
            self._deadline = None

    def _note_silence(self, engine: Any) -> None:
        self._silent += 1
        if self._silent >= SILENT_TO_FORGET:
            self._forget(engine)
        self._address = None

    def _forget(self, engine: Any) -> None:
        if self._address is not None:
            forget_peer(engine, self._address)
            self._known = False


def _protocol(known: dict[str, str], name: str) -> str:
    plain = name.upper().replace("-", "")
    if plain not in known:
        raise ValueError(f"cannot use SNMPv3 protocol {name!r}: none of {', '.join(known)}")
    return known[plain]


def _varbind(name: Any, value: Any) -> ber.Varbind:
    outermost = value.tagSet.superTags[-1]
    tag = int(outermost.tagClass | outermost.tagFormat | outermost.tagId)
    oid = ".".join(map(str, tuple(name)))
    if tag in ber.ABSENT:
        return ber.Varbind(oid, tag, None)
    if tag == ber.INTEGER or tag in ber.UNSIGNED:
        return ber.Varbind(oid, tag, int(value))
    if tag == ber.OID:
        return ber.Varbind(oid, tag, ".".join(map(str, tuple(value))))
    content = bytes(value.asOctets())
    return ber.Varbind(oid, tag, ".".join(map(str, content)) if tag == ber.IP_ADDRESS else content)
