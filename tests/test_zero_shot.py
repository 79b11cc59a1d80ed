"""Classes that are told by words: equal to the reference library on a tiny CLIP, in Python and on the command line."""

import csv
import json

import pytest
import torch
from PIL import Image
from tiny_published import clip
from twins import transformers

import omniformer
from omniformer.predict import main
from omniformer.prepare.__main__ import main as prepare
from omniformer.train import main as train
from omniformer.zero_shot import ZeroShot

LABELS, TEMPLATES = ["cat", "dog", "red"], ["the {} is here.", "the {}."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    place, draw = tmp_path_factory.mktemp("photos"), torch.Generator().manual_seed(0)
    for i in range(3):
        pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=draw)
        Image.fromarray(pixels.numpy()).save(place / f"{i}.png")
    return place


def of_the_reference(folder, photos, templates):
    """The probabilities of the classes, with the mean of the templates' vectors for each."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    images = [Image.open(path) for path in sorted(photos.glob("*.png"))]

    def unit(found):
        found = found if torch.is_tensor(found) else found.pooler_output
        return found / found.norm(dim=-1, keepdim=True)

    with torch.no_grad():
        pictures = unit(model.get_image_features(**processor(images, return_tensors="pt")))
        classes = []
        for label in LABELS:
            ids = tokenizer([each.format(label) for each in templates], padding=True, return_tensors="pt")
            classes.append(unit(unit(model.get_text_features(**ids)).mean(0)))
        return (model.logit_scale.exp() * pictures @ torch.stack(classes).T).softmax(-1)


@pytest.mark.parametrize("templates", [TEMPLATES[:1], TEMPLATES], ids=["one", "several"])
def test_probabilities_are_those_of_the_reference(folder, photos, templates):
    found = ZeroShot(omniformer.load(folder), LABELS, templates=templates).predict([photos])
    rows = torch.tensor([list(each.probabilities.values()) for each in found])
    torch.testing.assert_close(rows, of_the_reference(folder, photos, templates), atol=2e-5, rtol=0)
    assert len({each.label for each in found}) >= 1 and [each.input for each in found] == sorted(
        str(path) for path in photos.glob("*.png")
    )


def test_the_command_line_names_the_class_and_what_it_cannot_read(folder, photos, tmp_path, capsys):
    (tmp_path / "broken.png").write_text("no picture")
    words = ["--labels", *LABELS, "--template", TEMPLATES[0], "--template", TEMPLATES[1], "--json"]
    with pytest.raises(SystemExit) as stop:
        main([str(folder), str(photos), str(tmp_path / "broken.png"), *words])
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    expected = of_the_reference(folder, photos, TEMPLATES)
    assert [row["label"] for row in rows] == [LABELS[i] for i in expected.argmax(-1)]
    assert stop.value.code == 1 and "broken.png" in said.err and "(1 input could not be read" in said.err


def test_what_cannot_be_chosen_among_is_refused(folder):
    model = omniformer.load(folder)
    for labels, templates, told in (
        (["cat"], ["{}"], "must be two or more different ones"),
        (["cat", "cat"], ["{}"], "must be two or more different ones"),
        (LABELS, ["a photo"], "must have one {}, where the name of a class is put"),
    ):
        with pytest.raises(ValueError, match=told):
            ZeroShot(model, labels, templates=templates)


def test_a_template_without_labels_is_refused(folder, photos, capsys):
    with pytest.raises(SystemExit):
        main([str(folder), str(photos), "--template", "a {}"])
    assert "--template is for the names of --labels" in capsys.readouterr().err


COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "grey": (90, 90, 90)}
PLACES = {
    "left": (slice(None), slice(0, 5)),
    "right": (slice(None), slice(11, 16)),
    "top": (slice(0, 5), slice(None)),
    "bottom": (slice(11, 16), slice(None)),
}
NEW = [("red", "top"), ("green", "left"), ("blue", "right")]  # in no caption of training


def bar(colour, place, draw):
    pixels = torch.randint(200, 256, (16, 16, 3), dtype=torch.uint8, generator=draw)
    pixels[PLACES[place]] = torch.tensor(COLOURS[colour], dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_model_trained_here_tells_classes_of_which_it_saw_no_picture(tmp_path):
    draw, pairs = torch.Generator().manual_seed(0), tmp_path / "pairs.csv"
    (tmp_path / "seen").mkdir()
    (tmp_path / "new").mkdir()
    with pairs.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["photo", "caption"])
        for i in range(30):
            for colour, place in ((colour, place) for colour in COLOURS for place in PLACES):
                new = (colour, place) in NEW
                path = tmp_path / ("new" if new else "seen") / f"{colour} {place} {i}.png"
                bar(colour, place, draw).save(path)
                if not new:
                    rows.writerow([path.relative_to(tmp_path), f"a photo of a {colour} bar on the {place}"])
    prepare([str(pairs), "--out", str(tmp_path / "conf"), "--columns", "{photo: vision, caption: text}"])
    small = ["core.d_model=64", "core.n_layers=2", "core.n_heads=2", "optim.lr=0.003", "trainer.max_epochs=3"]
    quiet = ["logger=none", "callbacks.progress=null", "report=false", f"paths.output_root={tmp_path}"]
    train(["--config-dir", str(tmp_path / "conf"), "experiment=pairs", *small, *quiet])
    labels = [f"{colour} bar on the {place}" for colour, place in NEW]
    said = []
    for folder in ("latest", "latest/model"):
        out = tmp_path / "said.csv"
        words = ["--labels", *labels, "--template", "a photo of a {}", "--out", str(out)]
        main([str(tmp_path / "pairs" / folder), str(tmp_path / "new"), *words])
        with out.open() as file:
            said.append([(row["input"], row["label"]) for row in csv.DictReader(file)])
    assert said[0] == said[1] and len(said[0]) == 90
    right = sum(
        name.rpartition("/")[2].split()[:2] == [*label.split()[:1], label.split()[-1]] for name, label in said[0]
    )
    assert right > 60, right  # 30 by chance
