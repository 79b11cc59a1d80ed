import pytest

from omniformer.inspection.report import MEMORY_TOKENS, numbers, print_table

CORE = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 8, "n_layers": 2, "n_heads": 2}
PARTS = {
    "text": {"_target_": "omniformer.embedders.IdEmbedder", "vocab_size": 11},
    "head": {"_target_": "omniformer.heads.NextTokenHead", "vocab_size": 11},
    "classes": {"_target_": "omniformer.heads.ClassificationHead", "n_classes": 3},
}
CAUSAL = {"_target_": "omniformer.core.rules.Causal"}
CONFIG = {
    "core": CORE,
    "parts": PARTS,
    "ties": {"head.ids.weight": "text.table.weight"},
    "rule": CAUSAL,
    "seq_len": 10,
    "batch_size": 3,
    "dtype": "bfloat16",
}


def test_numbers_of_a_small_model_are_those_of_pencil_and_paper():
    found = numbers(CONFIG)
    layer = 3 * (8 * 8 + 8) + (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + 2 * 16
    assert found["parameters/core"] == 2 * layer + 16
    assert found["parameters/text"] == 88
    assert found["parameters/head"] == 0  # its table is the embedder's
    assert found["parameters"] == 2 * layer + 16 + 88 + 27
    assert found["weight_bytes"] == 2 * found["parameters"]
    assert found["training_bytes"] == 16 * found["parameters"]
    linear = 2 * 30 * 2 * 12 * 8 * 8
    attention = 2 * 4 * 8 * 3 * (10 * 11 // 2)
    assert found["flops/core"] == linear + attention
    assert found["flops"] == found["flops/core"] + 2 * 30 * 88 + 2 * 3 * 24  # logits of tokens, classes of samples
    assert found["training_flops"] == 3 * found["flops"]
    assert found["attention_bytes"] == 2 * 2 * 3 * 10 * 10 * 2
    assert found["cache_bytes_per_token"] == 2 * 2 * 8 * 2
    assert found["cache_bytes"] == 30 * 64


def test_a_window_bounds_the_cache_and_a_rule_both_ways_has_none():
    window = {"_target_": "omniformer.core.rules.Window", "left": 3, "right": 0}
    assert numbers(CONFIG | {"rule": window})["cache_bytes"] == 3 * 4 * 64
    assert "cache_bytes" not in numbers(CONFIG | {"rule": {"_target_": "omniformer.core.rules.Full"}})


def test_an_encoder_decoder_is_counted_over_what_it_reads_and_what_it_writes():
    side = {**CORE, "n_layers": 1}
    cross = {"_target_": "omniformer.core.block.CrossBlock", "_partial_": True}
    pair = {
        "_target_": "omniformer.core.encoder_decoder.EncoderDecoder",
        "encoder": side,
        "decoder": {**side, "block": cross},
    }
    found = numbers(CONFIG | {"core": pair, "target_len": 4})
    d, read, written = 8, 30, 12
    linear = 2 * read * 12 * d * d + 2 * (written * 14 * d * d + read * 2 * d * d)
    attention = 4 * d * 3 * (10 * 10 + 4 * 5 // 2 + 4 * 10)
    assert found["flops/core"] == linear + attention
    assert found["flops"] == found["flops/core"] + 2 * written * 88 + 2 * 3 * 24
    assert found["cache_bytes"] == written * 2 * d * 2


def test_towers_are_counted_each_over_its_own_tokens_and_under_its_own_rule():
    narrow = {**CORE, "d_model": 4, "n_layers": 1}
    towers = {
        "_target_": "omniformer.core.towers.Towers",
        "towers": [{**CORE, "n_layers": 1}, narrow],
        "rules": [{"_target_": f"omniformer.core.rules.{name}"} for name in ("Full", "Causal")],
    }
    full = {"_target_": "omniformer.core.rules.Full"}
    found = numbers(CONFIG | {"core": towers, "target_len": 4, "rule": full})
    linear = 2 * 30 * 12 * 8 * 8 + 2 * 12 * 12 * 4 * 4
    attention = 4 * 3 * (8 * 10 * 10 + 4 * (4 * 5 // 2))
    assert found["flops/core"] == linear + attention
    assert found["attention_layers"] == 2


def test_the_table_shows_the_published_number_and_the_gap(capsys):
    found = numbers(CONFIG)
    print_table(CONFIG | {"published": found["parameters"]}, found)
    assert "the same" in capsys.readouterr().out
    print_table(CONFIG | {"published": found["parameters"] + 5}, found)
    shown = capsys.readouterr().out
    assert "-5 here" in shown
    assert f"{found['flops']:,}" in shown


@pytest.mark.parametrize("active", [True, False])
def test_idle_experts_are_told_apart(active, capsys):
    experts = {"_target_": "omniformer.core.moe.MixtureOfExperts", "_partial_": True, "n_experts": 4}
    config = CONFIG | {"core": {**CORE, "feedforward": experts}} if active else CONFIG
    print_table(config, numbers(config))
    assert ("weights that a token uses" in capsys.readouterr().out) == active


def test_cross_attention_without_an_encoder_reads_sixteen_tokens_a_sample(capsys):
    cross = {"_target_": "omniformer.core.block.GatedCrossBlock", "_partial_": True, "every": 2}
    found = numbers(CONFIG | {"core": {**CORE, "block": cross}})
    d, read, memory = 8, 30, 3 * MEMORY_TOKENS
    alone = numbers(CONFIG)
    # One pair before the first of two layers: queries and the map back, keys and values, a feed-forward layer.
    linear = 2 * (read * 2 * d * d + memory * 2 * d * d + read * 8 * d * d)
    assert found["flops/core"] - alone["flops/core"] == linear + 4 * d * read * MEMORY_TOKENS
    assert found["memory_tokens"] == memory and "memory_tokens" not in alone
    assert found["cache_bytes_per_token"] == alone["cache_bytes_per_token"]
    print_table(CONFIG | {"core": {**CORE, "block": cross}}, found)
    assert "tokens that cross-attention reads" in capsys.readouterr().out


def test_a_core_that_a_condition_steers_gets_one_for_each_sample():
    norm = {"_target_": "omniformer.core.connection.AdaptiveNorm", "_partial_": True, "d_condition": 5}
    alone, steered = numbers(CONFIG), numbers(CONFIG | {"core": {**CORE, "connection": norm}})
    # Two branches in each of two layers map the condition of each of three samples to scale, shift and gate.
    assert steered["flops/core"] - alone["flops/core"] == 2 * 4 * 3 * 5 * 3 * 8


def test_a_condition_steers_the_decoder_of_a_pair():
    side = {**CORE, "n_layers": 1}
    cross = {"_target_": "omniformer.core.block.CrossBlock", "_partial_": True}
    norm = {"_target_": "omniformer.core.connection.AdaptiveNorm", "_partial_": True, "d_condition": 5}
    target = "omniformer.core.encoder_decoder.EncoderDecoder"
    plain, steered = (
        numbers(CONFIG | {"core": {"_target_": target, "encoder": side, "decoder": {**side, "block": cross, **more}}})
        for more in ({}, {"connection": norm})
    )
    assert steered["flops/core"] - plain["flops/core"] == 2 * 3 * 3 * 5 * 3 * 8
