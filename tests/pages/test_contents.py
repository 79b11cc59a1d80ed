"""Raw samples as a page shows them."""

import base64
import io
import re
import wave

import pytest
import torch

from omniformer.pages.contents import graph, shown, sound, text

TRIANGLE = {"n_nodes": 3, "edges": [[0, 1], [1, 2], [2, 0], [1, 0]]}


def test_a_sound_has_a_spectrogram_and_a_player_that_plays_it():
    page = sound((torch.sin(torch.arange(8000) / 5)[None], 8000))
    assert "image/png" in page
    found = re.search(r"data:audio/wav;base64,([^\"]+)", page)
    with wave.open(io.BytesIO(base64.b64decode(found[1]))) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 8000)
    assert "1.00 s, 8000 Hz" in page


def test_of_a_long_sound_the_first_seconds_are_heard_and_it_is_said():
    assert "20.00 s, 8000 Hz; the first 8 s" in sound((torch.zeros(160_000), 8000))


def test_a_sound_that_is_shorter_than_a_frame_is_shown():
    assert "0.00 s" in sound((torch.zeros(3), 8000))


def test_a_graph_has_a_line_for_each_pair_of_joined_nodes_and_a_dot_for_each_node():
    page = graph(TRIANGLE)
    assert page.count("<line ") == 3
    assert page.count("fill-opacity=") == 3
    assert "3 nodes, 3 edges" in page


def test_nodes_are_marked_by_their_weights():
    assert 'fill-opacity="0.25"' in graph(TRIANGLE, [0.25, 0.5, 1.0])


@pytest.mark.parametrize("n", [0, 301])
def test_a_graph_that_cannot_be_drawn_is_counted(n):
    assert graph({"n_nodes": n, "edges": []}) == f"<p class=more>{n} nodes, 0 edges</p>"


def test_a_text_is_escaped_and_what_is_cut_is_said():
    assert text("<b>") == "<pre>&lt;b&gt;</pre>"
    assert "400 more characters" in text("x" * 1000)


def test_what_cannot_be_read_says_why():
    assert "<em>vision: " in shown({"vision": "no such picture.png"})


@pytest.mark.parametrize("pixels", [torch.rand(1, 8, 8), torch.zeros(3, 4, 6, dtype=torch.uint8), torch.rand(2, 5, 5)])
def test_pictures_of_any_kind_are_shown(pixels):
    assert '<img alt="" width="' in shown({"vision": pixels})
