import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, framed

from omniformer.batch import Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.joining import join
from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Prefix
from omniformer.core.transformer import Transformer
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import RecurrentDecoder
from omniformer.embedders import IdEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.inspection.alignment import alignment, alignment_maps
from omniformer.inspection.maps import attention_maps
from omniformer.model import OmniFormer

TEXT = ByteTokenizer()


def batch_of(*pairs):
    """Samples that are given one text and answer with another."""
    return collate(
        [
            Sample(id=f"{given}-{answer}", pieces=[TEXT(given)], answer=[framed(TEXT(answer), start=256, stop=256)])
            for given, answer in pairs
        ]
    )


BATCH = batch_of(("abcd", "xy"), ("", "xyz"), ("abcdef", ""))


def model_of(core, rule=None):
    model = OmniFormer(
        core=core,
        embedders={"text": IdEmbedder(d_model=16, vocab_size=257)},
        heads={
            "text": NextTokenHead(d_model=16, vocab_size=257),
            "classes": ClassificationHead(d_model=16, n_classes=2),
        },
        rules={"text": rule or Causal()},
    )
    return model.eval()


def translator(n_layers=2, **options):
    torch.manual_seed(0)
    encoder = Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.5)
    decoder = Transformer(
        d_model=16, n_layers=n_layers, n_heads=4, n_kv_heads=2, block=CrossBlock, init_std=0.5, **options
    )
    return model_of(EncoderDecoder(encoder=encoder, decoder=decoder))


def one_sequence():
    torch.manual_seed(0)
    core = Transformer(d_model=16, n_layers=2, n_heads=4, init_std=0.5, rotary=Rotary)
    return model_of(core, Causal() | Prefix())


def recurrent():
    torch.manual_seed(0)
    encoder = Recurrent(d_model=16, n_layers=1, cell="gru", bidirectional=True)
    return model_of(EncoderDecoder(encoder=encoder, decoder=RecurrentDecoder(d_model=16)))


def test_each_answer_token_gives_all_its_weight_to_the_memory_and_none_where_there_is_none():
    maps = alignment_maps(translator(), "text", BATCH)
    assert [[tuple(weights.shape) for weights in layer] for layer in maps] == 2 * [[(4, 4, 4), (4, 5, 0), (4, 2, 6)]]
    for layer in maps:
        for weights in (layer[0], layer[2]):
            torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))
    assert [tuple(rows.shape) for rows in alignment(translator(), "text", BATCH)] == [(4, 4), (5, 0), (2, 6)]


def test_the_weights_are_the_softmax_that_one_would_compute_by_hand():
    model = translator(n_layers=1)
    cross = model.core.decoder.blocks[0].cross.branch
    seen = []
    handle = cross.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    (found,) = alignment_maps(model, "text", BATCH)
    handle.remove()
    memory = model.memory(BATCH).x
    for sample, (written, given) in enumerate(zip((slice(0, 4), slice(4, 9), slice(9, 11)), (4, 0, 6), strict=True)):
        if not given:
            continue
        start = 0 if sample == 0 else 4
        q = cross.q(seen[0][written]).unflatten(-1, (4, 4))
        k = cross.kv(memory[start : start + given]).unflatten(-1, (4, 4))[:, :2].repeat_interleave(2, dim=1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / 4**0.5
        torch.testing.assert_close(found[sample], scores.softmax(-1))


def test_a_prefix_gets_the_part_of_self_attention_that_goes_to_it():
    model = one_sequence()
    given, first = model.embed(BATCH)
    maps = alignment_maps(model, "text", BATCH)
    # The answer's coordinates go on behind the text that is given.
    answer = BATCH.answer.parts["text"]
    positions = answer.positions + torch.repeat_interleave(BATCH.counts["text"], answer.lengths)[:, None]
    written = model.embedders["text"](answer)
    joined = join(first, Layout(lengths=answer.lengths, positions=positions, modality=torch.zeros(11).long()))
    whole = attention_maps(model.core, joined.tokens(given, written), joined.layout, model.rule("text"))
    for layer, full in zip(maps, whole, strict=True):
        for weights, square, n in zip(layer, full, (4, 0, 6), strict=True):
            torch.testing.assert_close(weights, square[:, n:, :n])
    shares = alignment(model, "text", BATCH)[0].sum(-1)
    assert ((shares > 0) & (shares < 1)).all()
    first_row = maps[0][0][:, 0]  # the start id reads what is given and itself
    assert torch.allclose(first_row.sum(-1) + whole[0][0][:, 4, 4], torch.ones(4))


def test_a_recurrent_decoder_shows_what_its_reader_read():
    model, stages = recurrent(), {}
    with torch.no_grad():
        model.decode(BATCH, "text", stages=stages)
    found = alignment(model, "text", BATCH)
    assert [tuple(rows.shape) for rows in found] == [(4, 4), (5, 0), (2, 6)]
    for rows, expected in zip(found, stages["alignment"].split([4, 5, 2]), strict=True):
        assert torch.equal(rows, expected[:, : rows.shape[1]])
    torch.testing.assert_close(found[2].sum(-1), torch.ones(2))


def test_a_layer_and_a_head_can_be_picked_and_the_mean_of_all_is_the_default():
    model = translator()
    maps = alignment_maps(model, "text", BATCH)
    assert torch.equal(alignment(model, "text", BATCH, layer=1, attention_head=3)[0], maps[1][0][3])
    torch.testing.assert_close(alignment(model, "text", BATCH, layer=0)[0], maps[0][0].mean(0))
    both = torch.stack([maps[0][2], maps[1][2]])
    torch.testing.assert_close(alignment(model, "text", BATCH)[2], both.mean((0, 1)))
    torch.testing.assert_close(alignment(model, "text", BATCH, attention_head=2)[2], both.mean(0)[2])


def test_looking_changes_nothing_and_leaves_nothing_behind():
    model = translator()
    with torch.no_grad():
        before, _ = model.decode(BATCH, "text")
        alignment(model, "text", BATCH)
        after, _ = model.decode(BATCH, "text")
    assert torch.equal(before, after)
    assert not any(part._forward_pre_hooks for part in model.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, "layer: received 2, accepted 0 to 1, the layers that read what is given"),
        ({"attention_head": -1}, "attention_head: received -1, accepted 0 to 3, the heads"),
    ],
)
def test_a_layer_or_head_that_is_not_there_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        alignment(translator(), "text", BATCH, **options)


def test_what_cannot_be_shown_is_told():
    with pytest.raises(ValueError, match="'classes' writes no answers; heads of this model that do: text"):
        alignment(translator(), "classes", BATCH)
    silent = collate([Sample(id="a", pieces=[TEXT("ab")])])
    with pytest.raises(ValueError, match="samples 'a' have no answer"):
        alignment(translator(), "text", silent)
    torch.manual_seed(0)
    network = model_of(Recurrent(d_model=16, n_layers=1, cell="gru"))
    with pytest.raises(ValueError, match="Recurrent computes no attention weights"):
        alignment(network, "text", BATCH)
    linear = model_of(Transformer(d_model=16, n_layers=1, n_heads=2, attention=LinearAttention))
    with pytest.raises(ValueError, match="Transformer computes no attention weights"):
        alignment(linear, "text", BATCH)
