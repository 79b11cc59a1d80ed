"""What every tokenizer promises, whatever its modality."""

import json
import pickle
from dataclasses import fields

import omniformer_tokenizers as ot
import pytest
import torch
from omniformer_tokenizers.media import MediaError
from torch import Tensor
from torch.utils.data import DataLoader


def assert_same(a, b) -> None:
    """Two Tokens or packs are equal, field by field, dtypes included."""
    for name in (f.name for f in fields(a)):
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, dict):
            assert left.keys() == right.keys(), name
            for key in left:
                torch.testing.assert_close(left[key], right[key], rtol=0, atol=0, equal_nan=True)
        elif isinstance(left, Tensor):
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)
        else:
            assert left == right, name


def width(rows: Tensor) -> int | None:
    return rows.shape[1] if rows.ndim == 2 else None


def test_tokens_have_the_sizes_that_the_facts_announce(case, tokenizer):
    facts = tokenizer.facts
    for raw in [*case.raws, case.empty]:
        tokens = tokenizer(raw)
        assert tokens.modality == tokenizer.modality
        assert tokens.positions.shape == (len(tokens), facts["axes"])
        assert tokens.positions.dtype == torch.float32
        assert tokens.values.dtype in (torch.int64, torch.float32)
        if tokens.values.dtype == torch.float32:
            assert width(tokens.values) == facts["features"]
            assert torch.isfinite(tokens.values).all()
        elif "vocab_size" in facts:
            assert ((tokens.values >= 0) & (tokens.values < facts["vocab_size"])).all()
        else:
            assert (tokens.values < torch.tensor(facts["vocab_sizes"])).all()
        assert "laplacian" not in tokens.features or width(tokens.features["laplacian"]) == facts["laplacian"]


def test_facts_and_config_are_plain_json(tokenizer):
    assert json.loads(json.dumps(dict(tokenizer.facts))) == dict(tokenizer.facts)
    assert json.loads(json.dumps(tokenizer.config())) == tokenizer.config()


def test_samples_of_all_sizes_pack_and_unpack_exactly(case, tokenizer):
    samples = [tokenizer(raw) for raw in [*case.raws, case.empty, case.raws[0]]]
    packed = ot.pack(samples)
    assert packed.lengths.tolist() == [len(sample) for sample in samples]
    for before, after in zip(samples, ot.unpack(packed), strict=True):
        assert_same(before, after)


def test_an_empty_sample_gives_no_tokens_but_a_virtual_one(case, tokenizer):
    assert len(tokenizer(case.empty)) == int(getattr(tokenizer, "virtual_node", False))


def test_encoding_is_deterministic_and_a_batch_equals_single_calls(case, tokenizer):
    batch = tokenizer.encode_batch(case.raws)
    for raw, together in zip(case.raws, batch, strict=True):
        assert_same(tokenizer(raw), together)


def test_decode_gives_the_raw_sample_back(case, tokenizer):
    if case.tolerance is None:
        pytest.skip("no exact inverse: the class says so")
    for raw in case.raws:
        decoded = tokenizer.decode(tokenizer(raw))
        if isinstance(raw, Tensor):
            assert decoded.dtype == raw.dtype
            torch.testing.assert_close(decoded, raw, rtol=case.tolerance, atol=case.tolerance, equal_nan=True)
        elif isinstance(raw, str):
            assert decoded == raw
        else:
            assert_same(tokenizer(decoded), tokenizer(raw))


def test_a_saved_tokenizer_comes_back_the_same(case, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = ot.load(tmp_path)
    assert type(again) is type(tokenizer)
    assert again.config() == tokenizer.config()
    assert again.facts == tokenizer.facts
    assert again.fitted
    for raw in case.raws:
        assert_same(again(raw), tokenizer(raw))
    # JSON and safetensors; and a published file of sentencepiece as it is, which holds a table and rules.
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in (".json", ".safetensors", ".model")]


def test_saving_twice_writes_the_same_bytes(case, tmp_path):
    for name in ("a", "b"):
        case.make().save_pretrained(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_pickled_tokenizer_works_the_same(case, tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    for raw in case.raws:
        assert_same(again(raw), tokenizer(raw))


class Encoded(torch.utils.data.Dataset):
    def __init__(self, tokenizers, raws):
        self.tokenizers, self.raws = tokenizers, raws

    def __len__(self):
        return len(self.raws)

    def __getitem__(self, i):
        return self.tokenizers[i](self.raws[i])


def first(batch):
    return batch[0]


def test_tokenizers_work_in_data_workers(cases):
    names = ["bpe", "patches", "spectrogram", "graph mixed", "series"]
    data = Encoded([cases[name].make() for name in names], [cases[name].raws[0] for name in names])
    for here, there in zip(data, DataLoader(data, num_workers=1, collate_fn=first), strict=True):
        assert_same(here, there)


def test_tokens_move_between_devices(case, tokenizer):
    tokens = tokenizer(case.raws[0])
    assert tokens.to("meta").values.is_meta
    assert_same(tokens.to("cpu"), tokens)


def test_a_wrong_type_is_refused_by_name(case, tokenizer):
    with pytest.raises(TypeError, match=type(case.wrong).__name__):
        tokenizer(case.wrong)


def test_a_missing_file_is_named(case, tokenizer, tmp_path):
    if tokenizer.modality in ("text", "series", "steps"):
        pytest.skip("takes no files: a string is text")
    with pytest.raises(MediaError, match="nowhere"):
        tokenizer(tmp_path / "nowhere.bin")


def test_a_saved_tokenizer_of_another_class_is_refused(tmp_path):
    ot.ByteTokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a ByteTokenizer, not a PatchTokenizer"):
        ot.PatchTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["os.system", "Tokens", "pack", "Tokenizer", ""])
def test_a_folder_cannot_name_code_to_run(tmp_path, name):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer": name}))
    with pytest.raises((ValueError, TypeError)):
        ot.load(tmp_path)


def test_an_unfitted_tokenizer_says_so():
    for tokenizer in (ot.BPETokenizer(), ot.CodeTokenizer(), ot.CharacterTokenizer(), ot.WordTokenizer()):
        assert not tokenizer.fitted
        with pytest.raises(ValueError, match="no vocabulary yet; call fit"):
            tokenizer("text")
    with pytest.raises(ValueError, match="no colours yet; call fit"):
        ot.ColourTokenizer()(torch.zeros(3, 2, 2))


def test_every_tokenizer_of_the_package_is_covered_here(cases):
    made = {type(case.make()).__name__ for case in cases.values()}
    public = {
        name
        for name in ot.__all__
        if isinstance(getattr(ot, name), type) and issubclass(getattr(ot, name), ot.Tokenizer)
    }
    assert public - made == {"Tokenizer", "MoleculeTokenizer"}  # the latter needs RDKit; see test_molecules.py
