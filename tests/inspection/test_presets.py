"""Published families, composed from `conf/` as `python -m omniformer.inspect core=<name>` does."""

import re
import subprocess
import sys

import pytest
import yaml

from omniformer.config.folder import conf_dir
from omniformer.inspect import main
from omniformer.inspection.cost import parameters
from omniformer.inspection.whole import build_on_meta

# Published numbers, or those of published files (docs/cost.md); the two of 2017 and GPT-3 are rounded in their papers.
EXACT = {
    "gpt2_small": 124_439_808,
    "bert_base": 109_482_240,
    "bert_large": 335_141_888,
    "roberta_base": 124_645_632,
    "vit_b16": 86_567_656,
    "vit_l16": 304_326_632,
    "t5_small": 60_506_624,
    "t5_v1_1_small": 76_961_152,
    "bart_base": 139_420_416,
    "bart_large": 406_291_456,
    "opus_mt": 73_886_208,
    "whisper_tiny": 37_760_640,
    "wav2vec2_base": 94_396_320,
    "clip_vit_b32": 151_277_313,
    "siglip_b16": 203_155_970,
    "beit_base": 86_530_984,
    "deit_small": 22_436_432,
    "ast_base": 86_594_063,
    "llama2_7b": 6_738_415_616,
    "mistral_7b": 7_241_732_096,
    # As the reference library counts the published configurations: see tests/pretrained/test_counts.py.
    "llama3_8b": 8_030_261_248,
    "mixtral_8x7b": 46_702_792_704,
    "qwen2_0_5b": 494_032_768,
    "qwen2_5_vl_3b": 3_754_622_976,
    "smolvlm_256m": 256_484_928,
    "qwen3_0_6b": 596_049_920,
    "gemma2_2b": 2_614_341_888,
    "gemma3_1b": 999_885_952,
    "smollm3_3b": 3_075_098_624,
    "qwen3_30b_a3b": 30_532_122_624,
    "gpt_oss_20b": 20_914_757_184,
    "olmo3_7b": 7_298_011_136,
    "modernbert_base": 149_014_272,
    "dinov2_base": 86_580_480,
    "deberta_v3_base": 183_831_552,
    "mamba_codestral_7b": 7_285_403_648,
}
ROUNDED = {"transformer_base": 65e6, "transformer_big": 213e6, "gpt3_175b": 175e9}


def counted(name, capsys):
    """The weights of a whole family, from the description that `--cfg job` prints."""
    main([f"core={name}", "--cfg", "job"])
    return parameters(build_on_meta(yaml.safe_load(capsys.readouterr().out)))


@pytest.mark.quick(6)
@pytest.mark.parametrize("name", EXACT)
def test_the_count_of_a_published_model_is_exact(name, capsys):
    assert counted(name, capsys) == EXACT[name]


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ROUNDED)
def test_the_count_of_a_model_whose_paper_rounds_is_near(name, capsys):
    assert counted(name, capsys) == pytest.approx(ROUNDED[name], rel=0.03)


def test_every_family_has_its_core_and_is_tested_here():
    families = {path.stem for path in (conf_dir() / "family").glob("*.yaml")}
    assert families == {*EXACT, *ROUNDED}
    for name in families:
        assert (conf_dir() / "core" / f"{name}.yaml").is_file()
        family = yaml.safe_load((conf_dir() / "family" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert family["published"] == {**EXACT, **ROUNDED}[name]


def test_a_core_without_a_family_is_counted_alone(capsys):
    found = main(["core=tiny", "core.n_layers=1", "seq_len=8"])
    assert found["parameters"] == found["parameters/core"]
    assert "published" not in capsys.readouterr().out


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["denoiser_tiny", "flamingo_tiny"])
def test_cores_that_need_more_than_tokens_are_counted(name, capsys):
    found = main([f"core={name}", "seq_len=8"])
    assert found["parameters"] > 0 and found["flops"] > 0
    assert "forward pass" in capsys.readouterr().out


def test_known_costs_of_gpt2(capsys):
    found = main(["core=gpt2_small"])
    assert "the same" in capsys.readouterr().out
    # 12 layers of 12 heads, a float32 for each of 1,024 x 1,024 pairs.
    assert found["attention_bytes"] == 12 * 12 * 1024 * 1024 * 4
    assert found["cache_bytes_per_token"] == 12 * 2 * 768 * 4
    matrices = 12 * 12 * 768**2 + 50257 * 768
    assert found["flops"] == 2 * 1024 * matrices + 12 * 4 * 768 * 1024 * 1025 // 2


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("core=gpt5", r"core=gpt5: there is no such option .*gpt2_small"),
        ("seq_leng=3", "did you mean seq_len"),
        ("dtype=int8", "received 'int8', accepted: 'float32' or 'bfloat16' or 'float16'"),
        ("core.n_heads=7", r"core.n_heads=7 does not divide core.d_model=128"),
        ("--multirun", "looks at one configuration"),
    ],
)
def test_a_mistake_is_told_in_a_line(argument, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main([argument])
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert re.search(message, printed), printed


@pytest.mark.slow
def test_help_and_cfg_stay_light():
    for arguments in ("['--help']", "['core=gpt2_small', '--cfg', 'job']"):
        code = f"import sys; from omniformer.inspect import main; main({arguments}); assert 'torch' not in sys.modules"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert "gpt2_small" in run.stdout or "d_model: 768" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "nonsense: .*accepted: key=value"),
        (["core=tiny", "nonsense"], "nonsense: .*accepted: key=value"),
        (["--nonsense"], "--nonsense: no such option; accepted: --cfg job"),
        (["--cfg", "job", "nonsense"], "nonsense: .*accepted: key=value"),
    ],
)
def test_nothing_that_was_typed_is_ignored(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert re.search(message, capsys.readouterr().err)
