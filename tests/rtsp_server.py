"""An RTSP server by GStreamer, for tests: H.264 coded live from an MJPEG stream, behind Basic authentication.

Run with the system's python3, whose packages have GStreamer: `rtsp_server.py PORT MJPEG-URL USER PASSWORD`.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions come first

PIPELINE = (
    '( souphttpsrc is-live=true do-timestamp=true location={url} user-id={user} user-pw="{password}" '
    "! multipartdemux ! jpegdec ! videoconvert ! video/x-raw,format=I420 "
    "! x264enc tune=zerolatency key-int-max=10 quantizer=15 pass=quant ! rtph264pay name=pay0 pt=96 )"
)


def main(port: str, url: str, user: str, password: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE.format(url=url, user=user, password=password))
    factory.set_shared(True)
    rights = "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(rights))
    server.get_mount_points().add_factory("/Streaming/Channels/101", factory)
    server.attach(None)
    print("rtsp ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
