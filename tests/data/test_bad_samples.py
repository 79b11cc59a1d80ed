"""Data that is wrong in one sample: told by name, or skipped and counted exactly."""

import io

import numpy as np
import pytest
import soundfile
import torch
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, GraphTokenizer, PatchTokenizer, SpectrogramTokenizer
from PIL import Image

from omniformer.data.augment import AudioJitter, ImageJitter
from omniformer.data.loader import Evaluation, Feed
from omniformer.data.module import OmniDataModule
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw, Source
from omniformer.data.stream import Stream

N = 20
BAD = 7  # which of the samples is the bad one


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def clip() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).normal(size=1600) * 0.1, 8000, format="FLAC")
    return file.getvalue()


def graph(label: int) -> dict:
    """A graph of three nodes; the label of the second is given, that of the last does not count."""
    return {
        "contents": {"graph": {"n_nodes": 3, "edges": [[0, 1], [1, 0]]}},
        "token_targets": {"label": torch.tensor([0, label, -1]), "mask": torch.tensor([True, True, False])},
    }


TOKENIZERS = {
    "text": ByteTokenizer(),
    "vision": PatchTokenizer(patch_size=8, channels=3),
    "audio": SpectrogramTokenizer(sample_rate=8000, n_mels=8, n_fft=256, hop_length=80),
    "graph": GraphTokenizer(),
}
# By kind of damage: a good sample, the bad one, options of the stream, and what is said of the bad one.
DAMAGES = {
    "missing pair": (
        {"contents": {"vision": picture(), "text": "a cat"}},
        {"contents": {"vision": picture()}},
        {"answer": "text"},
        "has no 'text' to be the answer, only ['vision']",
    ),
    "empty caption": (
        {"contents": {"vision": picture(), "text": "a cat"}},
        {"contents": {"vision": picture(), "text": ""}},
        {"answer": "text"},
        "the answer '' has no tokens",
    ),
    "empty answer of the source": (
        {"contents": {"text": "two and two"}, "answer": {"text": "four"}},
        {"contents": {"text": "two and two"}, "answer": {"text": ""}},
        {},
        "the answer '' has no tokens",
    ),
    "label too large": (
        {"contents": {"text": "good"}, "targets": {"label": torch.tensor(3)}},
        {"contents": {"text": "bad"}, "targets": {"label": torch.tensor(4)}},
        {},
        "label: received 4, accepted 0 to 3",
    ),
    "label below zero": (
        {"contents": {"text": "good"}, "targets": {"label": torch.tensor(0)}},
        {"contents": {"text": "bad"}, "targets": {"label": torch.tensor(-1)}},
        {},
        "label: received -1, accepted 0 to 3",
    ),
    "label of a node": (graph(3), graph(9), {}, "label of token 1: received 9, accepted 0 to 3"),
    "clip cut short": (
        {"contents": {"audio": clip()}},
        {"contents": {"audio": clip()[:20]}},
        {},
        "cannot be read",
    ),
    "clip that is no sound": (
        {"contents": {"audio": clip()}},
        {"contents": {"audio": b"RIFF" + bytes(range(200))}},
        {},
        "cannot be read",
    ),
    "clip that is no sound, and varied": (
        {"contents": {"audio": clip()}},
        {"contents": {"audio": b"RIFF" + bytes(range(200))}},
        {"augment": AudioJitter(gain=3.0)},
        "cannot be read",
    ),
    "clip that is not finite": (
        {"contents": {"audio": (torch.zeros(800), 8000)}},
        {"contents": {"audio": (torch.full((800,), torch.nan), 8000)}},
        {},
        "the waveform reaches nan",
    ),
    "picture cut short": (
        {"contents": {"vision": picture()}},
        {"contents": {"vision": picture()[:200]}},
        {},
        "cannot be read as an image",
    ),
    "picture with flipped bits": (
        {"contents": {"vision": picture()}},
        {"contents": {"vision": picture()[:60] + bytes(255 - byte for byte in picture()[60:])}},
        {},
        "cannot be read as an image",
    ),
    "picture that is none, and varied": (
        {"contents": {"vision": picture()}},
        {"contents": {"vision": b"<html>404</html>"}},
        {"augment": ImageJitter(shift=0.1)},
        "cannot be read as an image",
    ),
}


class OneBad(Source):
    """Twenty samples in each split, one of which is bad."""

    def __init__(self, good: dict, bad: dict, n_bad: int = 1) -> None:
        self.good, self.bad, self.n_bad = good, bad, n_bad

    @property
    def facts(self):
        return {"n_classes": 4}

    def split(self, name):
        return [Raw(id=f"{name}-{i}", **(self.bad if BAD <= i < BAD + self.n_bad else self.good)) for i in range(N)]


def stream_of(damage: str, *, n_bad: int = 1, **options) -> Stream:
    good, bad, own, _ = DAMAGES[damage]
    return Stream(source=OneBad(good, bad, n_bad), batch_size=4, **own, **options)


def tokenizers_of(damage: str) -> dict:
    good = DAMAGES[damage][0]
    return {name: TOKENIZERS[name] for name in {**good["contents"], **good.get("answer", {})}}


def module_of(damage: str, **options) -> OmniDataModule:
    module = OmniDataModule(
        streams={"mine": stream_of(damage, **options)}, tokenizers={"mine": tokenizers_of(damage)}, seed=0
    )
    module.setup()
    return module


def feed_of(damage: str, **options) -> Feed:
    stream = stream_of(damage, **options)
    samples = stream.samples("train", tokenizers_of(damage), name="mine", seed=0)
    return Feed(samples, stream, name="mine", seed=0)


def draw(feed: Feed, n: int) -> list[str]:
    """The ids of the samples in the next batches."""
    return [name for _ in range(n) for name in next(feed).ids]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_sample_stops_the_run_and_is_named_with_its_data_set_and_the_cause(damage):
    feed = feed_of(damage)
    with pytest.raises(SampleError) as told:
        draw(feed, N)
    assert str(told.value).startswith(f"sample 'train-{BAD}' of mine: ")
    assert DAMAGES[damage][3] in str(told.value)


@pytest.mark.quick(4)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_sample_is_skipped_and_counted_once_however_often_it_is_met(damage):
    feed = feed_of(damage, on_error="skip", max_bad_fraction=1 / N)
    met = draw(feed, 3 * N // 4)
    assert len(met) == 3 * N  # three epochs, with another sample in its place
    assert f"train-{BAD}" not in met
    assert feed.bad.ids == {f"train-{BAD}"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_more_bad_samples_than_allowed_stop_the_run_all_the_same(damage):
    feed = feed_of(damage, n_bad=2, on_error="skip", max_bad_fraction=1 / (3 * N))
    with pytest.raises(SampleError, match="2 of 60 samples of mine cannot be read, more than max_bad_fraction="):
        draw(feed, N)


def test_a_few_bad_samples_of_a_small_split_are_measured_by_the_whole_data_set():
    damage = "label too large"
    stream = stream_of(damage, n_bad=2, on_error="skip", max_bad_fraction=0.05)  # 2 of 20, but of 60 in all
    evaluation = Evaluation(
        stream.samples("val", tokenizers_of(damage), name="mine", seed=0), stream, name="mine", seed=0
    )
    assert sum(len(batch) for batch in evaluation) == N - 2
    assert len(evaluation.bad.ids) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_evaluation_leaves_a_bad_sample_out_and_counts_the_rest(damage):
    stream = stream_of(damage, on_error="skip", max_bad_fraction=1 / N)
    samples = stream.samples("val", tokenizers_of(damage), name="mine", seed=0)
    evaluation = Evaluation(samples, stream, name="mine", seed=0)
    met = [name for batch in evaluation for name in batch.ids]
    assert met == [f"val-{i}" for i in range(N) if i != BAD]
    assert evaluation.bad.ids == {f"val-{BAD}"}


def test_the_module_tells_the_skipped_samples_of_each_split_and_warns_of_them_at_the_end():
    module = module_of("label too large", on_error="skip", max_bad_fraction=1 / N)
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for _ in loader:
            pass
    assert module.bad_samples == {f"mine/{split}": [f"{split}-{BAD}"] for split in ("train", "val", "test")}
    with pytest.warns(UserWarning, match="could not be read and were skipped") as told:
        module.teardown("fit")
    assert [str(each.message) for each in told] == [
        f"mine/{split}: 1 samples could not be read and were skipped: {split}-{BAD}"
        for split in ("train", "val", "test")
    ]


def test_token_budgets_count_around_a_bad_sample():
    good, bad, _, _ = DAMAGES["label too large"]
    stream = Stream(
        source=OneBad(good, bad), batch_size=None, tokens_per_batch=16, on_error="skip", max_bad_fraction=1 / N
    )
    feed = Feed(stream.samples("train", {"text": ByteTokenizer()}, name="mine", seed=0), stream, name="mine", seed=0)
    met = draw(feed, feed.n_batches)
    assert sorted(met) == sorted(f"train-{i}" for i in range(N) if i != BAD)


def test_labels_are_taken_as_they_are_where_the_number_of_classes_is_not_known():
    class Unknown(OneBad):
        @property
        def facts(self):
            return {}

    good, bad, _, _ = DAMAGES["label too large"]
    samples = Stream(source=Unknown(good, bad)).samples("train", {"text": ByteTokenizer()}, name="mine", seed=0)
    assert int(samples(0, BAD).targets["label"]) == 4


def test_tokenizers_that_are_fitted_meet_an_empty_caption_first_and_do_not_mind():
    good, bad, own, said = DAMAGES["empty caption"]
    tokenizer = BPETokenizer(vocab_size=260)
    module = OmniDataModule(
        streams={"mine": Stream(source=OneBad(good, bad), batch_size=4, **own)},
        tokenizers={"mine": {"vision": TOKENIZERS["vision"], "text": tokenizer}},
        seed=0,
    )
    module.setup()
    with pytest.raises(SampleError, match=f"sample 'train-{BAD}' of mine: {said}"):
        for _ in module.train_dataloader():
            pass
