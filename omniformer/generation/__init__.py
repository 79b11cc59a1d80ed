"""Writing: from a model's scores of the next id to whole answers."""

from omniformer.generation.adjusting import Adjustment, AtLeast, Bias, NoRepeat, Penalties
from omniformer.generation.allowed import Allowed
from omniformer.generation.answer import Answer
from omniformer.generation.beam import BeamSearch
from omniformer.generation.begun import begin
from omniformer.generation.constrained import Constrained
from omniformer.generation.draft import Draft
from omniformer.generation.fallback import Fallback
from omniformer.generation.filler import Filler, Hole
from omniformer.generation.forecaster import Forecaster
from omniformer.generation.painter import Painter
from omniformer.generation.sampling import Greedy, Sampling
from omniformer.generation.self_draft import SelfDraft
from omniformer.generation.session import Session
from omniformer.generation.strategy import Chosen, Strategy, Written
from omniformer.generation.texts import Spelling
from omniformer.generation.transcriber import Transcriber
from omniformer.generation.write import stream, write
from omniformer.generation.writer import Writer

__all__ = [
    "Adjustment",
    "Allowed",
    "Answer",
    "AtLeast",
    "BeamSearch",
    "Bias",
    "Chosen",
    "Constrained",
    "Draft",
    "Fallback",
    "Filler",
    "Forecaster",
    "Greedy",
    "Hole",
    "NoRepeat",
    "Painter",
    "Penalties",
    "Sampling",
    "SelfDraft",
    "Session",
    "Spelling",
    "Strategy",
    "Transcriber",
    "Writer",
    "Written",
    "begin",
    "stream",
    "write",
]
