"""Classes that are told by words: equal to the reference library on a tiny CLIP, in Python and on the command line."""

import json

import pytest
import torch
from PIL import Image
from tiny_published import clip
from twins import transformers

import omniformer
from omniformer.predict import main
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
