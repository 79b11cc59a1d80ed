from functools import partial

import pytest

from omniformer.core.positions import Learned, Sinusoidal
from omniformer.embedders import ClassTokenEmbedder, ConvStem, IdEmbedder, Maskable, NodeEmbedder, VectorEmbedder
from omniformer.embedders.reads import Reads

WIDTH = {"d_model": 8}


@pytest.mark.parametrize(
    ("embedder", "reads"),
    [
        (IdEmbedder(**WIDTH, vocab_size=9), Reads(ids=9)),
        (IdEmbedder(**WIDTH, vocab_size=9, segments=2), Reads(ids=9, features={"segment": 2})),
        (VectorEmbedder(**WIDTH, features=5), Reads(numbers=5)),
        (ConvStem(**WIDTH, features=6), Reads(numbers=6)),
        (Maskable(**WIDTH, embedder=VectorEmbedder(**WIDTH, features=5)), Reads(numbers=5)),
        (
            ClassTokenEmbedder(**WIDTH, embedder=IdEmbedder(**WIDTH, vocab_size=9, segments=3), n_class_tokens=2),
            Reads(ids=9, features={"class_token": 2, "segment": 3}),
        ),
        (Maskable(**WIDTH, embedder=NodeEmbedder(**WIDTH, vocab_sizes=[3])), None),
        (ClassTokenEmbedder(**WIDTH, embedder=NodeEmbedder(**WIDTH, vocab_sizes=[3])), None),
    ],
)
def test_an_embedder_says_what_it_reads(embedder, reads):
    assert embedder.reads == reads


def test_its_positions_and_how_long_a_sample_may_be():
    text = IdEmbedder(**WIDTH, vocab_size=9, position=partial(Learned, sizes=[12], first=2))
    assert (text.reads.position, text.reads.max_tokens) == (text.position, 10)
    pictures = Maskable(**WIDTH, embedder=VectorEmbedder(**WIDTH, features=4, axes=2, position=Sinusoidal))
    assert pictures.reads.position is pictures.embedder.position
