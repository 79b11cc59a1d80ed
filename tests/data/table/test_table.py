import json
import pickle
import shutil
import warnings
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from omniformer.data import Stream
from omniformer.data.each_raw import EachRaw
from omniformer.data.samples import SampleError
from omniformer.data.table import Table

SPLITS = ("train", "val", "test")
MOODS = {"review": "text", "mood": "label"}


@pytest.fixture
def said(monkeypatch):
    """What tables say of themselves."""
    messages = []
    monkeypatch.setattr("omniformer.data.table.table.rank_zero_info", messages.append)
    return messages


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def csv(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def reviews(n=40, start=0):
    return [{"review": f"film {i}", "mood": ("bad", "good")[i % 2]} for i in range(start, start + n)]


def by_text(table):
    return {raw.contents["text"]: name for name in SPLITS for raw in table.split(name)}


def alone(path, columns, **options):
    """The only row of a table, as a sample."""
    return Table(files=path, columns=columns, shares=(1.0, 0.0, 0.0), **options).split("train")[0]


def test_rows_are_samples_with_the_classes_of_training(tmp_path):
    table = Table(files=jsonl(tmp_path / "a.jsonl", reviews()), columns=MOODS)
    assert table.labels == ("bad", "good") and dict(table.facts) == {"n_classes": 2}
    assert [len(table.split(name)) for name in SPLITS] == [32, 4, 4]
    for name in SPLITS:
        for raw in table.split(name):
            i = int(raw.contents["text"].split()[1])
            assert raw.id == f"a.jsonl, line {i + 1}" and int(raw.targets["label"]) == i % 2
    assert table.modalities == ("text",)
    assert table.baselines() == {"majority_accuracy": 0.5}


def test_a_split_depends_neither_on_the_place_nor_the_name_of_a_file_nor_on_the_order_or_number_of_its_rows(tmp_path):
    rows = reviews()
    first = by_text(Table(files=jsonl(tmp_path / "a.jsonl", rows), columns=MOODS))
    (tmp_path / "far" / "away").mkdir(parents=True)
    moved = shutil.copy(tmp_path / "a.jsonl", tmp_path / "far" / "away" / "b.jsonl")
    assert by_text(Table(files=str(moved), columns=MOODS)) == first
    assert by_text(Table(files=jsonl(tmp_path / "c.jsonl", rows[::-1]), columns=MOODS)) == first
    plain = {"review": "text"}
    small, large = (by_text(Table(files=jsonl(tmp_path / "d.jsonl", reviews(n)), columns=plain)) for n in (200, 400))
    assert small.items() <= large.items() and set(small.values()) == set(SPLITS)


def test_equal_content_is_never_in_two_splits_and_is_counted(tmp_path, said):
    rows = [row | {"key": str(i)} for i, row in enumerate(reviews(30) * 3)]
    table = Table(files=jsonl(tmp_path / "a.jsonl", rows), columns=MOODS | {"key": "id"})
    where = [(raw.contents["text"], name) for name in SPLITS for raw in table.split(name)]
    assert len(where) == 90 and len(set(where)) == 30
    assert "60 repeat the content of another row" in said[0]


def test_groups_stay_together(tmp_path):
    rows = [row | {"patient": i // 5} for i, row in enumerate(reviews(200))]
    table = Table(files=jsonl(tmp_path / "a.jsonl", rows), columns=MOODS | {"patient": "group"})
    of_patient = {(int(text.split()[1]) // 5, name) for text, name in by_text(table).items()}
    assert len(of_patient) == 40 and len({name for _, name in of_patient}) == 3


def test_an_id_decides_on_the_split_in_the_place_of_the_content(tmp_path):
    columns = MOODS | {"key": "id"}
    first, second = (
        Table(
            files=jsonl(
                tmp_path / f"{word}.jsonl",
                [row | {"key": i, "review": f"{word} {i}"} for i, row in enumerate(reviews())],
            ),
            columns=columns,
        )
        for word in ("a", "b")
    )
    for name in SPLITS:
        assert [raw.id for raw in first.split(name)] == [raw.id for raw in second.split(name)]


def test_a_column_names_the_split(tmp_path):
    names = ["training"] * 8 + ["dev", "TEST"]
    rows = [row | {"part": name} for row, name in zip(reviews(10), names, strict=True)]
    table = Table(files=jsonl(tmp_path / "a.jsonl", rows), columns=MOODS | {"part": "split"})
    assert [len(table.split(name)) for name in SPLITS] == [8, 1, 1]


def test_whole_numbers_in_the_column_are_folds(tmp_path):
    rows = [row | {"fold": 1 + i % 5} for i, row in enumerate(reviews(50))]
    path = jsonl(tmp_path / "a.jsonl", rows)
    table = Table(files=path, columns=MOODS | {"fold": "split"}, fold=4)
    assert [len(table.split(name)) for name in SPLITS] == [30, 10, 10]
    assert {int(raw.contents["text"].split()[1]) % 5 for raw in table.split("test")} == {4}
    tested = [raw.id for fold in range(5) for raw in Table(files=path, columns=MOODS, folds=5, fold=fold).split("test")]
    assert len(tested) == len(set(tested)) == 50


def test_files_name_the_split_and_validation_is_taken_from_training_where_none_is_given(tmp_path):
    train, test = jsonl(tmp_path / "a.jsonl", reviews(40)), jsonl(tmp_path / "b.jsonl", reviews(4, start=40))
    table = Table(train=train, test=test, columns=MOODS)
    assert [len(table.split(name)) for name in SPLITS] == [36, 4, 4]
    assert [raw.id for raw in table.split("test")] == [f"b.jsonl, line {i}" for i in range(1, 5)]
    assert len(Table(train=train, test=test, columns=MOODS, shares=(1.0, 0.0, 0.0)).split("val")) == 0


def test_rows_of_the_test_that_training_holds_are_counted(tmp_path):
    train, test = jsonl(tmp_path / "a.jsonl", reviews(40)), jsonl(tmp_path / "b.jsonl", reviews(4))
    with pytest.warns(UserWarning, match=r"4 row\(s\) of test hold what a row of training holds|row\(s\) of test hold"):
        Table(train=train, test=test, columns=MOODS).split("test")


def test_missing_cells_are_missing_modalities_or_unanswered_and_are_counted(tmp_path, said):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    rows = [{"photo": "a.png", "note": "hello", "x": 1, "y": None}, {"photo": None, "note": "there", "x": "NA", "y": 2}]
    columns = {"photo": "vision", "note": "text", "x": "value", "y": "value"}
    table = Table(files=jsonl(tmp_path / "a.jsonl", rows), columns=columns, shares=(1.0, 0.0, 0.0))
    both, one = table.split("train")
    assert list(both.contents) == ["vision", "text"] and list(one.contents) == ["text"]
    assert both.contents["vision"] == tmp_path / "a.png"
    assert (
        both.targets["value"].isnan().tolist() == [False, True] == [not each for each in one.targets["value"].isnan()]
    )
    assert "2 rows: 2 train, 0 val, 0 test; 2 without value; 1 without vision" in said[0]


def test_rows_that_nothing_can_be_learned_from_are_left_out_with_a_warning(tmp_path):
    rows = [*reviews(40), {"review": "no mood", "mood": None}, {"review": "none either"}]
    with pytest.warns(UserWarning, match=r"2 row\(s\) without label are left out"):
        assert len(by_text(Table(files=jsonl(tmp_path / "a.jsonl", rows), columns=MOODS))) == 40
    rows = [{"photo": [[0, 1], [2, 3]], "caption": "dark"}, {"photo": [[0, 1], [2, 3]], "caption": ""}]
    columns = {"photo": "vision", "caption": "answer.text"}
    with pytest.warns(UserWarning, match=r"1 row\(s\) without answer\.text are left out"):
        assert alone(jsonl(tmp_path / "b.jsonl", rows), columns).answer == {"text": "dark"}


def test_all_that_is_wrong_is_told_at_once_with_file_row_and_column(tmp_path):
    lines = [f"film {i},no.png,tall" for i in range(12)]
    table = Table(
        files=csv(tmp_path / "a.csv", "review,photo,size", *lines),
        columns={"review": "text", "photo": "vision", "size": "value"},
    )
    with pytest.raises(ValueError, match="problem") as caught:
        table.split("train")
    told = str(caught.value)
    assert told.startswith(f"24 problem(s) in {tmp_path}/a.csv: ") and "and 14 more" in told
    assert f"{tmp_path}/a.csv, row 1, column 'photo': there is no file 'no.png' in {tmp_path}" in told
    assert "row 1, column 'size': expected a number, received 'tall'" in told
    assert "data.on_error=skip" in told


def test_broken_rows_can_be_passed_over_and_too_many_cannot(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", reviews(200))
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"review": 3, "mood": "bad"}\n{broken\n')
    stream = Stream(source=Table(files=path, columns=MOODS), on_error="skip", max_bad_fraction=0.05)
    with pytest.warns(
        UserWarning,
        match=r"2 of 202 lines were skipped: .*line 201, column 'review': expected a text.*line 202: not JSON",
    ):
        assert len(stream.raws("train")) == 160
    stream = Stream(source=Table(files=path, columns=MOODS), on_error="skip", max_bad_fraction=0.001)
    with pytest.raises(SampleError, match="more than max_bad_fraction"):
        stream.raws("train")


def test_a_class_that_training_does_not_know_is_named_with_its_row(tmp_path):
    train = jsonl(tmp_path / "a.jsonl", reviews(10))
    test = jsonl(tmp_path / "b.jsonl", [{"review": "x", "mood": "odd"}])
    with pytest.raises(ValueError, match=r"b\.jsonl, line 1: class 'odd' is not among those of training, bad, good"):
        Table(train=train, test=test, columns=MOODS).split("test")
    table = Table(train=train, test=test, columns=MOODS, labels=["odd", "good", "bad"])
    assert table.labels == ("odd", "good", "bad") and int(table.split("test")[0].targets["label"]) == 0


def test_a_series_may_be_numbers_one_after_the_other_in_a_cell(tmp_path):
    lines = ["0.5 1 nan,1", '"1, 2, 3",2', "1;2;3,3", '"[1, 2, null]",4', '"0,5 1,5",5']
    file = csv(tmp_path / "a.csv", "load,next", *lines[:4])
    raws = Table(files=file, columns={"load": "series", "next": "value"}, shares=(1, 0, 0)).split("train")
    found = [raw.contents["series"].tolist()[0] for raw in raws]
    assert str(found) == "[[0.5, 1.0, nan], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, nan]]"
    with pytest.raises(ValueError, match=r"row 5, column 'load': expected a list of numbers, received '0,5 1,5'"):
        Table(files=csv(tmp_path / "b.csv", "load,next", *lines), columns={"load": "series"}).split("train")


def test_ids_must_be_there_once(tmp_path):
    rows = [{"review": f"film {i}", "key": key} for i, key in enumerate(["a", "a", None])]
    with pytest.raises(
        ValueError, match=r"line 2, column 'key': the id 'a' is there twice; .*line 3, column 'key': the id is empty"
    ):
        Table(files=jsonl(tmp_path / "a.jsonl", rows), columns={"review": "text", "key": "id"}).split("train")


def test_rows_of_a_file_without_the_column_of_names_are_called_by_their_place(tmp_path, said):
    train = csv(tmp_path / "a.csv", "key,review,mood", *(f"k{i},film {i},{('bad', 'good')[i % 2]}" for i in range(10)))
    test = csv(tmp_path / "b.csv", "review,mood", "new,good", "newer,bad", "newest,bad")
    table = Table(train=train, test=test, columns={**MOODS, "key": "id"})
    assert [raw.id for raw in table.split("test")] == ["b.csv, row 1", "b.csv, row 2", "b.csv, row 3"]
    assert {raw.id for raw in [*table.split("train"), *table.split("val")]} == {f"k{i}" for i in range(10)}
    assert any("b.csv: no column 'key', which names rows" in each for each in said)


def test_a_split_that_is_not_known_is_named(tmp_path):
    rows = [{"review": "a", "part": "training"}, {"review": "b", "part": "holdout"}, {"review": "c", "part": None}]
    with pytest.raises(
        ValueError,
        match=r"line 2, column 'part': 'holdout' is not the name of a split.*line 3, column 'part': is empty",
    ):
        Table(files=jsonl(tmp_path / "a.jsonl", rows), columns={"review": "text", "part": "split"}).split("train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either files"),
        ({"files": "a.csv", "train": "b.csv"}, "give either files"),
        ({"files": "a.csv", "test": "b.csv"}, "give those of training as train"),
        ({"files": "a.csv", "shares": (0.5, 0.1, 0.1)}, "add up to 1"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Table(columns={"a": "text"}, **options)


def test_files_are_found_here_or_under_data_root_and_several_are_one_table(tmp_path):
    (tmp_path / "parts").mkdir()
    jsonl(tmp_path / "parts" / "1.jsonl", reviews(20))
    jsonl(tmp_path / "parts" / "2.jsonl", reviews(20, start=20))
    table = Table(files="parts/*.jsonl", data_root=str(tmp_path), columns=MOODS)
    assert len(by_text(table)) == 40
    assert {raw.id.split(",")[0] for raw in table.split("train")} == {"1.jsonl", "2.jsonl"}
    with pytest.raises(FileNotFoundError, match="no file matches 'nothing.csv'"):
        Table(files="nothing.csv", data_root=str(tmp_path), columns=MOODS).split("train")
    with pytest.raises(ValueError, match=r"there are no rows"):
        Table(files=jsonl(tmp_path / "empty.jsonl", []), columns={"a": "text"}).split("train")


def test_yes_no_questions_are_columns_of_their_own_or_names_in_one(tmp_path):
    path = csv(tmp_path / "a.csv", "t,sweet,sour", "apple,1,no", "stone,0,")
    table = Table(files=path, columns={"t": "text", "sweet": "labels", "sour": "labels"}, shares=(1.0, 0.0, 0.0))
    apple, stone = table.split("train")
    assert table.labels == ("sweet", "sour") and dict(table.facts) == {"n_classes": 2}
    assert apple.targets["labels"].tolist() == [1.0, 0.0] and stone.targets["labels"].isnan().tolist() == [False, True]
    path = csv(tmp_path / "b.csv", "t,tags", "apple,sweet;red", "stone,grey", "thing,")
    table = Table(files=path, columns={"t": "text", "tags": "labels"}, shares=(1.0, 0.0, 0.0))
    apple, stone, thing = (raw.targets["labels"] for raw in table.split("train"))
    assert table.labels == ("grey", "red", "sweet")
    assert apple.tolist() == [0.0, 1.0, 1.0] and stone.tolist() == [1.0, 0.0, 0.0] and thing.isnan().all()


def test_numbers_are_one_or_a_vector_with_the_mean_as_baseline(tmp_path):
    path = csv(tmp_path / "a.csv", "t,x,part", "a,1,train", "b,3,train", "c,4,test", "d,,test")
    table = Table(files=path, columns={"t": "text", "x": "value", "part": "split"}, shares=(1.0, 0.0, 0.0))
    assert table.split("train")[0].targets["value"].shape == ()
    assert table.baselines() == {"mean_mae": 2.0, "mean_rmse": 2.0}
    assert table.labels == () and dict(table.facts) == {}


def test_two_texts_are_a_pair_or_joined(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"q": "who?", "c": "a cat sat", "a": "cat"}])
    columns = {"q": "text", "c": "text", "a": "span.text"}
    raw = alone(path, columns)
    assert raw.contents["text"] == ("who?", "a cat sat") and raw.marks["text"].span == (2, 5)
    raw = alone(path, columns, join=" | ")
    begin, end = raw.marks["text"].span
    assert raw.contents["text"] == "who? | a cat sat" and raw.contents["text"][begin:end] == "cat"


def test_contents_may_be_bytes_or_nested_or_numbers(tmp_path):
    (tmp_path / "b.png").write_bytes(b"x")
    rows = [
        {"p": {"bytes": b"x", "path": "a.png"}, "s": {"array": [0.0, 0.5], "sampling_rate": 8000}, "m": [1.0, None]},
        {"p": {"bytes": None, "path": "b.png"}, "s": None, "m": [2.0, 3.0]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    columns = {"p": "vision", "s": "audio", "m": "series"}
    table = Table(files=str(tmp_path / "a.parquet"), columns=columns, shares=(1.0, 0.0, 0.0))
    first, second = table.split("train")
    assert first.contents["vision"] == b"x" and second.contents["vision"] == tmp_path / "b.png"
    assert first.contents["audio"][0].tolist() == [0.0, 0.5] and first.contents["audio"][1] == 8000
    assert first.contents["series"].shape == (1, 2) and first.contents["series"].isnan().tolist() == [[False, True]]


def test_series_of_several_columns_are_their_variables(tmp_path):
    raw = alone(csv(tmp_path / "a.csv", "a,b,y", '"[1, 2]","[3, 4]",1'), {"a": "series", "b": "series", "y": "value"})
    assert raw.contents["series"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_graphs_are_smiles_or_objects_whose_features_are_told(tmp_path):
    assert (
        alone(csv(tmp_path / "a.csv", "s,y", "[Na+].[Cl-],1"), {"s": "graph", "y": "value"}).contents["graph"]
        == "[Na+].[Cl-]"
    )
    graphs = [{"n_nodes": 2, "edges": [[0, 1]], "node_features": [[0], [k]]} for k in (1, 5)]
    rows = [{"g": graph, "kinds": ["a", None]} for graph in graphs]
    table = Table(
        files=jsonl(tmp_path / "b.jsonl", rows), columns={"g": "graph", "kinds": "token_labels"}, shares=(1.0, 0.0, 0.0)
    )
    raw = table.split("train")[0]
    assert raw.contents["graph"] == graphs[0]
    assert raw.token_targets["label"].tolist() == [0, 0] and raw.token_targets["mask"].tolist() == [True, False]
    assert dict(table.facts) == {"n_classes": 1, "node_vocab_sizes": (6,)}


def test_words_have_classes_where_they_stand_in_the_text(tmp_path):
    rows = [{"words": ["Ada", "met", "Ada"], "tags": ["PER", "O", None]}]
    raw = alone(jsonl(tmp_path / "a.jsonl", rows), {"words": "text", "tags": "token_labels"})
    assert raw.contents["text"] == "Ada met Ada"
    assert raw.marks["text"].words == ((0, 3, 1), (4, 7, 0), (8, 11, -1))
    rows[0]["tags"] = ["PER"]
    with pytest.raises(ValueError, match="column 'tags': 1 classes for 3 words"):
        alone(jsonl(tmp_path / "a.jsonl", rows), {"words": "text", "tags": "token_labels"})


def test_whole_files_in_a_table_with_ids_are_not_read_before_they_are_needed(tmp_path, monkeypatch):
    rows = [{"p": b"x" * i, "y": i % 2, "key": str(i)} for i in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=10)
    table = Table(files=str(tmp_path / "a.parquet"), columns={"p": "vision", "y": "label", "key": "id"})
    asked = []
    monkeypatch.setattr(
        type(table._rows.parts[0]),
        "each",
        lambda self, names: asked.append(names) or iter([{"y": r["y"], "key": r["key"]} for r in rows]),
    )
    assert Counter({name: len(table.split(name)) for name in SPLITS}) == {"train": 32, "val": 4, "test": 4}
    assert asked and all("p" not in names for names in asked)
    assert all(len(raw.contents["vision"]) == int(raw.id) for raw in table.split("test"))


def test_rows_of_which_nothing_was_read_are_not_told_to_be_the_same(tmp_path, said, recwarn):
    rows = [{"p": f"{i}".encode(), "y": "a", "part": ("train", "val", "test")[i % 3]} for i in range(12)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    table = Table(files=str(tmp_path / "a.parquet"), columns={"p": "vision", "y": "label", "part": "split"})
    assert len(table.split("train")) == 4
    assert not any("repeat" in line for line in said) and not [each for each in recwarn if "hold what" in str(each)]


def test_a_table_pickles_for_data_workers(tmp_path):
    table = Table(files=jsonl(tmp_path / "a.jsonl", reviews()), columns=MOODS)
    expected = [(raw.id, raw.contents) for raw in table.split("train")]
    assert [(raw.id, raw.contents) for raw in pickle.loads(pickle.dumps(table.split("train")))] == expected


def test_samples_become_tokens_with_their_targets(tmp_path):
    from omniformer_tokenizers import BPETokenizer

    rows = [{"q": "who?", "c": "a cat sat", "a": "cat"}, {"q": "what?", "c": "a dog ran", "a": None}]
    table = Table(
        files=jsonl(tmp_path / "a.jsonl", rows),
        columns={"q": "text", "c": "text", "a": "span.text"},
        join="\n",
        shares=(1.0, 0.0, 0.0),
    )
    text = BPETokenizer(vocab_size=257).fit(["a cat"])
    samples = EachRaw(table.split("train"), {"text": text}, name="qa", seed=0)
    first, second = samples(0, 0), samples(0, 1)
    begin, end = first.targets["span"].tolist()
    assert text.decode(first.pieces[0].values[begin : end + 1]) == "cat"
    assert torch.equal(second.targets["span"], torch.tensor([-1, -1]))


def test_classes_are_called_as_labels_says_of_cells(tmp_path):
    (tmp_path / "a.csv").write_text("text,kind\na,neg\nb,pos\nc,neg\n")
    table = Table(
        files=str(tmp_path / "a.csv"),
        columns={"text": "text", "kind": "label"},
        labels={"pos": "in favour", "neg": "against"},
        splits={"val": "row == 1"},
    )
    assert table.labels == ("in favour", "against")
    assert [raw.targets["label"].item() for raw in table.split("train")] == [1, 1]


@pytest.mark.parametrize("files", ["a.parquet", "a.parquet + lines:b.txt"])
def test_large_row_groups_are_told_of_unless_rows_are_shuffled_within_windows(tmp_path, monkeypatch, files):
    monkeypatch.setattr("omniformer.data.table.columnar.ParquetRows.kept_bytes", 1)
    pq.write_table(pa.Table.from_pylist(reviews(9)), tmp_path / "a.parquet", row_group_size=3)
    (tmp_path / "b.txt").write_text("a line\n" * 9)

    def read(window):
        table = Table(files=files, columns=MOODS, data_root=str(tmp_path))
        Stream(source=table, batch_size=2, window=window).source.split("train")

    with pytest.warns(UserWarning, match=r"row groups of 3 rows, of which 0 MB stay in memory; .*data\.window=100000"):
        read(None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(100)


def test_the_first_rows_of_training_are_taken_where_that_is_asked_for(tmp_path, said):
    file = jsonl(tmp_path / "a.jsonl", reviews())
    whole, some = (Table(files=file, columns=MOODS, max_train=most) for most in (None, 5))
    texts = [[raw.contents["text"] for raw in table.split("train")] for table in (whole, some)]
    assert texts[1] == texts[0][:5] and len(texts[0]) == 32
    assert by_text(some).keys() - {*texts[0]} == by_text(whole).keys() - {*texts[0]}
    assert any("the first 5 of 32 rows of training are taken" in line for line in said)
    with pytest.raises(ValueError, match="max_train=33, and 32 rows are for training; give 32 at most"):
        Table(files=file, columns=MOODS, max_train=33).split("train")
    with pytest.raises(ValueError, match="max_train=0 must be at least 1"):
        Table(files=file, columns=MOODS, max_train=0)


def test_a_column_may_be_a_class_and_an_answer_to_write(tmp_path):
    raw = alone(jsonl(tmp_path / "a.jsonl", reviews(2)), {"review": "text", "mood": "label and answer.text"})
    assert (raw.answer["text"], int(raw.targets["label"])) == ("bad", 0)
