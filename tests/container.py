"""`make try-reboot`: cmd 1 on a relay with `host: true`, for real: systemd, logind and polkit, in a container.

Installs a Debian (debootstrap) and the agent in it as the README says, boots it with systemd-nspawn, and lets a cloud
order the reboot: refused without the polkit rule, with its reason; with it answered 1000, and the container reboots,
the agent comes up again, nothing that waited is lost and the hold-off counts. Beside that the service unit is looked
at: verified, killed, stopped. Needs root, debootstrap, systemd-nspawn and a Debian mirror (`--mirror`, `--suite`); no
part of CI. Everything of it lies in one folder under /var/tmp, which goes at the end; the network is its own.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from support import AUTH, GANTRY, ROOT, Process, ask, eventually, order, python

MIRROR = "http://deb.debian.org/debian"
PYTHON_OF = {"bookworm": "3.11", "trixie": "3.13"}
PACKAGES = "systemd,systemd-sysv,dbus,polkitd,libpam-systemd,python3-venv"
LONGEST_S = 900  # all of it
REBOOTED = 133  # what systemd-nspawn says when its machine wants to be started again
CLOUD = 7180  # nobody else is in this network
HOLD_OFF_S = 60
VENV = "/opt/gantry-agent/.venv"
RULE = Path("etc/polkit-1/rules.d/50-gantry-agent.rules")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SITE = f"""\
gantry: {{id: {GANTRY}}}
cloud: {{server: "http://127.0.0.1:{CLOUD}/monitor.do", auth: "{AUTH}", interval_s: 10}}
control: {{listen: "127.0.0.1:3699"}}
computers:
  - {{id: 1, monitor: true, main: true, source: local, sys_disk: /, nic: lo, link_mbps: 1000}}
cabinets: [{{id: 1}}]
relays:
  - {{ip: 10.0.0.9, port: 5, host: true, hold_off_s: {HOLD_OFF_S}}}
"""
REBOOT = {"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "5"}


def say(*words: object) -> None:
    print(*words, flush=True)


# --- the machine ----------------------------------------------------------------------------------------------------


def build(root: Path, wheels: Path, mirror: str, suite: str) -> None:
    """Install Debian and the agent, by the README's steps for a PC without Internet."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    said = ["--require-hashes", "--python-version", PYTHON_OF[suite], "--only-binary", ":all:"]
    do(*pip, "download", *said, "-r", str(ROOT / "requirements.lock"), "-d", str(wheels))
    do(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT))
    do("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), mirror)
    shutil.copytree(wheels, root / "srv/wheels")
    shutil.copy(ROOT / "requirements.lock", root / "srv/requirements.lock")
    inside = ["chroot", str(root), "env", "-i", f"PATH={PATH}", "LANG=C.UTF-8"]
    install = [f"{VENV}/bin/pip", "--quiet", "install", "--no-index", "--find-links", "/srv/wheels"]
    do(*inside, "python3", "-m", "venv", VENV)
    do(*inside, *install, "--require-hashes", "-r", "/srv/requirements.lock")
    do(*inside, *install, "--no-deps", "gantry-agent")
    do(*inside, "ln", "-s", f"{VENV}/bin/gantry-agent", "/usr/local/bin/")
    do(*inside, "useradd", "--system", "--groups", "dialout", "gantry")
    (root / "etc/gantry-agent").mkdir()
    (root / "srv/gantry.yaml").write_text(SITE, encoding="utf-8")
    do(*inside, "install", "-m", "640", "-g", "gantry", "/srv/gantry.yaml", "/etc/gantry-agent/")
    shutil.copy(ROOT / "systemd/gantry-agent.service", root / "etc/systemd/system/")
    do(*inside, "systemctl", "enable", "--quiet", "gantry-agent")


def do(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert ended.returncode == 0, f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"


class Machine:
    """The container; `run` runs something in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._nspawn: Process | None = None
        self._init = 0  # pid of its systemd, seen from outside

    def boot(self) -> float:
        """Start it and wait until its systemd has started everything; give how long that took."""
        began = time.monotonic()
        flags = ["--boot", "--quiet", "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"]
        self._nspawn = Process("systemd-nspawn", *flags, "--machine=try-reboot", "-D", str(self._root))
        self._init = eventually(self._find_init, 30, "its process 1")
        eventually(
            lambda: self.said("systemctl", "is-system-running") in {"running", "degraded"}, 60, "a running system"
        )
        return time.monotonic() - began

    def _find_init(self) -> int:
        assert self._nspawn is not None
        assert self._nspawn.alive, self._nspawn.output
        for child in psutil.Process(self._nspawn.pid).children(recursive=True):
            with contextlib.suppress(OSError, psutil.Error):
                status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
                if next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1] == "1":
                    return child.pid
        return 0

    def run(self, *command: str, user: str = "root", within_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run something in it, as that user."""
        enter = ["nsenter", f"--target={self._init}", "--all", "--wd=/", "env", "-i", f"PATH={PATH}", "LANG=C.UTF-8"]
        return subprocess.run(
            [*enter, "runuser", "-u", user, "--", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )

    def said(self, *command: str, user: str = "root") -> str:
        ended = self.run(*command, user=user)
        return ended.stdout.strip() or ended.stderr.strip()

    def shown(self, what: str) -> str:
        return self.said("systemctl", "show", "gantry-agent", f"--property={what}", "--value")

    def boot_id(self) -> str:
        return self.said("cat", "/proc/sys/kernel/random/boot_id")

    def log(self) -> str:
        return self.said("journalctl", "--no-pager", "--boot", "--unit=gantry-agent", "--lines=60")

    def rule(self, *, there: bool) -> None:
        """Put the polkit rule into its place, or take it away; polkit reads it at once."""
        to = self._root / RULE
        if there:
            shutil.copy(ROOT / "systemd" / RULE.name, to)
        else:
            to.unlink(missing_ok=True)
        time.sleep(2.0)

    def ended(self, within_s: float) -> int:
        assert self._nspawn is not None
        return self._nspawn.wait(within_s)

    def stop(self) -> None:
        """End it as its power button would; SIGTERM is that to systemd-nspawn."""
        if self._nspawn is not None:
            self._nspawn.stop(30)


# --- what is tried --------------------------------------------------------------------------------------------------


def timed(function: Callable[..., Any], *given: Any, **more: Any) -> tuple[Any, float]:
    began = time.monotonic()
    return function(*given, **more), time.monotonic() - began


def uploads() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(f"http://127.0.0.1:{CLOUD}/uploads?since=0")
    return found


def answers() -> bool:
    """Tell whether the agent listens."""
    with contextlib.suppress(OSError), urllib.request.urlopen("http://127.0.0.1:3699/", timeout=2):
        return True
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 3699), 2):
        return True
    return False


def comes_up(machine: Machine) -> None:
    up_s = machine.boot()
    _, listens_s = timed(eventually, answers, 60, f"port 3699\n{machine.log()}")
    say(f"booted in {up_s:.1f} s, the agent answers {listens_s:.1f} s later: {machine.shown('ActiveState')}")
    assert machine.shown("ActiveState") == "active", machine.log()


def refused(machine: Machine, why: str) -> None:
    """Order the reboot and see that it is answered 1007 in time, with its reason, and that nothing follows."""
    before = machine.boot_id()
    answer, took_s = timed(order, 3699, "cabinetControl", REBOOT)
    say(f"  {why}: {json.dumps(answer, ensure_ascii=False)} after {took_s:.2f} s")
    assert answer["code"] == "1007", answer
    assert "polkit" in str(answer), answer
    assert took_s < 10
    time.sleep(3.0)
    assert machine.boot_id() == before


def not_without_leave(machine: Machine) -> None:
    """Without the rule, without polkit at all, and while somebody inhibits it."""
    machine.rule(there=False)
    refused(machine, "no polkit rule")
    machine.run("systemctl", "mask", "--runtime", "--now", "polkit")
    refused(machine, "no polkit")
    machine.run("systemctl", "unmask", "--runtime", "polkit")
    machine.rule(there=True)
    inhibit = ["systemd-run", "--quiet", "--unit=update", "systemd-inhibit", "--what=shutdown", "--mode=block"]
    machine.run(*inhibit, "sleep", "600")
    eventually(lambda: "sleep" in machine.said("systemd-inhibit", "--list"), 10, "an inhibitor")
    refused(machine, "an update that must not be interrupted")
    machine.run("systemctl", "stop", "update")


def reboots(machine: Machine) -> None:
    """With the rule, somebody logged in, and a cloud that takes nothing just now."""
    machine.run("systemd-run", "--quiet", "--unit=somebody", "--uid=root", "--property=PAMName=login", "sleep", "600")
    eventually(lambda: "root" in machine.said("loginctl", "list-sessions"), 10, "a session")
    ask(f"http://127.0.0.1:{CLOUD}/behave", {"mode": "503"})
    eventually(lambda: waiting(machine) >= 2, 60, "records that wait")
    before, waited = machine.boot_id(), waiting(machine)
    answer, took_s = timed(order, 3699, "cabinetControl", REBOOT)
    say(f"  with the rule, a session open, {waited} records waiting: {json.dumps(answer)} after {took_s:.2f} s")
    assert answer["code"] == "1000", (answer, machine.log())
    code, down_s = timed(machine.ended, 90)
    say(f"  the container ended with {code} {down_s:.1f} s after the answer")
    assert code == REBOOTED
    comes_up(machine)
    assert machine.boot_id() != before
    again = order(3699, "cabinetControl", REBOOT)
    say(f"  ordered again: {json.dumps(again, ensure_ascii=False)}")
    assert again["code"] == "1007", again
    ask(f"http://127.0.0.1:{CLOUD}/behave", {"mode": "ok"})
    eventually(lambda: waiting(machine) == 0, 60, "everything delivered")
    gaps = machine.said("gantry-agent", "outbox", "gaps", "--since", "1d", user="gantry")
    say(f"  the cloud is back: {gaps.splitlines()[-1]}; gaps: {gaps.splitlines()[-2].strip()}")
    assert "0 unexplained" in gaps, gaps
    assert "set aside 0, lost 0" in gaps, gaps
    for words in (("audit", "show"), ("audit", "verify")):
        ended = machine.run("gantry-agent", *words, user="gantry")
        say("    " + ended.stdout.strip().replace("\n", "\n    "))
        assert ended.returncode == 0, ended.stderr


def waiting(machine: Machine) -> int:
    said = machine.said("gantry-agent", "outbox", user="gantry")
    found = re.search(r"waiting: (\d+)", said)
    assert found, said
    return int(found[1])


def unit_holds(machine: Machine) -> None:
    """The unit itself: no complaint, hardened, started again after a kill, stopped in time."""
    verified = machine.run("systemd-analyze", "verify", "/etc/systemd/system/gantry-agent.service")
    assert verified.returncode == 0, verified.stderr
    exposure = machine.said("systemd-analyze", "security", "--no-pager", "gantry-agent").splitlines()[-1]
    say(f"systemd-analyze verify: {verified.stderr.strip() or 'no complaint'}; {exposure.lstrip('→ ')}")
    pid = machine.shown("MainPID")
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "gantry-agent")
    _, took_s = timed(eventually, lambda: machine.shown("MainPID") not in {pid, "0"}, 30, "another process")
    _, ready_s = timed(eventually, lambda: machine.shown("ActiveState") == "active", 30, machine.log())
    say(f"killed with SIGKILL: started again after {took_s:.1f} s, ready {ready_s:.1f} s later")
    assert machine.shown("NRestarts") == "1"
    _, stop_s = timed(machine.run, "systemctl", "stop", "gantry-agent")
    say(f"stopped in {stop_s:.1f} s: {machine.shown('Result')}")
    assert stop_s < 20
    assert machine.shown("Result") == "success", machine.log()


def tried(root: Path) -> None:
    """Everything that is tried, in a network where only the loopback is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:  # SIOCSIFFLAGS, IFF_UP
        fcntl.ioctl(one, 0x8914, struct.pack("16sH22x", b"lo", 1))
    machine, cloud = Machine(root), Process(*python("hwsim", "cloud", "--auth", AUTH, "--listen", f"127.0.0.1:{CLOUD}"))
    try:
        cloud.wait_for(r"^cloud ready")
        comes_up(machine)
        eventually(uploads, 30, f"an upload\n{machine.log()}")
        not_without_leave(machine)
        reboots(machine)
        unit_holds(machine)
    finally:
        machine.stop()
        cloud.stop()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="gantry-try-reboot-", dir="/var/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def missing() -> str:
    programs = [one for one in ("debootstrap", "systemd-nspawn", "nsenter", "unshare") if not shutil.which(one)]
    return "root" if os.geteuid() != 0 else ", ".join(programs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mirror", default=MIRROR)
    parser.add_argument("--suite", default="bookworm", choices=PYTHON_OF)
    parser.add_argument("--booted", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.booted:
        tried(args.booted)
        return 0
    if lacks := missing():
        say(f"cannot try a reboot without {lacks}: apt-get install debootstrap systemd-container, and run it as root")
        return 2
    with folder() as made:
        _, took_s = timed(build, made / "root", made / "wheels", args.mirror, args.suite)
        say(f"Debian {args.suite} with the agent installed in {took_s:.0f} s")
        alone = Process("unshare", "--net", sys.executable, __file__, "--booted", str(made / "root"))
        try:
            return followed(alone)
        finally:
            alone.stop(60)


def followed(process: Process) -> int:
    """Show what it says as it comes; its exit code."""
    deadline, shown = time.monotonic() + LONGEST_S, 0
    while process.alive or shown < len(process.lines):
        for line in process.lines[shown:]:
            say(line)
            shown += 1
        if time.monotonic() > deadline:
            say(f"not done within {LONGEST_S} s")
            return 1
        time.sleep(0.2)
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
