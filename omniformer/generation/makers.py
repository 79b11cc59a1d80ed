"""Who makes what a task has learned to make."""

from omniformer.generation.filler import finds_hidden
from omniformer.generation.painter import Painter
from omniformer.generation.transcriber import Transcriber
from omniformer.generation.writer import Writer
from omniformer.heads.head import Makes
from omniformer.model import OmniFormer

Maker = Writer | Painter | Transcriber
MAKERS: dict[Makes, type[Maker]] = {"ids": Writer, "pictures": Painter, "transcripts": Transcriber}
"""By what a head says that is made with it; `of(model, task, member)` makes one."""


def maker_of(model: OmniFormer, task: str) -> type[Maker] | None:
    """Who makes something with a task; None for one that makes nothing: a head without it, or one that scores ids but
    has learned to find hidden ones.
    """
    made = model.head(task).makes
    return None if made is None or finds_hidden(model, task) else MAKERS[made]
