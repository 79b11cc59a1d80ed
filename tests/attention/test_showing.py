"""What is shown of a sample: as a section of a page, and as a picture."""

import io
from dataclasses import replace

import pytest
import torch
from omniformer_tokenizers import PatchTokenizer, WordTokenizer
from PIL import Image

from omniformer.attention.showing import picture, section, told
from omniformer.inspection.looks import Reading
from omniformer.pages.page import html_page

pytest.importorskip("matplotlib")
WORDS = WordTokenizer().fit(["a <b>dog</b> runs"])
PATCHES = PatchTokenizer(patch_size=4, channels=1)


def reading(*pieces):
    torch.manual_seed(0)
    n = sum(map(len, pieces))
    known = {"vision": PATCHES, "text": WORDS}
    return Reading(
        id="<sample>",
        head="it",
        said="dog 0.9",
        pieces=pieces,
        tokenizers=[known[piece.modality] for piece in pieces],
        maps=[torch.rand(3, n, n).softmax(-1) for _ in range(2)],
        effects=torch.tensor([[0.2, 0.001, 0.3], [0.2, 0.1, 0.0]]),
        counts=torch.full((n,), 1 / n),
    )


TEXT, PICTURE = WORDS("a <b>dog</b> runs"), PATCHES(torch.zeros(1, 8, 8, dtype=torch.uint8))


def test_a_page_marks_texts_draws_maps_and_names_idle_heads():
    page = html_page("look", "", [section(reading(PICTURE, TEXT))])
    assert page.count("<figure>") == 5 and page.count("<mark ") == len(TEXT)
    assert "&lt;sample&gt;" in page and "<sample>" not in page
    assert "2 of 6 heads do next to nothing here, layer.head 1.2, 2.3" in page and ">layer 2<" in page


@pytest.mark.slow
def test_one_modality_has_no_flow_and_one_layer_its_heads():
    look = reading(PICTURE)
    found = html_page("look", "", [section(look, look.at(2))])
    assert found.count("<figure>") == 3 and ">layer 2, head 3<" in found and "Between modalities" not in found


def test_heads_that_were_not_left_out_are_no_idle_ones():
    (_, last) = told(replace(reading(TEXT), effects=None))
    assert last.startswith("What each of the 6 heads does was not measured")
    (_, last) = told(replace(reading(TEXT), effects=torch.ones(2, 3)))
    assert last == "Each of the 6 heads does something."


def test_a_picture_holds_all_samples_on_white_and_is_small():
    made = picture([reading(PICTURE), reading(TEXT)])
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "PNG" and image.width > 800 and image.height > 300
        assert image.convert("RGB").getpixel((image.width - 1, 0)) == (255, 255, 255)
    assert len(made) < 150_000
