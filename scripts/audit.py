"""Holds what we install against known advisories, lists its licences, and writes the bill of materials of the wheel.

    uv run python scripts/audit.py                    # advisories, pins and ranges alike; no network
    uv run python scripts/audit.py --licences         # name, version and licence of all that a wheel brings along
    uv run python scripts/audit.py --sbom sbom.json   # the same as CycloneDX 1.5, by uv

Advisories stand in scripts/advisories.toml. A release that one of them names may neither be pinned nor lie within a
range of `dependencies`: a wheel is installed without our pins.
"""

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = (REPOSITORY / "pyproject.toml", REPOSITORY / "tokenizers" / "pyproject.toml")
OURS = {"omniformer-framework", "omniformer-framework-tokenizers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One known fault of some releases of a package.

    Args:
        id: of the advisory, or of the report where there is none.
        package: the distribution.
        affected: the releases.
        what: what may happen.
        answered: why it does not reach us, where no release mends it.
    """

    id: str
    package: str
    affected: SpecifierSet
    what: str
    answered: str | None = None


def main(arguments: list[str] | None = None) -> None:
    """Checks, lists or writes.

    Raises:
        SystemExit: an advisory names a pinned release or one within a range; says which.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--licences", action="store_true", help="print a table of licences")
    parser.add_argument("--sbom", metavar="FILE", type=Path, help="write the bill of materials")
    given = parser.parse_args(arguments)
    if given.licences:
        print("\n".join(f"| {name} | {version} | {licence} |" for name, version, licence in licences()))
    if given.sbom is not None:
        given.sbom.write_text(json.dumps(bill(), indent=2), encoding="utf-8")
        print(f"{len(bill()['components'])} components: {given.sbom}")
    known = advisories(REPOSITORY / "scripts" / "advisories.toml")
    if found := [*faults(known, pins()), *gaps(known, ranges())]:
        raise SystemExit("\n".join(["known advisories:", *found]))
    print(f"{len(known)} advisories, none of them reached", file=sys.stderr)


def advisories(path: Path) -> list[Advisory]:
    """What a list holds."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["advisory"]
    return [Advisory(**each | {"affected": SpecifierSet(each["affected"], prereleases=True)}) for each in entries]


def pins() -> list[Requirement]:
    """The exact versions in pyproject.toml."""
    settings = tomllib.loads(SETTINGS[0].read_text(encoding="utf-8"))
    return [Requirement(each) for each in settings["tool"]["uv"]["constraint-dependencies"]]


def ranges() -> list[Requirement]:
    """Every requirement that a file of ours states: of the packages, their extras and the development group."""
    found = []
    for path in SETTINGS:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        project = settings["project"]
        groups = [project["dependencies"], *project["optional-dependencies"].values()]
        groups += settings.get("dependency-groups", {}).values()
        found += [Requirement(each) for group in groups for each in group]
    return [each for each in found if canonicalize_name(each.name) not in OURS]


def faults(known: Iterable[Advisory], pinned: Iterable[Requirement]) -> Iterator[str]:
    """The pins that an advisory names, one line each."""
    for pin in pinned:
        (version,) = (Version(each.version) for each in pin.specifier)
        for each in _of(pin, known):
            if each.affected.contains(version):
                yield f"{pin.name} {version} is pinned: {each.id}, {each.what}"


def gaps(known: Iterable[Advisory], required: Iterable[Requirement]) -> Iterator[str]:
    """The ranges that let in a release that an advisory names, one line each.

    The releases of a package are not known here. Versions at every bound and just above it are tried: where two
    ranges overlap, one of these lies in both.
    """
    for requirement in required:
        for each in _of(requirement, known):
            bounds = {bound.version.removesuffix(".*") for bound in (*requirement.specifier, *each.affected)}
            tried = sorted(
                {
                    Version("0"),
                    *map(Version, bounds),
                    *(Version(f"{Version(bound).base_version}.0.0.1") for bound in bounds),
                }
            )
            hit = [one for one in tried if one in each.affected and requirement.specifier.contains(one)]
            if hit:
                yield f"{requirement} admits {hit[0]}: {each.id}, {each.what}"


def _of(requirement: Requirement, known: Iterable[Advisory]) -> list[Advisory]:
    name = canonicalize_name(requirement.name)
    return [each for each in known if canonicalize_name(each.package) == name and each.answered is None]


def licences() -> list[tuple[str, str, str]]:
    """Name, version and licence of every distribution that a wheel brings along, as installed here."""
    found = []
    for name in sorted(brought()):
        said = distribution(name).metadata.json  # lists for keys that may occur several times
        expression, short = str(said.get("license_expression", "")), str(said.get("license", "")).strip().split("\n")[0]
        kinds = [each.rpartition(" :: ")[2] for each in said.get("classifier", ()) if each.startswith("License :: ")]
        licence = expression or (short if 0 < len(short) < 40 else "; ".join(kinds))
        found.append((name, distribution(name).version, licence or "not stated"))
    return found


def brought() -> set[str]:
    """The distributions that installing the wheel brings along on this machine, direct and not, without extras."""
    wanted, seen = [("omniformer-framework", frozenset[str]())], set()
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                wanted.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen if name not in OURS and _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def bill() -> dict:
    """The bill of materials of the wheel, without the addresses from which this machine fetched each part."""
    command = [os.environ["UV"]] if "UV" in os.environ else [sys.executable, "-m", "uv"]
    options = ("export", "--quiet", "--format", "cyclonedx1.5", "--no-dev", "--preview-features", "sbom-export")
    done = subprocess.run([*command, *options], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"uv export failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    for component in found["components"]:
        component.pop("externalReferences", None)
    return found


if __name__ == "__main__":
    main()
