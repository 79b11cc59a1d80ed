"""One vector for each sample."""

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, PatchTokenizer, SpectrogramTokenizer

import omniformer
from omniformer.batch import Sample, collate
from omniformer.core import EncoderDecoder, Transformer
from omniformer.core.block import CrossBlock, GatedCrossBlock
from omniformer.core.rules import Causal, Prefix
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.embeddings import embeddings
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.pooling import AttentionPool
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

TEXT = ByteTokenizer()
VISION = PatchTokenizer(patch_size=4, channels=1)
AUDIO = SpectrogramTokenizer(sample_rate=8000, n_mels=8, n_fft=64, hop_length=32)
TEXTS = ["a fine film", "dull", "", "a film that is longer than the others"]
SIZES = {"d_model": 16, "n_heads": 2, "init_std": 0.3}


def model_of(core=None, heads=None, rules=None) -> OmniFormer:
    torch.manual_seed(0)
    return OmniFormer(
        core=core or Transformer(n_layers=2, **SIZES),
        embedders={
            "text": IdEmbedder(d_model=16, vocab_size=257),
            "vision": VectorEmbedder(d_model=16, features=16, axes=2),
            "audio": VectorEmbedder(d_model=16, features=8, axes=2),
        },
        heads=heads or {},
        rules=rules,
    ).eval()


def batch_of(*texts):
    return collate([Sample(id=f"{i}", pieces=[TEXT(text)]) for i, text in enumerate(texts)])


def units(rows):
    """Each row over its length, by hand; rows of zeros stay."""
    return torch.stack([row / row.norm() if row.norm() else row for row in rows])


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_vector_is_the_mean_of_the_cores_output_over_its_length():
    model = model_of()
    x, layout = model.encode(batch_of(*TEXTS))
    rows = [part.mean(0) if len(part) else torch.zeros(16) for part in x.split(layout.lengths.tolist())]
    close(embeddings(model, batch_of(*TEXTS)), units(rows))


def test_the_first_token_or_a_trained_pooling_may_stand_for_a_sample():
    model, pool = model_of(), AttentionPool(d_model=16)
    torch.nn.init.normal_(pool.query.weight)
    x, layout = model.encode(batch_of("ab", "cde"))
    close(embeddings(model, batch_of("ab", "cde"), pool="first"), units(x[[0, 2]]))
    close(embeddings(model, batch_of("ab", "cde"), pool=pool), units(pool(x, layout)))
    with pytest.raises(ValueError, match="pool='last' is not known; choose 'mean' or 'first', or give a part"):
        embeddings(model, batch_of("ab"), pool="last")


def test_tokens_are_read_under_the_rule_of_the_task():
    heads = {"prose": NextTokenHead(d_model=16, vocab_size=257)}
    model = model_of(heads=heads, rules={"prose": Causal()})
    longer, shorter = (embeddings(model, batch_of(text), "prose", pool="first") for text in ("abc", "a"))
    close(longer, shorter)  # the first of a causal model sees nothing behind it
    assert not torch.allclose(embeddings(model, batch_of("abc"), pool="first"), shorter)


def test_a_pair_is_asked_for_what_its_encoder_makes():
    core = EncoderDecoder(
        encoder=Transformer(n_layers=1, **SIZES), decoder=Transformer(n_layers=1, block=CrossBlock, **SIZES)
    )
    head = NextTokenHead(d_model=16, vocab_size=257)
    model = model_of(core=core, heads={"german": head}, rules={"german": Causal()})
    x = model.memory(batch_of("ein Hund")).x
    close(embeddings(model, batch_of("ein Hund"), "german"), units(x.mean(0, keepdim=True)))


def test_a_core_that_makes_no_vectors_of_what_is_given_says_so():
    gated = model_of(
        core=Transformer(n_layers=1, block=GatedCrossBlock, **SIZES),
        heads={"names": NextTokenHead(d_model=16, vocab_size=257)},
    )
    with pytest.raises(ValueError, match="'names' lets answers read what is given as the embedders made it"):
        embeddings(gated, batch_of("a"), "names")
    painter = model_of(heads={"digits": DenoisingHead(d_model=16, features=16)})
    with pytest.raises(ValueError, match="'digits' turns noise into pictures"):
        embeddings(painter, batch_of("a"), "digits")


def picture(seed):
    return torch.randint(0, 256, (1, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def predictor() -> Predictor:
    """A model that reads texts, pictures and sounds, each for a task of its own, and writes about pictures."""
    heads = {
        "mood": ClassificationHead(d_model=16, n_classes=2),
        "digits": ClassificationHead(d_model=16, n_classes=3),
        "words": ClassificationHead(d_model=16, n_classes=3),
        "names": NextTokenHead(d_model=16, vocab_size=257),
    }
    members = {
        "mood": Member(tokenizers={"text": TEXT}, labels=("bad", "good")),
        "digits": Member(tokenizers={"vision": VISION}, labels=("a", "b", "c")),
        "words": Member(tokenizers={"audio": AUDIO}, labels=("a", "b", "c")),
        "names": Member(tokenizers={"vision": VISION, "text": TEXT}, given=("vision",)),
    }
    return Predictor(model_of(heads=heads, rules={"names": Causal() | Prefix()}), members)


def sound(n):
    return torch.rand(n, generator=torch.Generator().manual_seed(n)) - 0.5


INPUTS = [picture(0), "a fine film", sound(900), "dull", picture(1), sound(500), ""]


def test_texts_pictures_and_sounds_have_vectors_that_depend_on_neither_order_nor_batches():
    found = predictor().embed(INPUTS)
    assert found.shape == (7, 16)
    close(found[:-1].norm(dim=-1), torch.ones(6))
    assert not found[-1].any()  # a text without tokens
    for size in (1, 2):
        close(predictor().embed(INPUTS, batch_size=size), found)
    close(predictor().embed(INPUTS[::-1]), found.flip(0))
    assert torch.unique(found, dim=0).shape == found.shape
    assert predictor().embed([]).shape == (0, 16)


def test_similarities_are_the_cosines_of_all_pairs():
    model = predictor()
    found = model.similarity(["good", "bad", "worse"], [picture(0), "good"])
    assert found.shape == (3, 2)
    close(found, torch.cosine_similarity(model.embed(["good", "bad", "worse"])[:, None],
                                         model.embed([picture(0), "good"])[None], dim=-1))  # fmt: skip
    assert float(found[0, 1]) == pytest.approx(1)


def test_what_is_given_to_a_task_that_writes_is_read_as_its_answers_read_it():
    model = predictor()
    batch = collate([Sample(id="it", pieces=[VISION(picture(0))], prefix=6)])
    x, _ = model.model.encode(batch, "names")
    close(model.embed([picture(0)], member="names"), units(x.mean(0, keepdim=True)))
    with pytest.raises(ValueError, match="input 0"):
        model.embed(["a caption"], member="names")


def test_a_task_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no task named 'poems'; this model has mood, digits, words, names"):
        predictor().embed(["a"], member="poems")


RECIPE = {
    "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2},
    "embedders": {
        "text": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": {"d_model": 16, "vocab_size": 257}}
    },
    "heads": {},
    "rules": {},
}


def test_a_model_without_heads_keeps_its_tokenizers_through_a_folder(tmp_path):
    bare = Predictor(build_model(RECIPE), {}, tokenizers={"text": TEXT})
    omniformer.save(tmp_path, bare, recipe=RECIPE)
    torch.testing.assert_close(omniformer.load(tmp_path).embed(TEXTS), bare.embed(TEXTS), rtol=0, atol=0)
    with pytest.raises(ValueError, match="this model has no tokenizer: its folder held no tokenizer files"):
        Predictor(build_model(RECIPE), {}).embed(["a"])


def published(kind, tmp_path):
    """A tiny model of the reference library in its folder, with a tokenizer."""
    transformers = pytest.importorskip("transformers")
    from twins import saved, shaken

    text = BPETokenizer(vocab_size=280).fit(["the film is fine, the film is dull " * 20])
    if kind == "gpt2":
        sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0}
        theirs = transformers.GPT2Model(transformers.GPT2Config(vocab_size=text.vocab_size, **sizes))
    else:
        sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
        theirs = transformers.BertModel(transformers.BertConfig(vocab_size=text.vocab_size, **sizes))
    theirs = shaken(theirs)
    folder = saved(theirs, tmp_path / "published")
    text.save_pretrained(folder)
    return theirs, text, folder


def mean_by_the_reference(theirs, ids):
    """The usual recipe: padding, the mask, the mean of `last_hidden_state` where tokens take part."""
    mask = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    padded = torch.zeros_like(mask)
    for row, each in enumerate(ids):
        padded[row, : len(each)], mask[row, : len(each)] = each, 1
    hidden = theirs(input_ids=padded, attention_mask=mask).last_hidden_state
    return units((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_against_the_padded_computation_of_the_reference_library(kind, tmp_path):
    theirs, text, folder = published(kind, tmp_path)
    sentences = ["the film is fine", "dull", "the film is dull, the film is fine, is the film dull"]
    with torch.no_grad():
        expected = mean_by_the_reference(theirs, [text(each).values for each in sentences])
    torch.testing.assert_close(omniformer.load(folder).embed(sentences), expected, rtol=1.3e-6, atol=1e-5)


def test_published_files_without_a_head_embed_too(tmp_path):
    transformers = pytest.importorskip("transformers")
    from twins import saved, shaken

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 40}
    config = transformers.ViTConfig(image_size=16, patch_size=4, **sizes)
    theirs = shaken(transformers.ViTModel(config, add_pooling_layer=False))
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(saved(theirs, tmp_path))
    images = [picture(seed).expand(3, 8, 12) for seed in range(3)]
    with torch.no_grad():
        hidden = theirs(**processor(images, return_tensors="pt")).last_hidden_state
    model = omniformer.load(tmp_path)
    assert not model.members
    torch.testing.assert_close(model.embed(images), units(hidden.mean(1)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.embed(images, pool="first"), units(hidden[:, 0]), rtol=1e-4, atol=1e-5)
