"""The snippets of docs/diffusion.md, with models that were saved and loaded again."""

import re
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer, PixelTokenizer

import omniformer
from omniformer.predictor import Member, Predictor
from omniformer.recipe import build_model

PAGE = Path(__file__).parents[2] / "docs" / "diffusion.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
SIZES = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}
ADAPTIVE = {"_target_": "omniformer.core.connection.AdaptiveNorm", "_partial_": True, "d_condition": 16}
CROSS = {"_target_": "omniformer.core.block.CrossBlock", "_partial_": True}
SCHEDULE = {"_target_": "omniformer.heads.noise.Linear", "n_steps": 60}


def painter() -> tuple[dict, dict]:
    tokenizers = {"text": ByteTokenizer(), "vision": PatchTokenizer(patch_size=4, channels=1)}
    core = {
        "_target_": "omniformer.core.encoder_decoder.EncoderDecoder",
        "encoder": SIZES,
        "decoder": SIZES | {"connection": ADAPTIVE, "block": CROSS},
    }
    head = {"_target_": "omniformer.heads.denoising.DenoisingHead", "schedule": SCHEDULE, "predicts": "velocity"}
    embedders = {
        "text": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": facts(tokenizers["text"])},
        "vision": {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": facts(tokenizers["vision"])},
    }
    heads = {"digits_diffusion": {"node": head, "facts": facts(tokenizers["vision"])}}
    return {"core": core, "embedders": embedders, "heads": heads, "rules": {}}, tokenizers


def writer() -> tuple[dict, dict]:
    tokenizers = {"vision": PixelTokenizer(channels=1, levels=5)}
    known = facts(tokenizers["vision"])
    embedders = {"vision": {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": known}}
    head = {"_target_": "omniformer.heads.NextTokenHead", "modality": "vision"}
    rules = {"pixels": {"_target_": "omniformer.core.rules.Causal"}}
    heads = {"pixels": {"node": head, "facts": known}}
    return {"core": SIZES, "embedders": embedders, "heads": heads, "rules": rules}, tokenizers


def facts(tokenizer) -> dict:
    wanted = ("vocab_size", "features", "axes")
    return {name: tokenizer.facts[name] for name in wanted if name in tokenizer.facts} | {"d_model": 16}


def saved(made, folder: Path) -> Predictor:
    recipe, tokenizers = made()
    (name,) = recipe["heads"]
    torch.manual_seed(0)
    predictor = Predictor(build_model(recipe), {name: Member(tokenizers=tokenizers)})
    omniformer.save(folder / "model", predictor, recipe=recipe)
    return predictor


def run(snippet: str, folder: Path) -> dict:
    names: dict = {}
    code = re.sub(r'omniformer\.load\("[^"]*"\)', f"omniformer.load({str(folder)!r})", snippet)
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def test_words_become_pictures_of_the_size_that_was_asked_for(tmp_path):
    saved(painter, tmp_path)
    names = run(SNIPPETS[0], tmp_path)
    assert [picture.shape for picture in names["pictures"]] == [(1, 28, 28)] * 2
    assert not torch.equal(*names["pictures"])


def test_a_loaded_head_has_the_schedule_it_was_trained_with(tmp_path):
    before = saved(painter, tmp_path)
    head = omniformer.load(tmp_path).model.heads["digits_diffusion"]
    assert (head.n_steps, head.predicts) == (60, "velocity")
    assert torch.equal(head.schedule.alphas, before.model.heads["digits_diffusion"].schedule.alphas)


@pytest.mark.parametrize("level", [0, 255])
def test_pixels_are_written_into_a_picture(tmp_path, level):
    before = saved(writer, tmp_path)
    table = before.model.embedders["vision"].table.weight
    assert torch.equal(omniformer.load(tmp_path).model.embedders["vision"].table.weight, table)
    names = run(SNIPPETS[1].replace("torch.zeros(1, 8, 8)", f"torch.full((1, 8, 8), {level / 255})"), tmp_path)
    # What the blank picture holds does not matter, and only levels of the tokenizer are written.
    assert names["picture"].shape == (1, 8, 8)
    assert set(names["picture"].unique().tolist()) <= {0, 64, 128, 191, 255}
