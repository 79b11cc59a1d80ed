import io

import pytest
import torch
from omniformer_tokenizers import TubeletTokenizer
from torch.nn import functional


def test_a_linear_layer_on_tubelets_equals_a_convolution():
    video = torch.rand(4, 3, 8, 12)
    kernel = torch.randn(5, 2, 3, 4, 4)
    tokens = TubeletTokenizer(frames=2, patch_size=4, mean=(0.0,), std=(1.0,))(video)
    weights = kernel.permute(0, 2, 1, 3, 4)  # conv3d wants channels before time
    expected = functional.conv3d(video.transpose(0, 1)[None], weights, stride=(2, 4, 4))[0].flatten(1).T
    torch.testing.assert_close(tokens.values @ kernel.flatten(1).T, expected, rtol=1e-4, atol=1e-4)


def test_positions_are_time_row_column():
    tokens = TubeletTokenizer(frames=1, patch_size=2)(torch.zeros(2, 3, 4, 2))
    assert tokens.positions.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]


def test_the_last_frame_is_repeated_and_edges_are_of_the_mean_colour():
    video = torch.rand(3, 3, 5, 4)
    tokens = TubeletTokenizer(frames=2, patch_size=4)(video)
    last = tokens.values[2].reshape(2, 3, 4, 4)
    torch.testing.assert_close(last[0], last[1])
    below = tokens.values[1].reshape(2, 3, 4, 4)
    assert (below[:, :, 1:] == 0).all()


def test_floats_come_back_to_rounding():
    video = torch.rand(3, 3, 5, 7)
    tokenizer = TubeletTokenizer(frames=2, patch_size=4)
    torch.testing.assert_close(tokenizer.decode(tokenizer(video), dtype=torch.float32), video, rtol=0, atol=1e-6)


def test_an_animation_is_a_video():
    from PIL import Image

    frames = [Image.new("RGB", (6, 4), (shade, shade, shade)) for shade in (0, 100, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="WEBP", save_all=True, append_images=frames[1:], lossless=True)
    tokenizer = TubeletTokenizer(frames=1, patch_size=2)
    video = tokenizer.decode(tokenizer(buffer.getvalue()))
    assert video.shape == (3, 3, 4, 6)
    assert video[:, 0, 0, 0].tolist() == [0, 100, 200]


def test_a_video_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"received shape \[3, 4, 4\]; expected \[time, channels=3, height, width\]"):
        TubeletTokenizer()(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match="frames=0 is too small"):
        TubeletTokenizer(frames=0)


@pytest.mark.parametrize("size", [(0, 3, 7, 9), (0, 3, 8, 8), (3, 3, 0, 9), (3, 3, 9, 0), (0, 3, 0, 0)])
def test_a_video_without_a_pixel_has_no_tokens_and_comes_back(size):
    tokenizer = TubeletTokenizer(patch_size=4)
    tokens = tokenizer(torch.zeros(size, dtype=torch.uint8))
    assert tokens.values.shape == (0, 96)
    assert tokens.positions.shape == (0, 3)
    assert tokenizer.decode(tokens).shape == size


def test_a_video_of_one_row_never_fills_memory():
    with pytest.raises(
        ValueError, match="1 x 1000000 pixels to be resized or padded to 224 x 1000160; at most 50000000"
    ):
        TubeletTokenizer(patch_size=224)(torch.zeros(1, 3, 1, 1_000_000, dtype=torch.uint8))
