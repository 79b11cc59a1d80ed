"""Which words are offered at the end of a line."""

import subprocess
import sys

import pytest

from omniformer.complete import candidates


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("omniformer tra", ["train "]),
        ("omniformer --v", ["--version "]),
        ("omniformer completion ", ["bash ", "zsh ", "fish "]),
        ("omniformer evaluate run --split ", ["test ", "val "]),
        ("omniformer predict run --dev", ["--device "]),
        ("omniformer predict run dig", []),
        ("omniformer export run --format o", ["onnx "]),
        ("omniformer train core=ti", ["core=tiny "]),
        ("omniformer train modality=vision,te", ["modality=vision,text "]),
        ("omniformer train +exper", ["+experiment="]),
        ("omniformer train core", ["core.", "core=", "core/"]),
        ("omniformer train core/att", ["core/attention="]),
        ("omniformer train core.d_m", ["core.d_model="]),
        ("omniformer train core.att", ["core.attention."]),
        ("omniformer train optim.l", ["optim.lr=", "optim.layer_decay=", "optim.lr_of="]),
        ("omniformer train optim=muon optim.n", ["optim.nesterov=", "optim.ns_steps="]),
        ("omniformer train optim.schedule=c", ["optim.schedule=constant ", "optim.schedule=cosine "]),
        ("omniformer train optim.fused=", ["optim.fused=true ", "optim.fused=false "]),
        ("omniformer train modality=all members.text.data.tok", ["members.text.data.tokens_per_batch="]),
        ("omniformer train model.lora.r", ["model.lora.rank=", "model.lora.rank_stabilised="]),
        ("omniformer train mod", ["model.", "modality="]),
        ("omniformer train --cfg ", ["job ", "hydra ", "all "]),
        ("omniformer train data_root=", []),
        ("omniformer train 'model.lora={ra", []),
        ("omniformer inspect core=gpt2_small s", ["seq_len=", "strategy="]),
        ("omniformer inspect dtype=b", ["dtype=bfloat16 "]),
        ("omniformer help optim.l", ["optim.lr ", "optim.layer_decay ", "optim.lr_of "]),
        ("omniformer nothing ", []),
    ],
)
def test_words_that_may_stand_next(line, offered):
    assert candidates(line) == offered


def test_own_groups_are_offered(tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "huge.yaml").write_text("_target_: omniformer.core.transformer.Transformer\n")
    assert candidates(f"omniformer train --config-dir {tmp_path} core=hu") == ["core=huge "]


def test_fish_adds_the_space_itself(capsys):
    from omniformer.complete import main

    main(["fish", "omniformer tra"])
    assert capsys.readouterr().out == "train\n"


def test_completing_imports_neither_torch_nor_hydra():
    code = (
        "import sys\nfrom omniformer.command import main\n"
        "main(['complete', 'bash', 'omniformer train core.d_m'])\n"
        "assert not {'torch', 'hydra', 'omegaconf', 'lightning', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("core.d_model=\n", 0), done.stderr
