"""The exit status of torchrun, and its options, as a scheduler needs them."""

import os
import signal
import sys

import pytest
import torch.distributed.run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from omniformer.launch import main


@pytest.fixture
def torchrun(monkeypatch):
    """Replaces torchrun by a function that notes its arguments and fails as it is told."""
    calls = []

    def fake(arguments):
        calls.append(arguments)
        if calls[0] is not arguments or fake.error is None:
            return
        raise fake.error

    fake.error, fake.calls = None, calls
    monkeypatch.setattr(torch.distributed.run, "main", fake)
    monkeypatch.delenv("OMNIFORMER_RUN_STAMP", raising=False)
    return fake


def status(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def failed(code):
    failure = ProcessFailure(local_rank=1, pid=9, exitcode=code, error_file="<N/A>")
    return ChildFailedError("train", {1: failure})


def test_the_status_is_that_of_the_run(torchrun):
    assert status("-m", "omniformer.train") == 0


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)])
def test_a_signal_to_the_launcher_gives_the_usual_status(torchrun, signum, code):
    torchrun.error = SignalException("got it", signum)
    assert status("-m", "omniformer.train") == code


@pytest.mark.parametrize(("child", "code"), [(143, 143), (1, 1), (-9, 137)])
def test_the_status_of_the_process_that_failed_first_is_passed_on(torchrun, child, code):
    torchrun.error = failed(child)
    assert status("-m", "omniformer.train") == code


def test_on_one_machine_port_and_name_of_the_run_are_chosen(torchrun):
    status("--nproc-per-node", "2", "-m", "omniformer.train", "seed=1")
    (given,) = torchrun.calls
    assert given[-5:] == ["--nproc-per-node", "2", "-m", "omniformer.train", "seed=1"]
    assert "--standalone" in given and any("SIGUSR1" in each for each in given)
    assert os.environ["OMNIFORMER_RUN_STAMP"]


def test_on_several_machines_the_rendezvous_given_is_kept(torchrun, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch", "--nnodes=2", "--rdzv_id=x", "-m", "omniformer.train", "--standalone"])
    with pytest.raises(SystemExit):
        main()
    assert torchrun.calls[0][1:] == sys.argv[1:]
