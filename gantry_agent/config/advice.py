"""What runs but is probably not meant: said by `check` after "good", and once in the log of `run`. Never a fault."""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gantry_agent.config import cameras, schema
from gantry_agent.config.buses import LOCAL_BUS
from gantry_agent.config.crosscheck import Problem, Whole
from gantry_agent.faults import Path_, suggest
from gantry_agent.text import Text

NETWORK_CARDS, DEVICES = Path("/sys/class/net"), Path("/dev")
LOOPBACK = "lo"
SERIAL_PORTS = ("ttyS*", "ttyUSB*", "ttyACM*", "ttyAMA*", "ttymxc*", "ttyXR*")  # as Linux names them
SAMPLE_ID, SAMPLE_AUTH = "G000211001002110010", "replace-me"  # as they stand in config/gantry.yaml


def doubts(whole: Whole, folders: Sequence[Path]) -> Iterator[Problem]:
    """List what the technician should look at again."""
    if whole.shape.lab:
        yield ("lab",), Text("试验用；现场请删去 lab: true", "for trials only; take lab: true out on site"), False
    if not _is_loopback(urlsplit(whole.shape.cloud.server).hostname or ""):  # a trial needs no names of its own
        yield from _unedited(whole.shape)
        yield from _loopbacks(whole.shape)
        yield from _no_ports(whole.shape)
    yield from _monitors(whole.shape)
    yield from _profiles(whole, folders)
    yield from _unused_buses(whole)
    yield from _this_pc(whole.shape)
    yield from _unmounted(whole.shape)
    yield from cameras.doubts(whole.shape)
    yield from _gathering(whole.shape)


def _unedited(shape: schema.SiteFile) -> Iterator[Problem]:
    if shape.gantry.id == SAMPLE_ID:
        said = Text(f"{SAMPLE_ID} 是示例中的门架编号", f"{SAMPLE_ID} is the sample's gantry id; is it yours?")
        yield ("gantry", "id"), said, False
    if shape.cloud.auth == SAMPLE_AUTH:
        said = Text("auth 仍是示例中的鉴权码", "auth is still the sample's code")
        yield ("cloud", "auth"), said, False
    if urlsplit(shape.cloud.server).scheme == "http":
        said = Text(
            "http 不加密：途中任何人都能看到鉴权码；平台支持时请用 https",
            "http is not encrypted: anybody on the way can read the code; use https if the cloud has it",
        )
        yield ("cloud", "server"), said, False


def _monitors(shape: schema.SiteFile) -> Iterator[Problem]:
    monitors = [i for i, computer in enumerate(shape.computers) if computer.monitor]
    if not monitors:
        said = Text("没有 monitor: true 的计算机（监控机）", "no computer has monitor: true (the one that runs this)")
        yield ("computers",), said, True
    for i in monitors[1:]:
        number = shape.computers[monitors[0]].id
        said = Text(f"监控机已是计算机 {number}", f"computer {number} is the monitoring PC (monitor: true) already")
        yield ("computers", i, "monitor"), said, False


def _profiles(whole: Whole, folders: Sequence[Path]) -> Iterator[Problem]:
    said: set[str] = set()
    for key, profile in whole.profiles.items():
        if profile.name in said:
            continue
        said.add(profile.name)
        path: Path_ = (*whole.where[key], "profile")
        if profile.maturity == "draft":
            yield (
                path,
                Text(
                    f"{profile.name} 是草稿（draft），未经验证",
                    f"{profile.name} is a draft: nothing has shown it right",
                ),
                False,
            )
        files = [file for folder in folders if (file := folder / f"{profile.name}.yaml").is_file()]
        if len(files) > 1:
            yield (
                path,
                Text(
                    f"使用 {files[0]}，而非自带的同名型号", f"{files[0]} is used, not the shipped profile of that name"
                ),
                False,
            )


def _unused_buses(whole: Whole) -> Iterator[Problem]:
    used = {device.bus for device in whole.devices.values()} | {LOCAL_BUS}
    for name in whole.shape.buses:
        if name not in used:
            yield ("buses", name), Text(f"总线 {name} 上没有设备", f"nobody uses bus {name}"), True


def _network_cards() -> list[str]:
    return [card.name for card in NETWORK_CARDS.iterdir() if card.is_dir()] if NETWORK_CARDS.is_dir() else []


def _loopbacks(shape: schema.SiteFile) -> Iterator[Problem]:
    """The loopback is always up: what is told of it says nothing of any network."""
    for i, computer in enumerate(shape.computers):
        if isinstance(computer, schema.LocalComputer) and computer.nic == LOOPBACK:
            valid = ", ".join(sorted(card for card in _network_cards() if card != LOOPBACK))
            said = Text(
                f"{LOOPBACK} 是本机回环，不是网卡；本机的网卡：{valid or '无'}",
                f"{LOOPBACK} is the loopback and no network card; those of this PC: {valid or 'none'}",
            )
            yield ("computers", i, "nic"), said, False


def _no_ports(shape: schema.SiteFile) -> Iterator[Problem]:
    """A serial port that is not there: an adapter may be plugged in later, so it is no fault."""
    for name, bus in shape.buses.items():
        port = getattr(bus, "port", None)
        if not isinstance(port, str) or Path(port).exists():
            continue
        there = sorted(str(found) for pattern in SERIAL_PORTS for found in DEVICES.glob(pattern))
        tail = suggest(port, there, cutoff=0.95)
        none = Text("；本机没有串口", "; this PC has no serial port") if not there else tail
        yield (
            ("buses", name, "port"),
            Text(f"本机没有 {port}{none.zh}", f"there is no {port} on this PC{none.en}"),
            False,
        )


def _unmounted(shape: schema.SiteFile) -> Iterator[Problem]:
    for i, computer in enumerate(shape.computers):
        disk = computer.data_disk if isinstance(computer, schema.LocalComputer) else None
        if disk is not None and disk != computer.sys_disk and not os.path.ismount(disk):
            said = Text(
                f"{disk} 不是挂载点，上传的将是其所在磁盘的用量",
                f"nothing is mounted at {disk}: what is told is the disk that it lies on",
            )
            yield ("computers", i, "data_disk"), said, False


def _gathering(shape: schema.SiteFile) -> Iterator[Problem]:
    longest = shape.events.gather_ms
    if longest > schema.GATHER_MS:
        said = Text(
            f"市电类变化最多等 {longest} 毫秒才上传，超过 D18 的 {schema.GATHER_MS} 毫秒；门、水浸、烟感不受影响",
            f"changes of the power may wait {longest} ms before they go up, longer than the {schema.GATHER_MS} ms of "
            "D18; doors, water and smoke do not wait for it",
        )
        yield ("events", "gather_ms"), said, False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _this_pc(shape: schema.SiteFile) -> Iterator[Problem]:
    """What is read of this PC should be there; at start it may not be yet, so `run` goes on without."""
    cards = _network_cards()
    for i, computer in enumerate(shape.computers):
        if not isinstance(computer, schema.LocalComputer):
            continue
        if cards and computer.nic is not None and computer.nic not in cards:
            tail = suggest(computer.nic, cards)
            said = Text(
                f"本机没有网卡 {computer.nic}{tail.zh}", f"there is no network card {computer.nic} on this PC{tail.en}"
            )
            yield ("computers", i, "nic"), said, False
        for name in ("sys_disk", "data_disk"):
            disk: str | None = getattr(computer, name)
            if disk is not None and not os.path.isdir(disk):  # noqa: PTH112 - a path as the technician wrote it
                said = Text(
                    f"本机没有目录 {disk}；应为磁盘的挂载点，例如 /",
                    f"there is no folder {disk} on this PC; give where the disk is mounted, like /",
                )
                yield ("computers", i, name), said, False
