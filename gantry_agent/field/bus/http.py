"""One question to a small HTTP server in a cabinet, and its answer as bytes, however badly it behaves.

A connection for each question, since such servers close idle ones without saying so, and a command that meets that
may have been done or not. A redirect is not followed, since it would carry the question to any address; the
environment's proxy does not count; an answer has a limit, in bytes and in time. The login is HTTP Digest: the password
never goes over the wire, and is in no text that is raised here. What is asked, and what an answer says, is not known.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import aiohttp

from gantry_agent.model import BadReply, BusDown, NoReply
from gantry_agent.text import Text, of_system

CONNECT_S: Final = 3.0
ANSWER_LIMIT: Final = 256 * 1024  # a unit with a hundred objects has 10 kB
GOOD: Final = frozenset({200, 202})  # `supervision_zte.cpp` takes both


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is, and who we are to it."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"


class Server:
    """The server at one place; a session is made at the first question, for the sake of the login's nonce."""

    def __init__(self, place: Place) -> None:
        self._place = place
        host = f"[{place.host}]" if ":" in place.host else place.host
        self._root = f"http://{host}:{place.port}"
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, target: str, body: bytes | None, limit_s: float) -> bytes:
        """GET, or with a body POST. Raises BusDown where nobody could be asked, NoReply or BadReply after that."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(target, body)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):  # the aiohttp one is one of these too
                raise BusDown(
                    Text(
                        f"连不上 {self._place!r}：{CONNECT_S:g} 秒内没有应答",
                        f"cannot reach {self._place!r}: no answer within {CONNECT_S:g} s",
                    )
                ) from error
            raise NoReply(f"cannot get an answer from {self._place!r}: no end of it in {limit_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            zh, en = of_system(error.os_error).zh, _why(error)
            raise BusDown(
                Text(f"连不上 {self._place!r}：{zh}", f"cannot reach {self._place!r}: {en}")
            ) from error.os_error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError, OSError) as error:
            raise NoReply(f"cannot get an answer from {self._place!r}: it broke off ({_why(error)})") from None
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: a header that is none, a challenge likewise
            raise BadReply(f"cannot use the answer of {self._place!r}: {_why(error)}") from None

    async def _exchange(self, target: str, body: bytes | None) -> bytes:
        session = self._opened()
        method = "GET" if body is None else "POST"
        url = f"{self._root}{target}"
        async with session.request(method, url, data=body, allow_redirects=False) as response:
            if response.status == 401:
                raise BusDown(self._unwelcome()) from PermissionError()
            if response.status not in GOOD:
                raise BadReply(
                    f"cannot use the answer of {self._place!r}: it is {response.status}{_elsewhere(response)}"
                )
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > ANSWER_LIMIT:
                    response.close()
                    raise BadReply(f"cannot use the answer of {self._place!r}: it is longer than {ANSWER_LIMIT} bytes")
            return bytes(content)

    def _unwelcome(self) -> Text:
        zh, en = ("不接受所给的", "does not accept the") if self._place.user else ("需要", "wants a")
        return Text(
            f"{self._place!r} {zh} user 和 password（401）",
            f"cannot ask {self._place!r}: it {en} user and password (401)",
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
            if self._place.user:
                middlewares = (aiohttp.DigestAuthMiddleware(self._place.user, self._place.password),)
            self._session = aiohttp.ClientSession(
                middlewares=middlewares,
                connector=aiohttp.TCPConnector(force_close=True, limit=1, use_dns_cache=False),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={
                    "Accept": "application/json",
                    "Content-Type": "application/json",
                    "Accept-Encoding": "identity",
                },
            )
        return self._session


def _elsewhere(response: aiohttp.ClientResponse) -> str:
    return ", which sends elsewhere and is not followed" if 300 <= response.status < 400 else ""


def _why(error: Exception) -> str:
    """What went wrong, without the URL and the headers that the library's own texts have."""
    inner = getattr(error, "os_error", error)
    reason = getattr(inner, "strerror", None)
    return str(reason) if reason else type(error).__name__
