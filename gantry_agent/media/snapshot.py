"""A picture from a camera by HTTP GET, with Digest or Basic authentication, and what is taken for a picture.

Cameras are told apart from what stands in their place: a redirect is not followed, since it would carry the door's
camera to any address; the environment's proxy does not count; a picture is what is whole by its own bytes. An https
camera's certificate is not checked: cameras make their own, and nobody could say whose is right.
"""

import asyncio
from typing import Final

import aiohttp

from gantry_agent.media import jpeg
from gantry_agent.media.trouble import CameraFault, LoginRefused
from gantry_agent.model import Camera
from gantry_agent.text import Text, of_system

CONNECT_S: Final = 3.0
PICTURE_S: Final = 4.0  # a good camera needs 0.3 s; three tries are to fit into what a query waits
PICTURE_LIMIT: Final = 8 * 1024 * 1024  # a JPEG of 4K has some 2 MB

Middlewares = tuple[aiohttp.ClientMiddlewareType, ...]


async def take(camera: Camera, limit_s: float = PICTURE_S) -> tuple[str, bytes]:
    """Ask once for a picture; give its suffix and its bytes. Raises CameraFault."""
    assert camera.snapshot is not None
    try:
        async with asyncio.timeout(limit_s):
            async with opened(camera) as session:
                content = await _get(session, camera.snapshot, camera)
    except TimeoutError:
        raise CameraFault(Text(f"{limit_s:.0f} 秒内没有图片", f"no picture within {limit_s:.0f} s")) from None
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        raise CameraFault(why(fault)) from None  # its text has the URL
    found = jpeg.whole(content)
    if found is None:
        size = len(content)
        raise CameraFault(
            Text(f"收到的不是完整的 JPEG 或 PNG（{size} 字节）", f"what came is no whole JPEG or PNG ({size} bytes)")
        )
    return found


def opened(camera: Camera) -> aiohttp.ClientSession:
    """A session that answers the camera's Digest challenges."""
    middlewares: Middlewares = ()
    if camera.user:
        middlewares = (aiohttp.DigestAuthMiddleware(camera.user, camera.password),)
    return aiohttp.ClientSession(
        middlewares=middlewares,
        connector=aiohttp.TCPConnector(ssl=False, force_close=True, limit=2),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity"},
    )


async def request(session: aiohttp.ClientSession, url: str, camera: Camera) -> aiohttp.ClientResponse:
    """GET, once more with Basic if the camera asks for that and for nothing better. Raises CameraFault if not 200."""
    response = await session.get(url, allow_redirects=False)
    schemes = {given.split(" ")[0].lower() for given in response.headers.getall("WWW-Authenticate", ())}
    if response.status == 401 and camera.user and "basic" in schemes and "digest" not in schemes:
        response.close()
        login = {"Authorization": aiohttp.encode_basic_auth(camera.user, camera.password, encoding="utf-8")}
        response = await session.get(url, allow_redirects=False, headers=login)
    if response.status != 200:
        response.close()
        raise _refused(response, camera)
    return response


def why(fault: Exception) -> Text:
    """What went wrong, without the URL that the library's own texts have."""
    reason = getattr(fault, "strerror", None) or getattr(fault, "reason", None)
    said = f"{type(fault).__name__}: {reason}" if reason else type(fault).__name__
    known = of_system(fault) if isinstance(fault, OSError) and fault.errno else Text(said, said)
    return Text(f"连不上：{known.zh}", said)


async def _get(session: aiohttp.ClientSession, url: str, camera: Camera) -> bytes:
    response = await request(session, url, camera)
    content = bytearray()
    try:
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > PICTURE_LIMIT:
                raise CameraFault(
                    Text(f"图片超过 {PICTURE_LIMIT} 字节", f"a picture of more than {PICTURE_LIMIT} bytes")
                )
    finally:
        response.close()
    return bytes(content)


def _refused(response: aiohttp.ClientResponse, camera: Camera) -> CameraFault:
    if response.status == 401:
        does = Text("不接受", "does not accept the") if camera.user else Text("要求", "wants a")
        return LoginRefused(Text(f"{does.zh}用户名和密码（401）", f"it {does.en} user and password (401)"))
    if 300 <= response.status < 400:
        code = response.status
        said = f"it sends elsewhere ({code}), which is not followed; give the address of the picture itself"
        return CameraFault(Text(f"它转到别的地址（{code}），不会跟随；请写图片本身的地址", said))
    return CameraFault(Text(f"回答 {response.status}", f"it answers {response.status}"))
