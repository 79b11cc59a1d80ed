import pytest
import torch
from omniformer_tokenizers import PatchTokenizer, Tokens

from omniformer.data import CutMix, Digits, Either, ImageJitter, MixUp, Stream
from omniformer.data.each_raw import EachRaw
from omniformer.data.loader import Feed
from omniformer.data.mixing import MixedSamples, Mixing
from omniformer.data.random import generator
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw


class Half(Mixing):
    """Half of each, always."""

    def draw(self, chance):
        return lambda own, other: ((own.values + other.values) / 2, 0.5)


class Alone(Mixing):
    def draw(self, chance):
        return None


class Grids(PatchTokenizer):
    """Fails where it is told to."""

    def encode_batch(self, raws):
        if any(isinstance(raw, str) for raw in raws):
            raise ValueError("damaged header")
        return super().encode_batch(raws)


def mixed(mixing, images=12, *, n_classes=3, targets=None, **options):
    contents = [torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(n)) for n in range(images)]
    contents = options.pop("contents", contents)
    targets = targets or (lambda n: {"label": torch.tensor(n % 3)})
    raws = [Raw(id=f"s{n}", contents={"vision": each}, targets=targets(n)) for n, each in enumerate(contents)]
    plain = EachRaw(raws, {"vision": Grids(patch_size=1, channels=1)}, name="x", seed=0, **options)
    return MixedSamples(plain, mixing, n_classes=n_classes, name="x", seed=0), plain


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def grid(fill, size=8):
    places = torch.cartesian_prod(torch.arange(float(size)), torch.arange(float(size)))
    return Tokens(values=torch.full((size * size, 2), float(fill)), positions=places, modality="vision")


def test_values_and_classes_are_the_mean_of_a_sample_and_its_partner():
    samples, plain = mixed(Half())
    for index in range(12):
        found, own = samples(0, index), plain(0, index)
        partner = (found.pieces[0].values * 2 - own.pieces[0].values).view(-1)
        (other,) = [n for n in range(12) if torch.allclose(plain(0, n).pieces[0].values.view(-1), partner, atol=1e-6)]
        expected = torch.zeros(3)
        for n in (index, other):
            expected[n % 3] += 0.5
        assert found.id == own.id and torch.equal(found.targets["label"], expected)


def test_a_sample_depends_on_seed_epoch_and_id_alone():
    samples, _ = mixed(Either({"mean": MixUp(alpha=1.0), "box": CutMix()}))
    keys = [(0, n) for n in range(12)]
    together = samples.many(keys)
    for (epoch, index), found in zip(keys, together, strict=True):
        again, later = samples(epoch, index), samples(epoch + 1, index)
        assert torch.equal(found.pieces[0].values, again.pieces[0].values)
        assert torch.equal(found.targets["label"], again.targets["label"])
        assert not torch.equal(found.pieces[0].values, later.pieces[0].values)


def test_ranks_and_batches_do_not_change_what_samples_become():
    def drawn(rank, world_size, batch_size):
        stream = Stream(source=Digits(), augment=ImageJitter(shift=0.1), mix=CutMix(), batch_size=batch_size)
        samples = stream.samples("train", {"vision": PatchTokenizer(patch_size=2, channels=1)}, name="x", seed=0)
        feed = Feed(samples, stream, name="x", seed=0, rank=rank, world_size=world_size)
        batches = [next(feed) for _ in range(24 // batch_size)]
        rows = [
            row
            for batch in batches
            for row in batch.parts["vision"].values.split(batch.parts["vision"].lengths.tolist())
        ]
        labels = [label for batch in batches for label in batch.targets["label"]]
        ids = [each for batch in batches for each in batch.ids]
        return {each: (row, label) for each, row, label in zip(ids, rows, labels, strict=True)}

    alone, shared = drawn(0, 1, 24), drawn(0, 2, 8) | drawn(1, 2, 8)
    assert alone.keys() == shared.keys()
    for key, (row, label) in alone.items():
        assert torch.equal(row, shared[key][0]) and torch.equal(label, shared[key][1])


def test_shares_follow_alpha_and_p():
    def shares(mixing):
        draws = [mixing.draw(chance(seed)) for seed in range(400)]
        return [None if mix is None else mix(grid(1, 1), grid(0, 1))[1] for mix in draws]

    narrow = torch.tensor(shares(MixUp(alpha=50.0)))
    wide = torch.tensor(shares(MixUp(alpha=0.1)))
    assert narrow.mean() == pytest.approx(0.5, abs=0.02) and narrow.std() < 0.07
    assert wide.mean() == pytest.approx(0.5, abs=0.06) and wide.std() > 0.4
    assert 60 < sum(share is None for share in shares(MixUp(p=0.75))) < 140


def test_a_cut_box_is_a_rectangle_and_the_share_what_is_left():
    sizes = []
    for seed in range(50):
        values, share = CutMix().draw(chance(seed))(grid(1), grid(0))
        inside = values[:, 0].view(8, 8) == 0
        rows, columns = inside.any(1), inside.any(0)
        assert torch.equal(inside, rows[:, None] & columns[None])
        for side in (rows, columns):
            places = side.nonzero()[:, 0]
            assert len(places) == 0 or places.max() - places.min() + 1 == len(places)
        assert share == 1 - float(inside.float().mean())
        sizes.append(share)
    assert min(sizes) < 0.5 and max(sizes) > 0.9


def test_a_box_of_frames_is_a_stretch_and_ids_can_be_cut():
    a, b = (Tokens(values=torch.full((20,), n), positions=torch.arange(20.0)[:, None], modality="text") for n in (7, 9))
    for seed in range(10):
        values, share = CutMix().draw(chance(seed))(a, b)
        places = (values == 9).nonzero()[:, 0]
        assert share == pytest.approx(1 - len(places) / 20)
        assert len(places) == 0 or places.max() - places.min() + 1 == len(places)


def test_a_sample_that_stays_alone_has_a_whole_class_and_its_partner_is_not_made():
    samples, plain = mixed(Alone())
    made = []
    many = plain.many
    plain.many = lambda keys: made.extend(keys) or many(keys)
    found = samples(0, 4)
    assert torch.equal(found.pieces[0].values, plain(0, 4).pieces[0].values)
    assert found.targets["label"].tolist() == [0, 1, 0] and made == [(0, 4)]


def test_numbers_and_answers_to_questions_are_mixed_too():
    samples, _ = mixed(Half(), targets=lambda n: {"value": torch.tensor(float(n)), "labels": torch.ones(2) * (n % 2)})
    means = {float(samples(0, n).targets["value"]) * 2 - n for n in range(12)}
    assert means <= set(map(float, range(12))) and len(means) > 3
    assert {0.0, 0.5, 1.0} >= {float(each) for n in range(12) for each in samples(0, n).targets["labels"]}


def test_a_partner_that_cannot_be_read_is_passed_over_and_an_own_one_named():
    images = [torch.rand(1, 4, 4), "damaged"] * 6
    samples, _ = mixed(Half(), contents=images)
    assert len(samples.many([(0, n) for n in range(0, 12, 2)])) == 6
    with pytest.raises(SampleError, match=r"sample 's1' of x: damaged header"):
        samples.many([(0, 0), (0, 1)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"contents": [torch.rand(1, 4, n) for n in (3, 4, 5, 6)]},
            r"'s0' of x: mix takes samples whose tokens lie alike",
        ),
        ({"targets": lambda n: {"kind": torch.tensor(n)}}, r"no mean of the target 'kind' \(torch.int64\)"),
        ({"n_classes": None}, "where the data set states n_classes"),
        (
            {"answer": "vision"},
            "mix takes samples of one modality with targets of the whole; 's0' has 0 pieces, 1 of an",
        ),
        ({"targets": lambda n: {"value": torch.tensor(1.0)} if n % 2 else {}}, "takes samples with the same targets"),
    ],
)
def test_what_cannot_be_mixed_is_told_with_the_sample(options, message):
    samples, _ = mixed(Half(), **options)
    with pytest.raises(SampleError, match=message):
        [samples(epoch, 0) for epoch in range(8)]


def test_parts_of_tokens_that_cannot_be_mixed_are_told():
    ids = Tokens(values=torch.arange(3), positions=torch.zeros(3, 0), modality="text")
    with pytest.raises(ValueError, match="MixUp received ids of text, which have no mean; choose CutMix"):
        MixUp().draw(chance())(ids, ids)
    with pytest.raises(ValueError, match="CutMix received 3 tokens of text on 0 axes"):
        CutMix().draw(chance())(ids, ids)
    with pytest.raises(ValueError, match="has no mixing to choose from"):
        Either({})
    with pytest.raises(ValueError, match="alpha=0 must be above 0"):
        CutMix(alpha=0)
    with pytest.raises(ValueError, match="p=2 must be in 0 to 1"):
        MixUp(p=2)


def test_only_training_samples_are_mixed_and_lengths_stay():
    stream = Stream(source=Digits(), mix=MixUp())
    tokenizers = {"vision": PatchTokenizer(patch_size=2, channels=1)}
    train, val = (stream.samples(split, tokenizers, name="x", seed=0) for split in ("train", "val"))
    assert train(0, 0).targets["label"].shape == (10,) and val(0, 0).targets["label"].shape == ()
    assert (
        train.length(0) == 16
        and train.id(0) == Digits().split("train")[0].id
        and len(train) == len(Digits().split("train"))
    )


def test_the_share_is_drawn_by_the_key_of_the_sample():
    samples, _ = mixed(MixUp(alpha=1.0), targets=lambda n: {"value": torch.tensor(float(n))})
    key = generator(0, 2, "s5", "mix")
    mix = MixUp(alpha=1.0).draw(key)
    partner = int(torch.randint(12, (), generator=key))
    share = mix(grid(1, 1), grid(0, 1))[1]
    assert float(samples(2, 5).targets["value"]) == pytest.approx(5 * share + partner * (1 - share))
