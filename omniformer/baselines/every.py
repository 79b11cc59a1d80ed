"""All simple methods, in the order in which they run: quick ones first."""

from omniformer.baselines.baseline import Baseline
from omniformer.baselines.graphs import GIN, BagOfNodes
from omniformer.baselines.nodes import GCN, NodeFeatures
from omniformer.baselines.pictures import NearestPicture, Pixels, SmallCNN
from omniformer.baselines.sounds import LogMel
from omniformer.baselines.texts import Letters, Words
from omniformer.baselines.translation import WordByWord
from omniformer.baselines.trivial import Trivial

EVERY: tuple[type[Baseline], ...] = (
    *(Trivial, Words, Letters, WordByWord, Pixels, NearestPicture, SmallCNN),
    *(LogMel, BagOfNodes, GIN, NodeFeatures, GCN),
)
