import pytest

from omniformer.data import Blocks, Digits, Source, Stream
from omniformer.data.augment import ImageJitter


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0}, "weight=0 must be above 0"),
        ({"weight": 1.5}, r"weight=1\.5 must be above 0 and at most 1"),
        ({"window": 0}, "window=0 must be at least 1"),
        ({"window": 9, "sampling": "balanced"}, "leave it out with sampling=balanced"),
        ({"sampling": "even"}, "sampling='even' is unknown; choose one of 'all', 'balanced'"),
        ({"train_share": 0}, "train_share=0 must be above 0 and at most 1"),
        ({"num_workers": -1}, "num_workers=-1 must be at least 0"),
        ({"worker_timeout": 0}, "worker_timeout=0 must be above 0"),
        ({"on_error": "ignore"}, "on_error='ignore' is unknown"),
        ({"max_bad_fraction": 2}, "max_bad_fraction=2 must be in 0 to 1"),
        ({"batch_size": None}, "batch_size and tokens_per_batch are both null"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        (
            {"arrange": Blocks(seq_len=4), "augment": ImageJitter()},
            "augment: about single samples, with arrange",
        ),
        ({"arrange": Blocks(seq_len=4), "cache": True}, "with arrange they have no effect"),
    ],
)
def test_options_out_of_range_or_without_effect_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Stream(source=Digits(), **options)


def test_only_the_training_split_is_augmented(lists, ints):
    stream = Stream(source=lists(train=[[1]], val=[[1]]), augment=lambda content, generator: [*content, 99])
    made = {split: stream.samples(split, {"text": ints}, name="x", seed=0)(0, 0) for split in ("train", "val")}
    assert made["train"].pieces[0].values.tolist() == [1, 99]
    assert made["val"].pieces[0].values.tolist() == [1]


def test_an_augmentation_for_an_unknown_modality_is_refused(lists, ints):
    stream = Stream(source=lists(train=1), augment={"vision": ImageJitter()})
    with pytest.raises(ValueError, match=r"augment names \['vision'\]; this data has the modalities \['text'\]"):
        stream.samples("train", {"text": ints}, name="x", seed=0)


def test_a_share_of_the_training_samples_keeps_every_class_and_leaves_evaluation_whole():
    stream, whole = Stream(source=Digits(), train_share=0.1), Stream(source=Digits())
    few, all_ = stream.raws("train"), whole.raws("train")
    assert len(few) == pytest.approx(0.1 * len(all_), abs=10)
    counts = [[int(raw.targets["label"]) for raw in raws].count(digit) for raws in (few, all_) for digit in range(10)]
    assert counts[:10] == [round(0.1 * n) for n in counts[10:]]
    assert {raw.id for raw in few} < {raw.id for raw in all_}
    assert [raw.id for raw in few[:3]] == [few[i].id for i in range(3)]
    assert all(len(stream.raws(split)) == len(whole.raws(split)) for split in ("val", "test"))


def test_a_share_of_samples_without_classes_is_taken_too(lists, ints):
    source = lists(train=20)
    without = [type(raw)(id=raw.id, contents=raw.contents) for raw in source.split("train")]
    source.split = lambda name: without
    stream = Stream(source=source, train_share=0.25)
    assert len(stream.samples("train", {"text": ints}, name="x", seed=0)) == 5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "Mine: split\\('train'\\) gives NoneType, expected a sequence of omniformer.data.Raw"),
        ([{"text": "a"}], "Mine: split\\('train'\\) gives samples of type dict, expected omniformer.data.Raw"),
    ],
)
def test_a_source_that_gives_no_samples_is_refused(given, told):
    class Mine(Source):
        def split(self, name):
            return given

    with pytest.raises(ValueError, match=told):
        Stream(source=Mine()).raws("train")
