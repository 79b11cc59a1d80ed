"""Files of published models: whole, in shards, pickled, damaged."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from omniformer.pretrained.files import checkpoint as module
from omniformer.pretrained.files.checkpoint import Checkpoint

TENSORS = {
    "wide": torch.arange(24.0).view(4, 6),
    "row": torch.arange(5.0),
    "number": torch.tensor(3.0),
    "counts": torch.arange(4),
    "half": torch.arange(6.0).view(3, 2).bfloat16(),
}


def whole(checkpoint, names=TENSORS, **options):
    """The tensors put together from their pieces."""
    found = {}
    for name, first, rows in checkpoint.pieces(names, **options):
        if rows.ndim == 0:
            found[name] = rows.clone()
            continue
        place = found.setdefault(name, torch.zeros(checkpoint.shapes[name], dtype=rows.dtype))
        place[first : first + len(rows)] = rows
    return found


def single(folder):
    save_file(TENSORS, folder / "model.safetensors")


def sharded(folder):
    names = list(TENSORS)
    shards = {"model-00001-of-00002.safetensors": names[:2], "model-00002-of-00002.safetensors": names[2:]}
    for file, held in shards.items():
        save_file({name: TENSORS[name] for name in held}, folder / file)
    index(folder, "model.safetensors.index.json", {name: file for file, held in shards.items() for name in held})


def pickled(folder):
    torch.save(TENSORS, folder / "pytorch_model.bin")


def old_pickle(folder):
    torch.save(TENSORS, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def pickled_shards(folder):
    for i, name in enumerate(TENSORS):
        torch.save({name: TENSORS[name]}, folder / f"pytorch_model-{i}.bin")
    index(folder, "pytorch_model.bin.index.json", {name: f"pytorch_model-{i}.bin" for i, name in enumerate(TENSORS)})


def index(folder, file, table):
    (folder / file).write_text(json.dumps({"metadata": {}, "weight_map": table}))


KINDS = [single, sharded, pickled, old_pickle, pickled_shards]


@pytest.mark.parametrize("make", KINDS)
def test_every_layout_gives_the_same_tensors(make, tmp_path):
    make(tmp_path)
    checkpoint = Checkpoint(tmp_path)
    assert set(checkpoint) == set(TENSORS)
    assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}
    assert checkpoint.dtypes == {name: tensor.dtype for name, tensor in TENSORS.items()}
    found = whole(checkpoint)
    assert found.keys() == TENSORS.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )


@pytest.mark.parametrize("make", KINDS)
def test_large_tensors_come_some_rows_at_a_time(make, tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(module, "_PIECE", 50)  # two rows of the wide one
    pieces = [(name, first, len(rows)) for name, first, rows in Checkpoint(tmp_path).pieces(["wide"])]
    assert pieces == [("wide", 0, 2), ("wide", 2, 2)]
    assert [first for _, first, _ in Checkpoint(tmp_path).pieces(["wide"], whole=["wide"])] == [0]
    assert all(torch.equal(each, TENSORS[name]) for name, each in whole(Checkpoint(tmp_path)).items())


def test_only_the_tensors_that_are_asked_for_are_read(tmp_path):
    sharded(tmp_path)
    assert [name for name, _, _ in Checkpoint(tmp_path).pieces({"row", "half"})] == ["row", "half"]


def test_the_type_of_a_file_is_that_of_most_of_its_numbers(tmp_path):
    single(tmp_path)
    assert Checkpoint(tmp_path).dtype == torch.float32
    save_file({"a": torch.zeros(2), "b": torch.zeros(9).bfloat16()}, tmp_path / "model.safetensors")
    assert Checkpoint(tmp_path).dtype == torch.bfloat16


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "old"])
def test_a_pickle_that_would_run_something_is_refused_and_not_run(archive, tmp_path):
    trace = tmp_path / "trace"
    content = {"a": torch.zeros(2), "b": Malicious(trace)}
    torch.save(content, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=archive)
    with pytest.raises(ValueError, match="pytorch_model.bin is damaged, or holds more than tensors, and was not run"):
        Checkpoint(tmp_path)
    assert not trace.exists()


def test_a_pickle_of_something_else_is_refused(tmp_path):
    torch.save({"state": {"a": torch.zeros(2)}}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin is no table of tensors by name"):
        Checkpoint(tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_header(path):
    content = bytearray(path.read_bytes())
    content[8] ^= 0x55  # its opening brace
    path.write_bytes(bytes(content))


def huge_header(path):
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip_header, huge_header, empty])
@pytest.mark.parametrize("make", [single, sharded])
def test_a_damaged_file_is_named(make, damage, tmp_path):
    make(tmp_path)
    path = max(tmp_path.glob("*.safetensors"))
    damage(path)
    with pytest.raises(ValueError, match=rf"{path.name} is damaged or cut off"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("damage", [cut, empty])
@pytest.mark.parametrize("make", [pickled, old_pickle])
def test_a_damaged_pickle_is_named(make, damage, tmp_path):
    make(tmp_path)
    damage(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin is damaged"):
        Checkpoint(tmp_path)


def test_a_shard_that_is_missing_is_named(tmp_path):
    sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    message = "index.json names 2 files, of which model-00002-of-00002.safetensors is not there"
    with pytest.raises(FileNotFoundError, match=message):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("make", [sharded, pickled_shards])
def test_a_tensor_that_its_shard_lacks_is_named(make, tmp_path):
    make(tmp_path)
    path = next(tmp_path.glob("*.index.json"))
    table = json.loads(path.read_text())["weight_map"]
    shard = table["row"]
    index(tmp_path, path.name, table | {"ghost": shard})
    with pytest.raises(ValueError, match=f"{shard} lacks ghost, which the index of .* says it holds"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "index.json is damaged"),
        ("[]", "index.json holds a list, expected a JSON object"),
        ('{"weight_map": 3}', "weight_map is not a table of tensors and files"),
        ('{"weight_map": {"a": 3}}', "weight_map is not a table of tensors and files"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "names '../secret.safetensors'; accepted: a plain name"),
    ],
)
def test_a_damaged_index_is_named(content, message, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        Checkpoint(tmp_path)


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"holds no weights: looked for model.safetensors, model.safetensors.ind"
    ):
        Checkpoint(tmp_path)


def test_safetensors_come_before_pickles(tmp_path):
    single(tmp_path)
    torch.save({"other": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert set(Checkpoint(tmp_path)) == set(TENSORS)
