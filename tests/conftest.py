"""One thread: the small tensors of tests lose more to threads than they gain. What only costs time is left out. And
where real data sets lie.
"""

import gc
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Torch reads it when it is imported, here and in the programs that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

# How long a drawn case takes depends on who else is at work.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes of `-n auto`: one a core for the whole suite; none for named files, which start sooner so."""
    return 0 if config.args != config.getini("testpaths") else min(os.cpu_count() or 1, 8)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and tests live as long as the process: no search for cycles goes through these millions of objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)  # composing a configuration makes many objects and hardly any cycle
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test with `@pytest.mark.quick(...)` those are quick; the further ones become `slow`.

    The mark says which, by their ids, or how many, spread over all of them.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("quick"):
            cases.setdefault(item.nodeid.split("[")[0], []).append(item)
    for test, each in cases.items():
        ids = [item.nodeid.removeprefix(test)[1:-1] for item in each]
        for item, case in zip(each, ids, strict=True):
            if case not in _quick(item, ids):
                item.add_marker(pytest.mark.slow)


def _quick(item: pytest.Item, ids: list[str]) -> Collection[str]:
    said = item.get_closest_marker("quick").args
    if isinstance(said[0], str):
        whole = item.config.args == item.config.getini("testpaths")
        if whole and (unknown := [name for name in said if name not in ids]):
            raise pytest.UsageError(f"{item.nodeid}: quick names {unknown}, which are no cases of it: {ids}")
        return said
    return {ids[i * (len(ids) - 1) // max(said[0] - 1, 1)] for i in range(said[0])}


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept of large tables between runs is no business of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNIFORMER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_composition() -> Iterator[None]:
    """Hydra composes a run twice, the first time to look whether a file sets `hydra.mode`; none here does."""
    from hydra._internal.hydra import Hydra

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hydra, "get_mode", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_parse() -> Iterator[None]:
    """The text of a config file is parsed once; what is made of it is new each time."""
    from omegaconf import OmegaConf

    parse, known = OmegaConf.load, {}

    def load(file):
        if not hasattr(file, "seek"):
            return parse(file)
        text = file.read()
        if text not in known:
            file.seek(0)
            known[text] = OmegaConf.to_container(parse(file))
        return OmegaConf.create(known[text])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", load)
        yield


@pytest.fixture(scope="module")
def few_speakers() -> Iterator[None]:
    """Spoken vowels of few speakers: making those of all takes longer than the short runs of a test file."""
    from omniformer.data.sets import vowels

    def forget() -> None:
        vowels._recordings.cache_clear()
        vowels._utterances.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vowels, "_SPEAKERS", {"train": 6, "val": 3, "test": 3})
        forget()
        yield
    forget()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: `OMNIFORMER_DATA`, or `shared/data` beside the checkout; skips without one."""
    given = os.environ.get("OMNIFORMER_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data sets; name their folder in OMNIFORMER_DATA")
    return folder
