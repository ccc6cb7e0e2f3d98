"""The demo's site file made ready: ports shifted, paths moved, taken ports named."""

import socket
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hwsim.demo import SITE
from hwsim.demo_site import DemoSite, Port, SiteError, other_shift, prepare, read_shift, taken, taken_text
from hwsim.terminal import Text


def ready(folder: Path, shift: int = 0) -> DemoSite:
    return prepare(SITE, folder, shift)


def test_every_port_of_the_demo_is_shifted_and_known(tmp_path: Path) -> None:
    plain = {port.number for port in ready(tmp_path).ports}
    site = ready(tmp_path, 300)
    assert plain == {15020, 15080, 16161, 16162, 13699, 18080, 18081}
    assert {port.number for port in site.ports} == {number + 300 for number in plain}
    document = YAML(typ="safe").load(site.file)
    assert document["cloud"]["server"] == "http://127.0.0.1:18380/monitor.do"
    assert document["control"]["listen"] == "127.0.0.1:13999"
    assert document["buses"]["io"]["port"] == 15320
    assert "//127.0.0.1:15380/" in document["cabinets"][0]["cameras"]["front"]["snapshot"]
    assert site.relay == ("192.168.1.31", 502, "lane-camera")
    assert site.control_url == "http://127.0.0.1:13999/remotecontrol.do"


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    document = YAML(typ="safe").load(ready(tmp_path).file)
    paths = [
        document["storage"]["path"],
        *(bus["port"] for bus in document["buses"].values() if bus["type"] == "serial"),
    ]
    assert len(paths) == 3
    assert all(Path(path).parent == tmp_path for path in paths)


def test_udp_is_told_from_tcp(tmp_path: Path) -> None:
    assert {port.number for port in ready(tmp_path).ports if port.udp} == {16161, 16162}


@pytest.mark.parametrize("shift", [47455, -12676])
def test_a_shift_out_of_range_is_refused_and_the_range_named(tmp_path: Path, shift: int) -> None:
    with pytest.raises(SiteError, match=f"PORT_SHIFT cannot be {shift}: the smallest is -12675, the largest 47454"):
        ready(tmp_path, shift)


@pytest.mark.parametrize("shift", [47454, -12675])
def test_the_farthest_shifts_do(tmp_path: Path, shift: int) -> None:
    assert all(1024 <= port.number <= 65535 for port in ready(tmp_path, shift).ports)


@pytest.mark.parametrize("text", ["abc", "", "1.5", "1e3"])
def test_a_shift_is_a_whole_number(text: str) -> None:
    with pytest.raises(SiteError) as caught:
        read_shift(text)
    assert caught.value.text == Text("PORT_SHIFT 应为整数，例如 1000", "PORT_SHIFT must be a whole number, like 1000")


@pytest.mark.parametrize(("shift", "advised"), [(0, 100), (300, 400), (47400, 0)])
def test_the_advice_on_taken_ports_can_be_followed(tmp_path: Path, shift: int, advised: int) -> None:
    said = other_shift(ready(tmp_path, shift).ports, shift)
    assert said.en == f"Move all ports: make demo PORT_SHIFT={advised}"


def test_a_missing_site_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"nowhere\.yaml: No such file"):
        prepare(tmp_path / "nowhere.yaml", tmp_path, 0)


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
def test_a_taken_port_is_found_and_named_with_its_owner(kind: str) -> None:
    udp = kind == "UDP"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        if not udp:
            other.listen()
        port = Port(other.getsockname()[1], udp, "127.0.0.1", Text("模拟云平台", "the simulated cloud"))
        ((found, reason),) = taken((port,))
    assert taken_text(found, reason).en == f"{kind} port {port.number} (the simulated cloud) is taken"
    assert list(taken((port,))) == []
