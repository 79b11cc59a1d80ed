import importlib.util
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def audit():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("audit", REPOSITORY / "scripts" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def advisory(audit, affected, **more):
    return audit.Advisory(id="A-1", package="Some.Thing", affected=SpecifierSet(affected), what="code runs", **more)


def test_what_is_pinned_and_what_the_ranges_admit_is_clear_of_every_advisory(audit):
    known = audit.advisories(REPOSITORY / "scripts" / "advisories.toml")
    assert len(known) >= 11
    assert list(audit.faults(known, audit.pins())) == []
    assert list(audit.gaps(known, audit.ranges())) == []


def test_a_pinned_release_that_an_advisory_names_is_told(audit):
    pins = [Requirement("some-thing==1.4"), Requirement("other==1.4")]
    assert list(audit.faults([advisory(audit, "<2")], pins)) == ["some-thing 1.4 is pinned: A-1, code runs"]
    assert list(audit.faults([advisory(audit, "<1.4")], pins)) == []


@pytest.mark.parametrize("range_", ["", "<3", ">=1", ">=1.9", ">1.9,<9", ">=0.5,<1", "==1.*"])
def test_a_range_that_lets_such_a_release_in_is_told(audit, range_):
    requirement = Requirement(f"some-thing{range_}")
    (line,) = audit.gaps([advisory(audit, "<2")], [requirement])
    assert line.startswith(f"{requirement} admits ") and line.endswith(": A-1, code runs")


@pytest.mark.parametrize("range_", [">=2", ">2,<3", "==2.*", ">=2.6.6,<2.7"])
def test_a_range_beside_it_is_not(audit, range_):
    known = [advisory(audit, "<2"), advisory(audit, ">=2.7")]
    assert list(audit.gaps(known[:1], [Requirement(f"some-thing{range_}")])) == []


def test_an_advisory_that_is_answered_does_not_count(audit):
    known = [advisory(audit, "<2", answered="never called")]
    assert list(audit.faults(known, [Requirement("some-thing==1")])) == []


def test_licences_of_all_that_a_wheel_brings_are_listed(audit):
    listed = {name: licence for name, _, licence in audit.licences()}
    assert {"torch", "lightning", "hydra-core", "safetensors", "numpy"} <= listed.keys()
    assert not {"pytest", "transformers", "omniformer-framework"} & listed.keys()
    assert listed["lightning"] == "Apache-2.0"
    assert not [each for each in listed.items() if "GPL" in each[1]], "a licence that binds those who pass a wheel on"
