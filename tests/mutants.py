"""Does the evidence of a profile catch a wrong number in it? Each is flipped, one at a time; what is caught counts.

    python tests/mutants.py [NAME …] [--sample N] [--seed S] [--missed]

Evidence are the tests of `tests/transcripts` and `tests/recordings` that read the profile, run in this process with the
flipped profile in place of the shipped one, everything else being the real thing; recordings are answered without a
wire. A profile that the reader refuses is caught too. Left alone are paces, limits and waiting times, which no evidence
could tell, and what a site sets for itself.
"""

import argparse
import copy
import functools
import importlib
import inspect
import itertools
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/system")]

from gantry_agent.faults import read_document  # noqa: E402
from gantry_agent.field import profile  # noqa: E402
from gantry_agent.field.product import Profile  # noqa: E402
from gantry_agent.field.profile_yaml import Entries, Faults  # noqa: E402
from gantry_agent.inquiry import known_profiles  # noqa: E402
from tests import profile_rig as rig  # noqa: E402

TARGET = 95  # percent
EVIDENCE = ("transcripts", "recordings")
SECTIONS = ("parameters", "points", "tables", "derived", "warnings", "writes", "answers", "on_return", "battery_test")
ALONE = frozenset({
    "limits", "timing", "title", "within_s", "step_ms", "most", "tolerance", "choices", "minutes", "bits", "number",
    "lane", "low", "high", "identity", "over_voltage", "under_voltage", "phase_lost", "cooling_lowest",
    "cooling_highest", "heating_lowest", "heating_highest",
})  # fmt: skip
OID = re.compile(r"(?:[A-Z]+|\d+)(?:\.\d+)+")
IN_TEXT = re.compile(r"0x[0-9A-Fa-f]+|\d+")
Steps = tuple[Any, ...]


@dataclass(frozen=True)
class Mutant:
    """One number, flipped: the value at `at` is `value` instead; a key is moved where `key` is given."""

    at: Steps
    value: Any
    key: Any = None

    def __str__(self) -> str:
        place = ".".join(map(str, self.at))
        return f"{place}: key becomes {self.key}" if self.key is not None else f"{place} = {self.value!r}"


# --- what is flipped --------------------------------------------------------------------------------------------------


def mutants(root: Any) -> Iterator[Mutant]:
    """Every flip of a profile, in the order of the file."""
    for section in SECTIONS:
        if section in root:
            yield from _below(root[section], (section,))


def _below(node: Any, at: Steps) -> Iterator[Mutant]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ALONE:
                continue
            yield from _below(value, (*at, key))
            if isinstance(key, int) and not isinstance(key, bool):
                yield Mutant((*at, key), None, key + 1 if key + 1 not in node else max(map(_number, node)) + 1)
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _below(item, (*at, number))
    else:
        yield from (Mutant(at, value) for value in _flips(node, str(at[-1])))


def _number(key: Any) -> int:
    return int(key) if isinstance(key, int) else 0


def _flips(value: Any, key: str) -> Iterator[Any]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        if key == "scale":
            yield value * 10
        elif key == "mask":
            yield value << 1
        elif key in ("bits", "function"):
            yield {64: 32, 32: 64, 16: 6, 6: 16, 5: 6}.get(value, value + 1)
        else:
            yield value + 1
    elif isinstance(value, str) and OID.fullmatch(value):
        head, _, last = value.removesuffix(".0").rpartition(".")
        yield f"{head}.{int(last) + 1}" + (".0" if value.endswith(".0") else "")
    elif isinstance(value, str) and key in PLACES:
        for found in IN_TEXT.finditer(value):
            number = int(found[0], 16) if found[0].startswith("0x") else int(found[0])
            yield value[: found.start()] + str(number + 1).zfill(len(found[0])) + value[found.end() :]


PLACES = frozenset({"read", "write", "to", "block", "on", "off", "host", "ask", "rows", "0", "1"})


def flipped(root: Any, mutant: Mutant) -> Any:
    """A copy of the file with the flip."""
    whole = copy.deepcopy(root)
    node = whole
    for step in mutant.at[:-1]:
        node = node[step]
    if mutant.key is None:
        node[mutant.at[-1]] = mutant.value
    else:
        node[mutant.key] = node.pop(mutant.at[-1])
    return whole


def read(root: Any, name: str) -> Profile | None:
    """The profile of a file; None if the reader refuses it."""
    faults = Faults(name)
    try:
        found = profile._read(Entries(root, (0, 0), "", faults), name, faults)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if faults.found else found


# --- the evidence -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """One test with its arguments, and how long it takes."""

    name: str
    run: Callable[[], Any]
    took_s: float


Loader = Callable[[str], Profile]


def _tests() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every test of the evidence that waits for nothing, with its arguments."""
    for folder in EVIDENCE:
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            module = importlib.import_module(f"tests.{folder}.{path.stem}")
            for name, test in vars(module).items():
                if name.startswith("test_") and inspect.isfunction(test) and not inspect.iscoroutinefunction(test):
                    for arguments in _arguments(test):
                        if set(inspect.signature(test).parameters) == set(arguments):
                            yield f"{path.stem}::{name}", functools.partial(test, **arguments)


def _arguments(test: Any) -> Iterator[dict[str, Any]]:
    """The sets of arguments that parametrize gives a test."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    choices = []
    for mark in marks:
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else list(mark.args[0])
        names = [name.strip() for name in names]
        sets = [getattr(one, "values", one if len(names) > 1 else (one,)) for one in mark.args[1]]
        choices.append([dict(zip(names, values, strict=True)) for values in sets])
    for chosen in itertools.product(*choices):
        yield {key: value for one in chosen for key, value in one.items()}


def evidence() -> dict[str, list[Proof]]:
    """By profile, the tests that read it, quickest first; a test that fails or is skipped is no evidence."""
    found: dict[str, list[Proof]] = defaultdict(list)
    for name, test in _tests():
        loaded: set[str] = set()

        def spy(one: str, loaded: set[str] = loaded) -> Profile:
            loaded.add(one)
            return _shipped(one)

        before = time.perf_counter()
        if passes(test, spy):
            took_s = time.perf_counter() - before
            for one in loaded:
                found[one].append(Proof(name, test, took_s))
    return {name: sorted(proofs, key=lambda one: one.took_s) for name, proofs in found.items()}


@functools.cache
def _shipped(name: str) -> Profile:
    return profile.load(name)


def passes(test: Callable[[], Any], loader: Loader) -> bool:
    """Run a test with this loader of profiles."""
    kept, rig.load = rig.load, loader
    recording, rig.Recording = rig.Recording, _recording
    try:
        test()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - whatever a test ends by; pytest.skip is no Exception
        return False
    finally:
        rig.load, rig.Recording = kept, recording
    return True


def _recording(path: Path | None, kind: Any = rig.Recording) -> Any:
    """A recording that was parsed once; each test may change its own."""
    fresh = kind(None)
    fresh.rows = dict(_rows(path, kind)) if path else {}
    return fresh


@functools.cache
def _rows(path: Path, kind: Any) -> Any:
    return kind(path).rows


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass
class Count:
    """How many flips of a profile were made, and which were missed."""

    total: int
    missed: list[Mutant]

    @property
    def percent(self) -> float:
        return 100 * (self.total - len(self.missed)) / self.total if self.total else 100.0


def root_of(name: str) -> Any:
    return read_document(profile.SHIPPED / f"{name}.yaml").root


def caught(root: Any, name: str, mutant: Mutant, proofs: list[Proof]) -> bool:
    found = read(flipped(root, mutant), name)
    if found is None:
        return True
    for place, proof in enumerate(proofs):
        if not passes(proof.run, lambda one: found if one == name else _shipped(one)):
            proofs.insert(0, proofs.pop(place))  # what caught one will catch the next, its neighbour
            return True
    return False


def measure(names: list[str], sample: int | None = None, seed: int = 0) -> dict[str, Count]:
    """Flip all numbers of these profiles, or a sample over all of them, and count."""
    proofs = evidence()
    roots = {name: root_of(name) for name in names}
    flips = [(name, mutant) for name in names for mutant in mutants(roots[name])]
    if sample is not None and sample < len(flips):
        flips = sorted(random.Random(seed).sample(flips, sample), key=lambda one: names.index(one[0]))
    counts = {name: Count(0, []) for name in names}
    for name, mutant in flips:
        counts[name].total += 1
        if not caught(roots[name], name, mutant, proofs.get(name, [])):
            counts[name].missed.append(mutant)
    return counts


def total(counts: dict[str, Count]) -> Count:
    return Count(
        sum(one.total for one in counts.values()), [mutant for one in counts.values() for mutant in one.missed]
    )


def evidenced() -> list[str]:
    """The profiles of which something is claimed: a draft has nothing to be caught by, a host no wire."""
    found = known_profiles((profile.SHIPPED,))
    return [one.name for one in found if one.maturity != "draft" and one.protocol not in ("host", "uhppote")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--missed", action="store_true", help="list what was not caught")
    arguments = parser.parse_args()
    counts = measure(arguments.names or evidenced(), arguments.sample, arguments.seed)
    print(f"{'profile':30} {'flips':>6} {'caught':>7}")
    for name, one in sorted(counts.items(), key=lambda item: item[1].percent):
        print(f"{name:30} {one.total:6} {one.percent:6.1f} %")
        for mutant in one.missed if arguments.missed else ():
            print(f"    {mutant}")
    whole = total(counts)
    print(f"{'all':30} {whole.total:6} {whole.percent:6.1f} %   (target {TARGET} %)")
    return int(whole.percent < TARGET)


if __name__ == "__main__":
    assert pytest  # the tests' own skips and approximations are pytest's
    sys.exit(main())
