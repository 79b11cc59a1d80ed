"""Who makes what a task has learned to make."""

from collections.abc import Mapping

from omniformer.generation.painter import Painter
from omniformer.generation.speech_writer import SpeechWriter
from omniformer.generation.transcriber import Transcriber
from omniformer.generation.writer import Writer
from omniformer.heads.head import Made
from omniformer.inputs.member import Member
from omniformer.model import OmniFormer

Maker = Writer | Painter | Transcriber
MAKERS: Mapping[Made | None, type[Maker]] = {"ids": Writer, "pictures": Painter, "transcripts": Transcriber}
"""By what a head says that is made with it; `of(model, task, member)` makes one."""


def maker_of(model: OmniFormer, task: str, member: Member) -> type[Maker] | None:
    """Who makes something with a task; None for one that makes nothing, or finds what is hidden."""
    if member.speech is not None:
        return SpeechWriter
    return MAKERS.get(model.makes(task))
