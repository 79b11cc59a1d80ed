import io
import json
import tarfile
from collections import Counter

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer

from omniformer.data import OmniDataModule, Stream, StreamedTable

COLUMNS = {"text": "text", "kind": "label"}


@pytest.fixture
def shards(tmp_path):
    """Three shards of 5, 0 and 6 rows."""
    numbers = iter(range(11))
    for name, n in zip("abc", (5, 0, 6), strict=True):
        rows = [{"text": f"row {(i := next(numbers))}", "kind": "xy"[i % 2]} for _ in range(n)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"{tmp_path}/*.jsonl"


def table(train, n=8, **options):
    return StreamedTable(
        **{"train": train, "columns": COLUMNS, "labels": ["x", "y"], "samples_per_epoch": n, **options}
    )


def module(source, **options):
    stream = Stream(source=source, **{"batch_size": 4, "window": 4, **options})
    return OmniDataModule(streams={"s": stream}, tokenizers={"s": {"text": ByteTokenizer()}}, seed=0)


def ids(steps):
    return [list(step["s"].ids) for step in steps]


def test_rows_follow_each_other_through_all_shards_and_round_again(shards):
    raws = table(shards).split("train")
    assert [raws[n].contents["text"] for n in (0, 4, 5, 10, 11, 25)] == [f"row {n}" for n in (0, 4, 5, 10, 0, 3)]
    assert (len(raws), raws[5].id, int(raws[5].targets["label"])) == (8, "c.jsonl, line 1", 1)


def test_an_epoch_is_so_many_rows_and_the_next_one_goes_on_behind_it(shards):
    loader = module(table(shards)).train_dataloader()
    found = [Counter(each for ids_of in ids(loader) for each in ids_of) for _ in range(3)]
    raws = table(shards).split("train")
    assert [sorted(epoch) for epoch in found] == [
        sorted(raws[n].id for n in range(first, first + 8)) for first in (0, 8, 16)
    ]


@pytest.mark.quick(1)
@pytest.mark.parametrize("shape", [{"num_workers": 1}, {}])
def test_a_run_goes_on_in_mid_epoch_with_the_next_step(shards, shape):
    whole = module(table(shards), **shape).train_dataloader()
    steps = ids([*whole, *whole])
    first = module(table(shards)).train_dataloader()
    before = ids([step for _, step in zip(range(1), first, strict=False)])
    again = module(table(shards), **shape).train_dataloader()
    again.load_state_dict(first.state_dict())
    assert (before + ids(again) + ids(again))[: len(steps)] == steps  # each pass of a loader is two steps


def test_ranks_share_each_step(shards, monkeypatch):
    alone, parts = ids(module(table(shards)).train_dataloader()), []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        parts.append(ids(module(table(shards)).train_dataloader()))
    assert [sorted(a + b) for a, b in zip(*parts, strict=True)] == [sorted(step) for step in alone]


def test_samples_are_shuffled_within_windows_that_follow_each_other(shards):
    steps = ids(module(table(shards, n=11), window=6, batch_size=6).train_dataloader())
    raws = table(shards).split("train")
    inside = [raws[n].id for n in range(6)]
    assert set(steps[0]) == set(inside) and steps[0] != inside


def test_shards_are_opened_only_as_far_as_training_went(shards, tmp_path):
    (tmp_path / "c.jsonl").write_text("no table")
    source = table(shards, n=4)
    assert len(ids(module(source).train_dataloader())) == 1 and source._train.ends == [5]


def test_a_row_without_a_name_is_called_by_its_place(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "kind": "x", "key": 7}\n{"text": "b", "kind": "y"}\n')
    raws = table(str(tmp_path / "a.jsonl"), columns={**COLUMNS, "key": "id"}).split("train")
    assert [raws[n].id for n in range(2)] == ["7", "a.jsonl, line 2"]


def test_lines_of_a_shard_that_are_no_rows_are_told_once_or_stop_the_run(tmp_path):
    (tmp_path / "a.csv").write_text('text,kind\none,x\n"two,x\nthree,y\nfour" and,y\nfive,y\n')
    with pytest.raises(ValueError, match=r"a\.csv, line 3: a double quote opens.*data\.on_error=skip passes over it"):
        table(str(tmp_path / "a.csv")).split("train")[0]
    source = table(str(tmp_path / "a.csv"))
    source.on_error = "skip"
    with pytest.warns(UserWarning, match=r"3 lines of .*a\.csv are skipped, beside 2 rows: .*line 3: a double quote"):
        raws = [*source.split("train")]
    assert [raw.contents["text"] for raw in raws[:4]] == ["one", "five", "one", "five"]


def test_rows_of_tar_shards_hold_whole_files(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name, content in (("a.txt", b"one"), ("a.cls", b"y"), ("b.txt", b"two"), ("b.cls", b"x")):
            (info := tarfile.TarInfo(name)).size = len(content)
            archive.addfile(info, io.BytesIO(content))
    raws = table(str(tmp_path / "0.tar"), columns={"txt": "text", "cls": "label"}).split("train")
    assert [(raw.contents["text"], int(raw.targets["label"])) for raw in (raws[0], raws[1])] == [("one", 1), ("two", 0)]


def test_validation_is_the_first_rows_of_its_own_files(shards, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.data.table.streamed.rank_zero_info", said.append)
    source = table(str(tmp_path / "a.jsonl"), val=str(tmp_path / "c.jsonl"), evaluated=4)
    assert [len(source.split(name)) for name in ("val", "test")] == [4, 0]
    assert len(table(shards, val=str(tmp_path / "c.jsonl")).split("val")) == 6
    assert "the first 4 rows are for val" in said[0]


def test_rows_that_cannot_be_used_are_told_with_their_place_or_left_out_and_counted(shards, tmp_path):
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"text": "strange", "kind": "z"}\n{"text": "none"}\nbroken\n')
    data = module(table(shards), batch_size=8)
    with pytest.raises(ValueError, match=r"a\.jsonl, line \d: .*; data\.on_error=skip passes over it"):
        next(iter(data.train_dataloader()))
    for number, told in (
        (5, "line 6: class 'z' is not among x, y"),
        (6, "line 7: it has no label"),
        (7, "line 8: not JSON"),
    ):
        with pytest.raises(ValueError, match=told):
            table(shards).split("train")[number]
    data = module(table(shards), batch_size=8, on_error="skip", max_bad_fraction=0.5)
    assert [len(step["s"]) for step in data.train_dataloader()] == [5]
    assert data.bad_samples == {"s/train": [f"s, sample {n}" for n in (5, 6, 7)]}


def test_classes_of_words_and_several_of_a_row_must_be_among_those_that_are_named(tmp_path):
    rows = [{"text": "Ada saw", "tags": ["PER", "O"], "kinds": ["a"]}, {"text": "we", "tags": ["LOC"], "kinds": []}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {**rows[0], "kinds": ["b"]}]))
    words = table(str(tmp_path / "a.jsonl"), columns={"text": "text", "tags": "token_labels"}, labels=["O", "PER"])
    assert words.split("train")[0].marks["text"].words == ((0, 3, 1), (4, 7, 0))
    with pytest.raises(ValueError, match="line 2: class 'LOC' is not among O, PER"):
        words.split("train")[1]
    kinds = table(str(tmp_path / "a.jsonl"), columns={"text": "text", "kinds": "labels"}, labels=["a"]).split("train")
    assert kinds[0].targets["labels"].tolist() == [1.0]
    with pytest.raises(ValueError, match="line 3: class 'b' is not among a"):
        kinds[2]


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "balanced", "window": None},
        {"fold": 1},
        {"train_share": 0.5},
        {"tokens_per_batch": 9},
        {"cache": True},
    ],
    ids=str,
)
def test_what_must_know_all_samples_is_refused_in_one_sentence(shards, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} asks for what is not known of a stream"):
        module(table(shards), **options)
    with pytest.raises(ValueError, match=r"give their size, data\.window=1000"):
        module(table(shards), window=None)


def test_class_weights_classes_and_roles_that_divide_rows_are_refused(shards):
    with pytest.raises(ValueError, match="how often each class comes is not known of a stream"):
        module(table(shards)).class_counts("s")
    with pytest.raises(ValueError, match=r"name them in order, data\.source\.labels="):
        len(table(shards, labels=None).labels)
    with pytest.raises(ValueError, match="role 'split', by which rows are divided"):
        table(shards, columns={**COLUMNS, "part": "split"})
    with pytest.raises(ValueError, match="has no column 'words'"):
        table(shards, columns={"words": "text"}).split("train")


def test_numbers_are_measured_by_the_first_samples(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("text,size\n" + "".join(f"row {n},{n}\n" for n in range(10)))
    monkeypatch.setattr("omniformer.data.passing.LOOKED_AT", 3)
    source = table(str(tmp_path / "a.csv"), columns={"text": "text", "size": "value"}, labels=None)
    assert module(source).facts("s")["target_mean"] == [1.0]
    assert torch.equal(source.split("train")[7].targets["value"], torch.tensor(7.0))
