"""setServer: with or without scheme and path (D9), and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.cloud.commands import server_url


@pytest.mark.parametrize(
    ("current", "asked", "url"),
    [
        ("https://old/x", "192.168.1.1/monitor.do", "https://192.168.1.1/monitor.do"),
        ("http://old/x", "192.168.1.1", "http://192.168.1.1/monitor.do"),
        ("http://old/x", "192.168.1.1:8080", "http://192.168.1.1:8080/monitor.do"),
        ("http://old/x", "https://cloud.example", "https://cloud.example/monitor.do"),
        ("http://old/x", "HTTPS://cloud.example/", "https://cloud.example/monitor.do"),
        ("http://old/x", "cloud.example/etc/up.do", "http://cloud.example/etc/up.do"),
        ("http://old/x", "[2001:db8::1]:8080", "http://[2001:db8::1]:8080/monitor.do"),
        ("http://old/x", "[2001:db8::1]/a", "http://[2001:db8::1]/a"),
        ("http://old/x", "localhost:1", "http://localhost:1/monitor.do"),
    ],
)
def test_what_is_missing_is_filled_in(current, asked, url):
    assert server_url(current, asked) == url


@pytest.mark.parametrize(
    "asked",
    [
        *("", "/", "/monitor.do", "://h", "http://", "http:///x", "ftp://h", "file:///etc/passwd"),
        *("h:0", "h:65536", "h:", "h:x", "h:-1", "a b", "h/x y", "h\n", "h/\r\nX: y", "h\x00", "u:p@h", "u@h"),
        *("h/x?y", "h/x#y", "999.1.1.1", "192.168.1", "::1", "[::1", "[::1]x", "[fe80::1%eth0]", "-h", "h..x"),
        *("监控.example", "http://http://h", "h" * 254, "h/" + "x" * 300, "h\\x"),
    ],
)
def test_anything_else_is_refused(asked):
    with pytest.raises(ValueError, match="cannot use"):
        server_url("http://old/monitor.do", asked)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(asked):
    try:
        url = server_url("http://old/monitor.do", asked)
    except ValueError:
        return
    assert url.startswith(("http://", "https://"))
    assert server_url("http://other/", url) == url
