"""The whole agent over a link that is up for a third of the time: nothing is lost, only what was in flight comes twice.

A link that is down refuses in one round, as a dead gateway does, and swallows everything in the next, as a radio link
does. What is sent: door events, each with its own time, and statuses of computers, which are never the same twice.
"""

import collections
import hashlib
import json
import os
import threading
import time

import pytest
from gantry import SITE, Gantry, gantry
from ledger_rig import Link, ask_books
from support import eventually, free_ports

pytestmark = [pytest.mark.system, pytest.mark.timeout(int(os.environ.get("SOAK_TIMEOUT_S", "120")))]

ROUNDS = int(os.environ.get("SOAK_LINK_ROUNDS", "2"))
UP_S = float(os.environ.get("SOAK_LINK_UP_S", "2"))
EVENT_S = 1.3  # between changes of a door, and a status with each


def change(site: Gantry, until: threading.Event) -> None:
    """Open and close a door, and ask for statuses, until told to stop."""
    is_open = False
    while not until.wait(EVENT_S):
        is_open = not is_open
        site.plant(door={"front": "forced" if is_open else "closed"})
        site.order({"updateNow": "1"}, method="computerControl")


def test_the_agent_loses_nothing_over_a_link_that_is_mostly_down_and_doubles_only_what_was_in_flight(tmp_path):
    (port,) = free_ports(1)
    text = SITE.replace("{cloud}/", f"{port}/").replace(
        "buses:", "events: {{flap_changes: 20, hold_down_s: 1}}\nbuses:", 1
    )
    with Link(port) as link, gantry(tmp_path, text, interval=86_400) as site:
        link.target = site.ports["cloud"]
        link.up()
        eventually(lambda: len(site.uploads()) >= 3, 30, "the first statuses")
        link.down()
        stop = threading.Event()
        changes = threading.Thread(target=change, args=(site, stop))
        changes.start()
        returns = []
        try:
            for round_ in range(ROUNDS):
                before = site.received()
                link.up()
                began = time.monotonic()
                eventually(lambda before=before: site.received() > before, 10, "an upload once the link is back")
                returns.append(time.monotonic() - began)
                time.sleep(max(0.0, UP_S - returns[-1]))
                link.down(swallow=round_ % 2 == 1)
                time.sleep(2 * UP_S)
        finally:
            stop.set()
            changes.join(30)
            link.up()
        eventually(lambda: "waiting: 0" in ask_books(site.site)[1], 120, "an empty outbox")
        code, gaps = ask_books(site.site, "gaps")
        bodies = collections.Counter(
            hashlib.md5(json.dumps(one["payload"], sort_keys=True).encode()).digest() for one in site.uploads()
        )
    accepted, twice = len(bodies), sum(bodies.values()) - len(bodies)
    print(
        f"{ROUNDS} times {UP_S:g} s up, {2 * UP_S:g} s down: {accepted} records, 0 lost, {twice} delivered twice;"
        f" the first upload {max(returns):.1f} s after the link's return at most"
    )
    assert f"accepted {accepted}: delivered {accepted}, waiting 0, set aside 0, lost 0" in gaps
    assert (code, gaps.splitlines()[0]) == (0, "0 unexplained")
    assert max(bodies.values()) <= 2
    assert twice <= 2 * ROUNDS  # one in flight on either channel
