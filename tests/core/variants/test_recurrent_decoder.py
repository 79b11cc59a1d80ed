import pytest
import torch

from omniformer.core.cache import KVCache
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal, Full
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import AdditiveReader, LastReader, RecurrentDecoder

SOURCE, TARGET = Layout.from_lengths(4, 1, 0, 6), Layout.from_lengths(3, 5, 2, 0)
CELLS = pytest.mark.parametrize("cell", ["lstm", "gru"])


def written_out(decoder, x, memory):
    """The paper's equations for one sample, one token after the other."""
    hidden = torch.tanh(decoder.first(memory.mean(0)))
    cell_state = torch.zeros(8)
    outs = []
    for token in x:
        if isinstance(decoder.reader, AdditiveReader):
            reader = decoder.reader
            scores = torch.stack([reader.score(torch.tanh(reader.query(hidden) + reader.key(h)))[0] for h in memory])
            read = scores.softmax(0) @ memory
        else:
            read = memory[-1]
        both = torch.cat([token, read])
        if isinstance(decoder.cell, torch.nn.LSTMCell):
            hidden, cell_state = decoder.cell(both, (hidden, cell_state))
        else:
            hidden = decoder.cell(both, hidden)
        outs.append(decoder.out(torch.cat([hidden, read])))
    return torch.stack(outs)


@CELLS
@pytest.mark.parametrize("reader", [AdditiveReader, LastReader])
def test_ragged_batches_equal_the_equations_written_out(cell, reader):
    torch.manual_seed(0)
    decoder = RecurrentDecoder(d_model=8, cell=cell, reader=reader)
    source, target = torch.randn(11, 8), torch.randn(10, 8)
    out = decoder(target, TARGET, Causal(), memory=Memory(x=source, layout=SOURCE))
    torch.testing.assert_close(out[:3], written_out(decoder, target[:3], source[:4]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out[3:8], written_out(decoder, target[3:8], source[4:5]), rtol=1e-5, atol=1e-6)
    assert out[8:].isfinite().all()  # an empty source adds nothing


def test_alignment_weights_are_a_distribution_over_the_source():
    decoder = RecurrentDecoder(d_model=8)
    stages = {}
    decoder(torch.randn(10, 8), TARGET, memory=Memory(x=torch.randn(11, 8), layout=SOURCE), stages=stages)
    alignment = stages["alignment"]
    assert alignment.shape == (10, 6)
    torch.testing.assert_close(alignment.sum(1), torch.tensor([1.0] * 8 + [0.0] * 2))
    assert torch.equal(alignment[:3, 4:], torch.zeros(3, 2))
    torch.testing.assert_close(alignment[3:8, 0], torch.ones(5))


@CELLS
def test_a_sample_changes_no_bit_of_its_neighbours_even_when_it_is_nan(cell):
    decoder = RecurrentDecoder(d_model=8, cell=cell)
    source, target = torch.randn(11, 8), torch.randn(10, 8)
    bad_source, bad_target = source.clone(), target.clone()
    bad_source[4:5], bad_target[3:8] = torch.nan, torch.nan
    before = decoder(target, TARGET, memory=Memory(x=source, layout=SOURCE))
    after = decoder(bad_target, TARGET, memory=Memory(x=bad_source, layout=SOURCE))
    assert torch.equal(before[:3], after[:3])
    assert torch.equal(before[8:], after[8:])


@CELLS
@torch.no_grad()
def test_translation_step_by_step_equals_one_pass_even_after_beams_change(cell):
    torch.manual_seed(1)
    encoder = Recurrent(d_model=8, n_layers=1, cell=cell, bidirectional=True)
    model = EncoderDecoder(encoder=encoder, decoder=RecurrentDecoder(d_model=8, cell=cell))
    source_layout = Layout.from_lengths(4, 6)
    source, a, b = torch.randn(10, 8), torch.randn(5, 8), torch.randn(5, 8)
    right = model(source, source_layout, torch.cat([a, b]), Layout.from_lengths(5, 5), source_rule=Full()).split([5, 5])
    memory = model.encode(source, source_layout)
    cache = KVCache(n_layers=1, n_samples=2)
    layout, _ = cache.extend(torch.tensor([2, 3]))
    out = model.decode(torch.cat([a[:2], b[:3]]), layout, memory, cache=cache)
    torch.testing.assert_close(out, torch.cat([right[0][:2], right[1][:3]]), rtol=1e-5, atol=1e-6)
    cache.reorder(torch.tensor([1, 0, 1]))
    layout, _ = cache.extend(torch.tensor([1, 2, 2]))
    out = model.decode(torch.cat([b[3:4], a[2:4], b[3:5]]), layout, cache=cache)
    torch.testing.assert_close(out, torch.cat([right[1][3:4], right[0][2:4], right[1][3:5]]), rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_weight():
    decoder = RecurrentDecoder(d_model=8)
    source = torch.randn(11, 8, requires_grad=True)
    decoder(torch.randn(10, 8), TARGET, memory=Memory(x=source, layout=SOURCE)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())
    assert source.grad[:5].abs().sum() > 0
    assert torch.equal(source.grad[5:], torch.zeros(6, 8))  # its reader has no tokens


@pytest.mark.slow
def test_attention_learns_to_copy_a_sequence_that_one_vector_cannot_hold():
    """Bahdanau's point in small: reading token t of a random source asks for alignment."""
    torch.manual_seed(2)
    layout = Layout(lengths=torch.full((16,), 12))
    positions = torch.nn.functional.one_hot(torch.arange(12), 16).float().repeat(16, 1) * 3

    def loss_after_training(reader):
        torch.manual_seed(3)
        decoder = RecurrentDecoder(d_model=16, reader=reader)
        optimizer = torch.optim.Adam(decoder.parameters(), lr=2e-2)
        for _ in range(150):
            source = positions.clone()
            bits = torch.randint(0, 2, (192,)).float()
            source[:, 15] = bits
            out = decoder(positions, layout, memory=Memory(x=source, layout=layout))[:, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(out, bits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    with_attention, without = loss_after_training(AdditiveReader), loss_after_training(LastReader)
    assert with_attention < 0.2
    assert without > 0.5


def test_a_missing_or_unfitting_memory_is_refused():
    decoder = RecurrentDecoder(d_model=8)
    with pytest.raises(ValueError, match="reads a memory and no condition"):
        decoder(torch.randn(10, 8), TARGET)
    with pytest.raises(ValueError, match="the memory has 2 samples, the target 4"):
        decoder(torch.randn(10, 8), TARGET, memory=Memory(x=torch.randn(3, 8), layout=Layout.from_lengths(1, 2)))
    with pytest.raises(ValueError, match=r"reads every token of its sample, which Causal\(\) forbids"):
        decoder(torch.randn(10, 8), TARGET, memory=Memory(x=torch.randn(11, 8), layout=SOURCE, rule=Causal()))
