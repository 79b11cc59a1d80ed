import pickle

import pytest

from omniformer.data.sets.on_access import OnAccess
from omniformer.data.source import Raw


def sample(number):
    return Raw(id=f"number/{number}", contents={"text": "x" * number})


def test_it_reads_like_a_list():
    split = OnAccess(5, sample)
    assert len(split) == 5
    assert [raw.id for raw in split] == [f"number/{i}" for i in range(5)]
    assert split[-1].contents["text"] == "xxxx"
    assert [raw.id for raw in split[1:4:2]] == ["number/1", "number/3"]


@pytest.mark.parametrize("number", [5, -6])
def test_a_number_out_of_range_is_refused(number):
    with pytest.raises(IndexError):
        OnAccess(5, sample)[number]


def test_samples_are_made_when_they_are_read_and_not_before():
    made = []

    def make(number):
        made.append(number)
        return sample(number)

    split = OnAccess(1000, make)
    assert made == []
    assert split[7].id == "number/7"
    assert made == [7]


def test_data_workers_can_have_it():
    assert pickle.loads(pickle.dumps(OnAccess(5, sample)))[3].id == "number/3"
