import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer, PixelTokenizer

from omniformer.generation.answer import Answer, blank_picture, given_sample

TEXT = ByteTokenizer()


def test_an_answer_is_plain_values_for_json():
    answer = Answer(
        input="prompt 0", member="it", content="hé", ids=(1, 2), tokens=("h", "é"), log_probs=(-0.5, -1.0, -0.1),
        score=-0.5, ended=True,
    )  # fmt: skip
    short = {"input": "prompt 0", "member": "it", "text": "hé", "score": -0.5, "ended": True}
    assert answer.to_dict() == short
    assert answer.to_dict(log_probs=True) == {
        **short,
        "ids": [1, 2],
        "tokens": ["h", "é"],
        "log_probs": [-0.5, -1.0, -0.1],
    }


@pytest.mark.parametrize(
    ("content", "rate", "name"),
    [
        ("hé", None, "it.2.txt"),
        (torch.zeros(3, 2, 4, dtype=torch.uint8), None, "it.2.png"),
        (torch.zeros(1, 2, 4, dtype=torch.uint8), None, "it.2.png"),
        (torch.zeros(20), 8000, "it.2.wav"),
    ],
)
def test_an_answer_is_saved_by_its_kind_beside_whatever_dots_its_name_has(tmp_path, content, rate, name):
    path = Answer(input="prompt 0", member="it", content=content, sample_rate=rate).save(tmp_path / "it.2")
    assert path == tmp_path / name
    assert path.stat().st_size > 0


def test_a_task_that_is_given_nothing_takes_no_prompt():
    assert given_sample("prompt 0", "", {}, "it").pieces == []
    assert given_sample("prompt 0", None, {}, "it").pieces == []
    with pytest.raises(ValueError, match="prompt 0: 'it' begins anew and reads no prompt; give an empty one"):
        given_sample("prompt 0", torch.zeros(3), {}, "it")


def test_a_task_that_is_given_something_takes_nothing_only_on_purpose():
    for empty in ("", None, []):
        with pytest.raises(ValueError, match="prompt 0 is empty; 'it' answers: give it text, or {} for nothing"):
            given_sample("prompt 0", empty, {"text": TEXT}, "it")
    assert given_sample("prompt 0", {}, {"text": TEXT}, "it").pieces == []


def test_a_blank_picture_says_where_every_token_will_lie():
    blank = blank_picture(PatchTokenizer(patch_size=2, channels=3), (4, 6), "it")
    assert blank.positions.tolist() == [[r, c] for r in range(2) for c in range(3)]
    assert len(blank_picture(PixelTokenizer(channels=3, image_size=(2, 2)), None, "it")) == 12
