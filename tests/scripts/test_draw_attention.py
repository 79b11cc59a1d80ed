import importlib.util
import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import (
    CharacterTokenizer,
    PatchTokenizer,
    SpectrogramTokenizer,
    WordTokenizer,
    framed,
)

from omniformer.batch import Sample, collate
from omniformer.core.block import CrossBlock
from omniformer.core.encoder_decoder import EncoderDecoder
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation import Writer
from omniformer.heads import NextTokenHead
from omniformer.inspection.alignment import alignment
from omniformer.model import OmniFormer


def loaded():
    """The script as a module."""
    path = Path(__file__).parents[2] / "scripts" / "draw_attention.py"
    spec = importlib.util.spec_from_file_location("draw_attention", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["draw_attention"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = loaded()
WORDS = WordTokenizer().fit(["a dog runs in the snow"])
TOKENIZERS = {
    "vision": PatchTokenizer(patch_size=4, channels=1),
    "audio": SpectrogramTokenizer(sample_rate=8000, n_mels=8, frames_per_token=2),
    "text": WORDS,
}
SEED = 4  # of a model that writes more than a word
GENERATOR = torch.Generator().manual_seed(0)
PICTURE = torch.randint(0, 256, (1, 8, 12), dtype=torch.uint8, generator=GENERATOR)
SOUND = torch.randn(4000, generator=GENERATOR)


def writer():
    torch.manual_seed(SEED)
    vocab_size = WORDS.facts["vocab_size"]
    sizes = {"d_model": 16, "n_layers": 1, "n_heads": 2, "init_std": 0.5}
    features = {name: TOKENIZERS[name].facts["features"] for name in ("vision", "audio")}
    model = OmniFormer(
        core=EncoderDecoder(encoder=Transformer(**sizes), decoder=Transformer(**sizes, block=CrossBlock)),
        embedders={
            "vision": VectorEmbedder(d_model=16, features=features["vision"], axes=2),
            "audio": VectorEmbedder(d_model=16, features=features["audio"]),
            "text": IdEmbedder(d_model=16, vocab_size=vocab_size),
        },
        heads={"it": NextTokenHead(d_model=16, vocab_size=vocab_size, tied=False)},
        rules={"it": Causal()},
    )
    torch.nn.init.normal_(model.heads["it"].ids.weight)
    return Writer(model.eval(), "it", tokenizers=TOKENIZERS, given=("vision", "audio", "text"))


def sample(**contents):
    pieces = [TOKENIZERS[name](content) for name, content in contents.items()]
    return Sample(id="a", pieces=pieces, answer=[framed(WORDS("a dog"), start=WORDS.start, stop=WORDS.stop)])


def drawn(**contents):
    return script.drawing(writer(), sample(**contents), TOKENIZERS, max_new_tokens=6, layer=None, head=None)


def test_what_is_drawn_is_what_the_model_wrote_and_read():
    it, given = writer(), {"vision": PICTURE, "text": "the snow"}
    found = script.drawing(it, sample(**given), TOKENIZERS, max_new_tokens=6, layer=None, head=None)
    ((answer,),) = it.write([given], max_new_tokens=6)
    assert (found.text, found.expected) == (answer.content, "a dog")
    assert len(found.words) == len(answer.ids) + answer.ended > 2
    written = framed(WORDS(answer.content), start=WORDS.start)
    (weights,) = alignment(it.model, "it", collate([replace(sample(**given), answer=[written])]))
    whole = torch.cat([panel.weights for panel in found.panels], dim=1)
    torch.testing.assert_close(whole, weights[: len(found.words)])
    assert [panel.weights.shape[1] for panel in found.panels] == [6, 2]


def test_tokens_are_labelled_by_what_they_say_and_a_dot_marks_those_that_go_on_a_word():
    class Pieces:
        said = ("A", " star", "ring", " dog", "\n", ".")

        def decode(self, ids):
            return "".join(self.said[i] for i in ids)

    assert script._labels(Pieces(), range(6)) == ["A", "star", "·ring", "dog", "\\n", "."]
    letters = CharacterTokenizer().fit(["ab .\n"])
    assert script._labels(letters, letters("ab .\n").values.tolist()) == ["a", "b", " ", ".", "\\n"]


def test_the_stretch_that_is_read_most_holds_most_weight():
    weights = torch.zeros(2, 90)
    weights[0, 40], weights[1, 47], weights[1, 3] = 1.0, 0.6, 0.4
    first, last = script.most_read(weights, n=10)
    assert last - first == 10 and first <= 40 and last > 47


def test_patches_lie_where_their_coordinates_say():
    tokens = TOKENIZERS["vision"](PICTURE)
    order = torch.tensor([5, 0, 3, 1, 2, 4])
    weights = torch.arange(6.0)
    shuffled = script.grid(tokens.positions[order], weights[order])
    assert shuffled.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_data_elsewhere_is_looked_for_there():
    config = {"data_root": "old", "data": {"source": {"data_root": "old", "root": "x"}}, "callbacks": [{"a": "old"}]}
    assert script._moved(config, "new") == {
        "data_root": "new",
        "data": {"source": {"data_root": "new", "root": "x"}},
        "callbacks": [{"a": "old"}],
    }


@pytest.mark.parametrize(
    "contents",
    [{"text": "a dog runs"}, {"text": "a dog " * 40}, {"audio": SOUND}, {"vision": PICTURE, "text": "in the snow"}],
    ids=["text", "long text", "sound", "picture and text"],
)
def test_pictures_open_and_are_small(contents):
    pytest.importorskip("matplotlib")
    from PIL import Image

    made = script.picture(drawn(**contents))
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "PNG"
        assert image.width > 800
        assert image.convert("RGB").getpixel((image.width - 1, 0)) == (255, 255, 255)
    assert len(made) < 150_000


def test_without_matplotlib_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        script.main([str(tmp_path), "--out", str(tmp_path)])
    assert "pictures need matplotlib: pip install matplotlib" in capsys.readouterr().err


def test_a_finished_run_is_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from omniformer.train import main as train

    sizes = ["data.source.n_train=32", "data.source.n_val=8", "data.source.n_test=8", "data.source.gap=60"]
    run = tmp_path / "run"
    train(["experiment=long_copy", "core=bahdanau_tiny", "debug=fast", *sizes, f"paths.output_dir={run}"])
    script.main([str(run), "--index", "0", "3", "--out", str(tmp_path / "out"), "--data-root", str(tmp_path)])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "long_copy-test-0.png",
        "long_copy-test-3.png",
    ]
    with pytest.raises(SystemExit):
        script.main([str(run), "--index", "99", "--out", str(tmp_path / "out")])
    assert "--index: received 99, accepted 0 to 7" in capsys.readouterr().err
