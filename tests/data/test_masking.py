import pytest
import torch
from omniformer_tokenizers import BPETokenizer, GraphTokenizer, PatchTokenizer, Tokenizer, Tokens

from omniformer.batch import collate
from omniformer.data.masking import Masked
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw

TEXT = BPETokenizer(vocab_size=300).fit(["the cat and the dog, the cat and the bird"])
WORDS = "the cat and the dog, the cat and the bird " * 8


class Frames(Tokenizer):
    """Numbers as frames of two."""

    modality = "audio"

    def __call__(self, raw):
        return Tokens(values=raw, positions=torch.arange(len(raw))[:, None].float(), modality="audio")

    @property
    def facts(self):
        return {"features": 2, "axes": 1}

    def config(self):
        return {}


TOKENIZERS = {"text": TEXT, "audio": Frames(), "graph": GraphTokenizer(node_vocab_sizes=(7, 3), virtual_node=True)}
SOUND = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
GRAPH = {"n_nodes": 4, "edges": [[0, 1], [1, 2], [2, 3]], "node_features": [[6, 0], [5, 1], [4, 2], [3, 0]]}


def masked(*contents, split="train", seed=0, **how):
    raws = [Raw(id=f"s{i}", contents=each, targets={"label": torch.tensor(i)}) for i, each in enumerate(contents)]
    return Masked(**how)(raws, TOKENIZERS, name="x", seed=seed, split=split)


def test_targets_are_what_the_hidden_tokens_were_and_the_piece_shows_zero_or_more_of_it():
    sample = masked({"text": WORDS}, modality="text", unchanged=0, random=0)(0, 0)
    ids, mask = TEXT(WORDS).values, sample.token_targets["mask"]
    (piece,) = sample.pieces
    assert torch.equal(sample.token_targets["ids"], torch.where(mask, ids, 0))
    assert torch.equal(piece.features["masked"], mask)
    assert torch.equal(piece.values, ids)
    assert int(mask.sum()) == round(0.15 * len(ids))
    assert int(sample.targets["label"]) == 0


def test_some_hidden_tokens_stay_visible_and_some_are_replaced_by_others():
    samples = masked(*[{"text": WORDS}] * 60, modality="text", share=0.5, unchanged=0.3, random=0.2)
    hidden = blank = changed = 0
    for index in range(60):
        sample = samples(0, index)
        (piece,) = sample.pieces
        mask, masked_ = sample.token_targets["mask"], piece.features["masked"]
        assert not (masked_ & ~mask).any()
        assert torch.equal(piece.values[~mask], TEXT(WORDS).values[~mask])
        hidden += int(mask.sum())
        blank += int(masked_.sum())
        changed += int((piece.values != TEXT(WORDS).values).sum())
    assert blank / hidden == pytest.approx(0.5, abs=0.05)
    assert changed / hidden == pytest.approx(0.2, abs=0.05)


def test_training_hides_other_tokens_each_epoch_and_evaluation_always_the_same():
    def masks(samples, *epochs):
        return [samples(epoch, 0).token_targets["mask"].tolist() for epoch in epochs]

    first, again, other = masks(masked({"text": WORDS}, modality="text"), 1, 1, 2)
    assert first == again != other
    fixed = [masks(masked({"text": WORDS}, modality="text", split="val", seed=s), 0, 1) for s in (0, 1)]
    assert fixed[0] == fixed[1]
    assert fixed[0][0] == fixed[0][1]


def test_frames_are_hidden_in_runs_and_their_numbers_are_the_targets():
    sample = masked({"audio": SOUND}, modality="audio", share=0.4, mean_span=10, unchanged=0, random=0)(0, 0)
    mask = sample.token_targets["mask"]
    runs = int((mask[1:] & ~mask[:-1]).sum()) + int(mask[0])
    assert (int(mask.sum()), runs) == (20, 2)
    assert torch.equal(sample.token_targets["values"], torch.where(mask[:, None], SOUND, 0.0))


def test_random_vectors_are_those_of_other_tokens():
    sample = masked({"audio": SOUND}, modality="audio", share=1.0, unchanged=0, random=1.0)(0, 0)
    seen = sample.pieces[0].values
    assert not torch.equal(seen, SOUND)
    assert all(any(torch.equal(row, other) for other in SOUND) for row in seen)


def test_only_nodes_of_a_graph_are_hidden_and_their_first_field_is_the_target():
    samples = masked(*[{"graph": GRAPH}] * 20, modality="graph", share=1.0, unchanged=0, random=0.5)
    for index in range(20):
        sample = samples(0, index)
        assert sample.token_targets["mask"].tolist() == [True] * 4 + [False]
        assert sample.token_targets["ids"].tolist() == [6, 5, 4, 3, 0]
        values = sample.pieces[0].values[:4]
        assert (values < torch.tensor(TOKENIZERS["graph"].facts["vocab_sizes"])).all()
        assert "degree" in sample.pieces[0].features


def test_samples_with_and_without_the_modality_make_one_batch():
    samples = masked(
        {"audio": SOUND[:3], "text": "the cat"}, {"audio": SOUND[:2]}, {"text": "bird"}, {}, modality="text"
    )
    batch = collate([samples(0, i) for i in range(4)])
    mask = batch.token_targets["mask"]
    assert len(mask) == int(batch.lengths.sum())
    assert not mask[batch.places["audio"]].any()
    assert [bool(rows.any()) for rows in mask.split(batch.lengths.tolist())] == [True, False, True, False]
    audio = masked({"audio": SOUND[:3], "text": "the cat"}, {"text": "bird"}, {}, modality="audio")
    assert collate([audio(0, i) for i in range(3)]).token_targets["values"].shape[1] == 2


def test_long_texts_are_cut_at_random_in_training_and_at_the_head_in_evaluation():
    ids = TEXT(WORDS).values
    train = masked({"text": WORDS}, modality="text", max_tokens=10, unchanged=1, random=0)
    pieces = [train(epoch, 0).pieces[0] for epoch in range(8)]
    windows = [ids[i : i + 10].tolist() for i in range(len(ids) - 9)]
    assert all(piece.values.tolist() in windows for piece in pieces)
    assert len({tuple(piece.values.tolist()) for piece in pieces}) > 1
    assert all(piece.positions[:, 0].tolist() == list(range(10)) for piece in pieces)
    held = masked({"text": WORDS}, modality="text", max_tokens=10, unchanged=1, random=0, split="val")
    assert held(3, 0).pieces[0].values.tolist() == ids[:10].tolist()
    assert held.lengths() == [10]


def test_a_special_token_of_the_vocabulary_stands_for_what_is_hidden_and_is_never_hidden_itself():
    from omniformer_tokenizers import BPETokenizer, framed

    class Framed(BPETokenizer):
        def __call__(self, raw):
            return framed(super().__call__(raw), start=self.special_id("<s>"), stop=self.special_id("<s>"))

    tokenizer = Framed(vocab_size=300, special_tokens=("<s>", "<mask>")).fit(["to be or not to be"])
    raws = [Raw(id=str(i), contents={"text": "to be or not to be"}, targets={}) for i in range(20)]
    how = Masked(modality="text", share=0.5, unchanged=0, random=0, token="<mask>")
    for i in range(20):
        sample = how(raws, {"text": tokenizer}, name="x", seed=0, split="train")(0, i)
        (piece,), mask = sample.pieces, sample.token_targets["mask"]
        assert "masked" not in piece.features and not mask[0] and not mask[-1]
        assert (piece.values == tokenizer.special_id("<mask>")).tolist() == mask.tolist()
        whole = torch.where(mask, sample.token_targets["ids"], piece.values)
        assert tokenizer.decode(whole) == "to be or not to be"
    with pytest.raises(ValueError, match=r"token='\[MASK\]' is no special token .* it has <s>, <mask>"):
        Masked(modality="text", token="[MASK]")(raws, {"text": tokenizer}, name="x", seed=0, split="train")


def test_a_graph_is_not_cut():
    with pytest.raises(SampleError, match="sample 's0' of x: a graph of 5 tokens cannot be cut to max_tokens=2"):
        masked({"graph": GRAPH}, modality="graph", max_tokens=2)(0, 0)


def test_pictures_are_masked_through_their_own_tokenizer():
    raw = Raw(id="a", contents={"vision": torch.rand(1, 8, 8)})
    tokenizer = PatchTokenizer(patch_size=2, channels=1)
    samples = Masked(modality="vision", share=0.75, unchanged=0, random=0)(
        [raw], {"vision": tokenizer}, name="x", seed=0, split="train"
    )
    sample = samples(0, 0)
    assert int(sample.token_targets["mask"].sum()) == 12
    assert sample.token_targets["values"].shape == (16, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0.0}, "share=0.0"),
        ({"unchanged": 0.6, "random": 0.6}, "shares that add up to at most 1"),
        ({"max_tokens": 0}, "max_tokens=0 must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Masked(modality="text", **wrong)


def test_a_modality_without_tokenizer_is_told():
    with pytest.raises(ValueError, match="modality='vision' is to be masked, but x has tokenizers for"):
        masked({"text": "a"}, modality="vision")
