"""Rotary positions as `config.json` describes them; beside the reference library they stand in test_llama.py."""

import pytest

from omniformer.pretrained.families.rotary import rotary_of


def test_old_and_new_words_give_one_description():
    new = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}}
    old = {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    assert rotary_of(new) == rotary_of(old)


@pytest.mark.parametrize("config", [{}, {"rope_scaling": None}, {"rope_parameters": {"rope_type": "default"}}])
def test_a_file_that_says_nothing_has_the_familys_base_and_no_scaling(config):
    described = rotary_of(config, base=7.0)
    assert described["base"] == 7.0 and "scaling" not in described


def test_yarn_without_a_factor_takes_the_growth_of_the_context():
    given = {"rope_type": "yarn", "original_max_position_embeddings": 8}
    described = rotary_of({"max_position_embeddings": 32, "rope_scaling": given})
    assert described["scaling"]["factor"] == 4.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"rope_type": "spiral", "factor": 2.0},
            "'spiral'; accepted: default, linear, dynamic, llama3, yarn, longrope",
        ),
        ({"rope_type": "longrope", "factor": 2.0}, "'longrope' and lacks its short_factor"),
        ({"type": "linear"}, "'linear' and lacks its factor"),
        ({"rope_type": "llama3", "factor": 2.0}, "'llama3' and lacks its low_freq_factor"),
        ({"full_attention": {"rope_type": "default"}}, "accepted: one table of numbers for all layers"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5; accepted: 1"),
    ],
)
def test_what_the_core_does_not_compute_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        rotary_of({"rope_scaling": given, "max_position_embeddings": 16})
