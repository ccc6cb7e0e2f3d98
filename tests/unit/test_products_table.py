"""No claim without its evidence: of every profile's maturity, and of the table of products in both READMEs."""

import pytest

from gantry_agent.field import profile
from tests import devices, mutants

SAMPLE, SEED = 150, 20261124


@pytest.mark.parametrize("language", devices.READMES)
def test_the_table_of_products_is_what_make_devices_makes(language: str) -> None:
    assert devices.stale(language) is None


@pytest.mark.parametrize("name", profile.names())
def test_a_maturity_does_not_outrun_its_evidence(name: str) -> None:
    claimed = next(one.maturity for one in devices.products() if one.name == name)
    found = devices.evidence(name)
    assert found.supports(claimed), f"{name} says {claimed}, and all there is of evidence is {found}"


def test_the_programs_of_others_are_met_in_tests_that_there_are() -> None:
    stems = {path.stem for path in (devices.ROOT / "tests/system").glob("test_*.py")}
    for name, tests in devices.PROGRAMS.items():
        assert name in profile.names()
        assert set(tests) <= stems


def test_a_claim_without_evidence_is_seen() -> None:
    nothing = devices.Evidence()
    assert [word for word in ("recorded", "simulated", "transcript", "draft") if nothing.supports(word)] == ["draft"]
    assert not devices.Evidence(cases=9).supports("recorded")
    assert not devices.evidence("no-such-profile").supports("transcript")


def test_a_wrong_number_in_a_profile_is_caught_by_its_evidence() -> None:
    counts = mutants.measure(mutants.evidenced(), SAMPLE, SEED)
    whole = mutants.total(counts)
    missed = "\n".join(f"{name}: {mutant}" for name, one in counts.items() for mutant in one.missed)
    assert whole.total == SAMPLE
    assert whole.percent >= mutants.TARGET, (
        f"{whole.percent:.1f} % of {whole.total} wrong numbers were caught; missed:\n{missed}"
    )
