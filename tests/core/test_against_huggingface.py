"""The core beside published families, as Hugging Face transformers writes them: tiny random twins with copied weights,
ragged batches, outputs and gradients of inputs and weights."""

import math
from functools import partial

import pytest
import torch

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi, T5Buckets
from omniformer.core.block import Block, CrossBlock, ParallelBlock
from omniformer.core.connection import SandwichNorm
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import LayerNorm, RMSNorm
from omniformer.core.positions import Learned
from omniformer.core.rotary import Rotary
from omniformer.core.rotary_scaling import LinearScaling, Llama3Scaling, YaRN
from omniformer.core.rules import Causal, Window
from omniformer.core.scores import SoftCap
from omniformer.core.transformer import Transformer

transformers = pytest.importorskip("transformers")

LENGTHS = (7, 2, 12)
WIDTH, HEADS, KV_HEADS, LAYERS, FF = 32, 4, 2, 2, 48


def tokens(lengths=LENGTHS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), WIDTH, generator=generator)
    return Layout.from_lengths(*lengths), x.requires_grad_()


def shake(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + (parameter.ndim == 1))
    return model.eval()


def valid(layout):
    return torch.arange(int(layout.lengths.max())) < layout.lengths[:, None]


def run(model, layout, x, **others):
    """Their model on the padded form of the same tokens, packed again; and the input it read."""
    leaf = x.detach().clone().requires_grad_()
    out = model(inputs_embeds=layout.pad(leaf), attention_mask=valid(layout).long(), use_cache=False, **others)
    return out.last_hidden_state[valid(layout)], leaf


def compare(ours, theirs, parameters):
    torch.testing.assert_close(ours, theirs, rtol=1.3e-6, atol=1e-5)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2)) / math.sqrt(len(ours))
    mine, yours = zip(*parameters, strict=True)
    gradients = torch.autograd.grad((ours * weights).sum(), mine)
    for gradient, expected in zip(gradients, torch.autograd.grad((theirs * weights).sum(), yours), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def put(linear, *theirs):
    """Copies one or several of their linear maps, one below the other, into one of ours."""
    with torch.no_grad():
        linear.weight.copy_(torch.cat([each.weight for each in theirs]))
        if linear.bias is not None:
            linear.bias.copy_(torch.cat([each.bias for each in theirs]))


def llama_family(theirs, **parts):
    """Our core with the weights of a LLaMA-like model."""
    core = Transformer(
        d_model=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        n_kv_heads=KV_HEADS,
        norm=RMSNorm,
        **{
            "attention": partial(SelfAttention, bias=False),
            "feedforward": partial(GatedFeedForward, d_ff=FF),
            "rotary": Rotary,
            **parts,
        },
    )
    for block, their in zip(core.blocks, theirs.layers, strict=True):
        attention = their.self_attn
        put(block.attention.branch.qkv, attention.q_proj, attention.k_proj, attention.v_proj)
        put(block.attention.branch.out, attention.o_proj)
        block.attention.norm.load_state_dict(their.input_layernorm.state_dict())
        block.feedforward.norm.load_state_dict(their.post_attention_layernorm.state_dict())
        if isinstance(block.feedforward.branch, GatedFeedForward):
            put(block.feedforward.branch.gate_up, their.mlp.gate_proj, their.mlp.up_proj)
            put(block.feedforward.branch.down, their.mlp.down_proj)
    core.norm.load_state_dict(theirs.norm.state_dict())
    return core


def sizes(**others):
    return {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": FF,
        "vocab_size": 11,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 64,
        "rope_parameters": {"rope_theta": 10_000.0, "rope_type": "default"},
        **others,
    }


@pytest.mark.parametrize(
    ("parameters", "scaling"),
    [
        ({"rope_type": "default"}, None),
        ({"rope_type": "linear", "factor": 4.0}, LinearScaling(factor=4.0)),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
            YaRN(factor=4.0, original_seq_len=16),
        ),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "original_max_position_embeddings": 16,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
            },
            Llama3Scaling(factor=8.0, original_seq_len=16),
        ),
    ],
    ids=["default", "linear", "yarn", "llama3"],
)
def test_llama_with_its_rotary_scalings(parameters, scaling):
    config = transformers.LlamaConfig(**sizes(rope_parameters={"rope_theta": 100.0, **parameters}))
    theirs = shake(transformers.LlamaModel(config))
    core = llama_family(theirs, rotary=partial(Rotary, base=100.0, scaling=scaling))
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    down = (core.blocks[0].feedforward.branch.down.weight, theirs.layers[0].mlp.down_proj.weight)
    compare(core(x, layout, Causal()), expected, [(x, y), down])


def test_mistral_with_its_sliding_window():
    config = transformers.MistralConfig(**sizes(sliding_window=4, head_dim=WIDTH // HEADS))
    theirs = shake(transformers.MistralModel(config))
    core = llama_family(theirs)
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    # Their window counts the token itself.
    compare(core(x, layout, Causal() & Window(left=3)), expected, [(x, y)])
    assert not torch.allclose(core(x, layout, Causal()), expected, atol=1e-3)


def test_mixtral_with_its_routing_and_load_balance_loss():
    config = transformers.MixtralConfig(**sizes(num_local_experts=4, num_experts_per_tok=2, sliding_window=None))
    theirs = shake(transformers.MixtralModel(config))
    moe = partial(MixtureOfExperts, n_experts=4, top_k=2, d_ff=FF, load_balance=1.0, router_z=1.0)
    core = llama_family(theirs, feedforward=moe)
    with torch.no_grad():
        for block, their in zip(core.blocks, theirs.layers, strict=True):
            block.feedforward.branch.router.weight.copy_(their.mlp.gate.weight)
            block.feedforward.branch.gate_up.copy_(their.mlp.experts.gate_up_proj)
            block.feedforward.branch.down.copy_(their.mlp.experts.down_proj)
    layout, x = tokens()
    logits = []
    for layer in theirs.layers:
        layer.mlp.gate.register_forward_hook(lambda module, inputs, output: logits.append(output[0]))
    expected, y = run(theirs, layout, x)
    losses = {}
    out = core(x, layout, Causal(), losses=losses)
    router = (core.blocks[0].feedforward.branch.router.weight, theirs.layers[0].mlp.gate.weight)
    compare(out, expected, [(x, y), router])
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    mask = valid(layout).long()
    each = [load_balancing_loss_func((layer,), 4, 2, mask) for layer in logits]
    # Theirs counts top_k choices of a token as top_k, ours as shares of one.
    torch.testing.assert_close(losses["load_balance"], torch.stack(each).mean() / 2)
    flat = mask.flatten().bool()
    z = torch.stack([layer[flat].logsumexp(-1).square().mean() for layer in logits]).mean()
    torch.testing.assert_close(losses["router_z"], z)


def test_gpt2():
    config = transformers.GPT2Config(
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=16,
        vocab_size=11,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    theirs = shake(transformers.GPT2Model(config))
    core = Transformer(
        d_model=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        feedforward=partial(FeedForward, activation="gelu_tanh"),
        norm=LayerNorm,
    )
    position = Learned(d_model=WIDTH, sizes=[16])
    with torch.no_grad():
        position.table.copy_(theirs.wpe.weight)
        for block, their in zip(core.blocks, theirs.h, strict=True):
            attention, feedforward = block.attention.branch, block.feedforward.branch
            for ours, conv in (
                (attention.qkv, their.attn.c_attn),
                (attention.out, their.attn.c_proj),
                (feedforward.up, their.mlp.c_fc),
                (feedforward.down, their.mlp.c_proj),
            ):
                ours.weight.copy_(conv.weight.T)
                ours.bias.copy_(conv.bias)
            block.attention.norm.load_state_dict(their.ln_1.state_dict())
            block.feedforward.norm.load_state_dict(their.ln_2.state_dict())
        core.norm.load_state_dict(theirs.ln_f.state_dict())
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    out = core(x + position(layout.index[:, None].float()), layout, Causal())
    up = (core.blocks[1].feedforward.branch.up.bias, theirs.h[1].mlp.c_fc.bias)
    compare(out, expected, [(x, y), (position.table, theirs.wpe.weight), up])


def test_bloom_with_alibi():
    config = transformers.BloomConfig(
        hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, vocab_size=11, hidden_dropout=0.0, attention_dropout=0.0
    )
    theirs = shake(transformers.BloomModel(config))
    core = Transformer(
        d_model=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        pair_bias=ALiBi,
        feedforward=partial(FeedForward, activation="gelu_tanh"),
    )
    for block, their in zip(core.blocks, theirs.h, strict=True):
        attention, fused = block.attention.branch, their.self_attention.query_key_value
        with torch.no_grad():
            # Theirs lie head by head, (query, key, value) within a head.
            weight = fused.weight.view(HEADS, 3, -1, WIDTH).transpose(0, 1)
            attention.qkv.weight.copy_(weight.reshape(-1, WIDTH))
            attention.qkv.bias.copy_(fused.bias.view(HEADS, 3, -1).transpose(0, 1).flatten())
        put(attention.out, their.self_attention.dense)
        put(block.feedforward.branch.up, their.mlp.dense_h_to_4h)
        put(block.feedforward.branch.down, their.mlp.dense_4h_to_h)
        block.attention.norm.load_state_dict(their.input_layernorm.state_dict())
        block.feedforward.norm.load_state_dict(their.post_attention_layernorm.state_dict())
    core.norm.load_state_dict(theirs.ln_f.state_dict())
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    out = core(theirs.word_embeddings_layernorm(x), layout, Causal())
    compare(out, expected, [(x, y)])


@pytest.mark.parametrize("n_heads", [1, 4, 6, 12])
def test_alibi_slopes_equal_bloom(n_heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    theirs = build_alibi_tensor(torch.ones(1, 9, dtype=torch.long), n_heads, torch.float32)
    layout = Layout.from_lengths(9)
    ours = ALiBi(n_heads=n_heads)(layout.view()[:, None], layout.view()[None, :])
    # Theirs differs by a constant for each query, which the softmax takes out.
    allowed = Causal().mask(layout)
    pairs = [(bias.masked_fill(~allowed, -torch.inf)).softmax(-1) for bias in (ours, theirs.expand(-1, 9, -1))]
    torch.testing.assert_close(*pairs)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_t5_buckets_equal_t5(bidirectional):
    from transformers.models.t5.modeling_t5 import T5Attention

    offsets = torch.arange(-300, 301)
    ours = T5Buckets(n_heads=2, bidirectional=bidirectional)
    theirs = T5Attention._relative_position_bucket(offsets, bidirectional=bidirectional)
    assert torch.equal(ours.bucket(offsets), theirs)


def test_t5_encoder_and_decoder():
    config = transformers.T5Config(
        d_model=WIDTH, d_kv=WIDTH // HEADS, d_ff=FF, num_layers=LAYERS, num_heads=HEADS, vocab_size=11, dropout_rate=0.0
    )
    theirs = shake(transformers.T5Model(config))

    def stack(their, block, bidirectional):
        core = Transformer(
            d_model=WIDTH,
            n_layers=LAYERS,
            n_heads=HEADS,
            attention=partial(SelfAttention, bias=False, scale=1.0),
            feedforward=partial(FeedForward, d_ff=FF, activation="relu", bias=False),
            norm=RMSNorm,
            block=block,
            pair_bias=partial(T5Buckets, bidirectional=bidirectional),
        )
        with torch.no_grad():
            core.pair_bias.table.copy_(their.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
        for ours, layer in zip(core.blocks, their.block, strict=True):
            attention = layer.layer[0].SelfAttention
            put(ours.attention.branch.qkv, attention.q, attention.k, attention.v)
            put(ours.attention.branch.out, attention.o)
            ours.attention.norm.load_state_dict(layer.layer[0].layer_norm.state_dict())
            if len(layer.layer) == 3:
                cross = layer.layer[1].EncDecAttention
                put(ours.cross.branch.q, cross.q)
                put(ours.cross.branch.kv, cross.k, cross.v)
                put(ours.cross.branch.out, cross.o)
                ours.cross.norm.load_state_dict(layer.layer[1].layer_norm.state_dict())
            put(ours.feedforward.branch.up, layer.layer[-1].DenseReluDense.wi)
            put(ours.feedforward.branch.down, layer.layer[-1].DenseReluDense.wo)
            ours.feedforward.norm.load_state_dict(layer.layer[-1].layer_norm.state_dict())
        core.norm.load_state_dict(their.final_layer_norm.state_dict())
        return core

    cross = partial(CrossBlock, cross=partial(CrossAttention, bias=False, scale=1.0))
    ours = EncoderDecoder(
        encoder=stack(theirs.encoder, Block, True),
        decoder=stack(theirs.decoder, cross, False),
    )
    source_layout, source = tokens()
    layout, target = tokens((4, 6, 1), seed=3)
    leaves = [each.detach().clone().requires_grad_() for each in (source, target)]
    expected = theirs(
        inputs_embeds=source_layout.pad(leaves[0]),
        attention_mask=valid(source_layout).long(),
        decoder_inputs_embeds=layout.pad(leaves[1]),
        decoder_attention_mask=valid(layout).long(),
        use_cache=False,
    ).last_hidden_state[valid(layout)]
    out = ours(source, source_layout, target, layout)
    table = theirs.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    compare(out, expected, [(source, leaves[0]), (target, leaves[1]), (ours.decoder.pair_bias.table, table)])


def test_resized_positions_equal_vit():
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=12, patch_size=3
    )
    from transformers.models.vit.modeling_vit import ViTEmbeddings

    theirs = ViTEmbeddings(config)
    with torch.no_grad():
        theirs.position_embeddings.normal_()
    position = Learned(d_model=8, sizes=[4, 4])
    with torch.no_grad():
        position.table.copy_(theirs.position_embeddings[0, 1:].view(4, 4, 8))
    expected = theirs.interpolate_pos_encoding(torch.zeros(1, 36, 8), 18, 15)[0, 1:]
    torch.testing.assert_close(position.resized(6, 5).table.view(-1, 8), expected)


def test_qwen3_with_normalised_queries_and_keys():
    config = transformers.Qwen3Config(**sizes(head_dim=12))
    theirs = shake(transformers.Qwen3Model(config))
    attention = partial(SelfAttention, bias=False, head_dim=12, qk_norm=RMSNorm)
    core = llama_family(theirs, attention=attention)
    for block, their in zip(core.blocks, theirs.layers, strict=True):
        block.attention.branch.q_norm.load_state_dict(their.self_attn.q_norm.state_dict())
        block.attention.branch.k_norm.load_state_dict(their.self_attn.k_norm.state_dict())
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    gain = (core.blocks[0].attention.branch.q_norm.weight, theirs.layers[0].self_attn.q_norm.weight)
    compare(core(x, layout, Causal()), expected, [(x, y), gain])


def test_gemma2_with_soft_cap_sandwich_norm_and_scale():
    options = {"query_pre_attn_scalar": 5, "attn_logit_softcapping": 2.0, "layer_types": ["full_attention"] * LAYERS}
    config = transformers.Gemma2Config(**sizes(head_dim=WIDTH // HEADS, attn_implementation="eager", **options))
    theirs = shake(transformers.Gemma2Model(config))
    attention = partial(SelfAttention, bias=False, score=SoftCap(cap=2.0), scale=5**-0.5)
    feedforward = partial(GatedFeedForward, d_ff=FF, activation="gelu_tanh")
    core = llama_family(theirs, attention=attention, feedforward=feedforward, connection=SandwichNorm)
    for block, their in zip(core.blocks, theirs.layers, strict=True):
        block.attention.norm_out.load_state_dict(their.post_attention_layernorm.state_dict())
        block.feedforward.norm.load_state_dict(their.pre_feedforward_layernorm.state_dict())
        block.feedforward.norm_out.load_state_dict(their.post_feedforward_layernorm.state_dict())
    # Their gain is one plus the weight.
    with torch.no_grad():
        for module in core.modules():
            if isinstance(module, RMSNorm):
                module.weight += 1
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    compare(core(x, layout, Causal()), expected, [(x, y)])


def test_gptj_with_parallel_blocks_and_rotary_on_a_part_of_each_head():
    rotated = 4
    config = transformers.GPTJConfig(
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=16,
        vocab_size=11,
        rotary_dim=rotated,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    theirs = shake(transformers.GPTJModel(config))
    core = Transformer(
        d_model=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        block=ParallelBlock,
        attention=partial(SelfAttention, bias=False),
        feedforward=partial(FeedForward, activation="gelu_tanh"),
        rotary=partial(Rotary, rotated=rotated),
    )
    # Theirs turns features 2i and 2i + 1 together, ours i and i + rotated / 2.
    order = torch.cat([torch.arange(0, rotated, 2), torch.arange(1, rotated, 2), torch.arange(rotated, WIDTH // HEADS)])
    for block, their in zip(core.blocks, theirs.h, strict=True):
        both, heads = block.both.branch, (HEADS, WIDTH // HEADS, WIDTH)
        q, k = (linear.weight.view(heads)[:, order].flatten(0, 1) for linear in (their.attn.q_proj, their.attn.k_proj))
        with torch.no_grad():
            both.attention.qkv.weight.copy_(torch.cat([q, k, their.attn.v_proj.weight]))
        put(both.attention.out, their.attn.out_proj)
        put(both.feedforward.up, their.mlp.fc_in)
        put(both.feedforward.down, their.mlp.fc_out)
        block.both.norm.load_state_dict(their.ln_1.state_dict())
    core.norm.load_state_dict(theirs.ln_f.state_dict())
    layout, x = tokens()
    expected, y = run(theirs, layout, x)
    compare(core(x, layout, Causal()), expected, [(x, y)])
