from functools import partial

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer

from omniformer.core.block import CrossBlock
from omniformer.core.connection import AdaptiveNorm
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation import Painter
from omniformer.heads import NextTokenHead
from omniformer.heads.denoising import DenoisingHead
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor

TEXT, PATCHES = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1)


@pytest.fixture
def model() -> OmniFormer:
    """Paints what words say, with random weights that are wide enough for words to matter."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2}
    decoder = Transformer(**sizes, block=CrossBlock, connection=partial(AdaptiveNorm, d_condition=8))
    model = OmniFormer(
        core=EncoderDecoder(encoder=Transformer(**sizes), decoder=decoder),
        embedders={
            "vision": VectorEmbedder(d_model=16, features=16, axes=2),
            "text": IdEmbedder(d_model=16, vocab_size=257),
        },
        heads={
            "paint": DenoisingHead(d_model=16, features=16, d_condition=8),
            "lm": NextTokenHead(d_model=16, vocab_size=257),
        },
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model.eval()


@pytest.fixture
def painter(model) -> Painter:
    return Painter(model, "paint", tokenizers={"text": TEXT, "vision": PATCHES}, given=["text"])


def test_pictures_depend_on_words_and_seed_and_on_nothing_else(painter):
    def painted(prompts, **options):
        return [row[0].content for row in painter.write(prompts, steps=4, size=(8, 12), **options)]

    cat, dog = painted(["cat", "a dog"])
    assert cat.shape == (1, 8, 12)
    assert cat.dtype == torch.uint8
    alone = painted(["cat", "a dog"], batch_size=1)
    assert int((alone[1].int() - dog.int()).abs().max()) <= 1  # rounding to levels
    assert not torch.equal(painted(["cat"], seed=1)[0], cat)
    assert not torch.equal(painted(["sun"])[0], cat)
    assert not torch.equal(painted(["cat"], guidance=0.0)[0], cat)
    assert torch.equal(painted(["cat"], guidance=3.0)[0], cat)


def test_a_predictor_finds_the_task_that_paints(model):
    member = Member(tokenizers={"text": TEXT, "vision": PATCHES}, given=("text",))
    predictor = Predictor(model, {"paint": member})
    assert predictor.generate(["cat"], steps=2, size=(4, 4))[0][0].content.shape == (1, 4, 4)
    with pytest.raises(ValueError, match=r"'paint' paints, it predicts no class"):
        predictor.predict(["cat"])


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {"size": (8, 8)}, "prompt 0 is empty; 'paint' answers: give it text"),
        ("cat", {}, "writes pictures of any size; say which"),
        ("cat", {"size": (8, 8), "steps": 0}, "steps=0 must be"),
        ("cat", {"size": (8, 8), "batch_size": 0}, "batch_size=0 must be at least 1"),
    ],
)
def test_misuse_is_told(painter, prompt, options, message):
    with pytest.raises(ValueError, match=message):
        painter.write([prompt], **options)


def test_what_cannot_paint_is_refused(model):
    with pytest.raises(ValueError, match="'lm' is a NextTokenHead; pictures are made by a DenoisingHead"):
        Painter(model, "lm", tokenizers={"vision": PATCHES})
    with pytest.raises(ValueError, match="'paint' paints one modality of pictures; of text, vision say which is given"):
        Painter(model, "paint", tokenizers={"text": TEXT, "vision": PATCHES})
