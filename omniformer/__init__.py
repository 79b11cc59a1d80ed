"""One transformer core that learns from text, images, audio and graphs, alone or mixed.

The public names load on first use, so that `import omniformer` and every `--help` cost nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from omniformer.foreign import warn_of_foreign

if TYPE_CHECKING:
    from omniformer.batch import Batch as Batch
    from omniformer.batch import Sample as Sample
    from omniformer.batch import collate as collate
    from omniformer.core.transformer import Transformer as Transformer
    from omniformer.folder import load as load
    from omniformer.folder import save as save
    from omniformer.model import OmniFormer as OmniFormer
    from omniformer.prediction import Prediction as Prediction
    from omniformer.predictor import Predictor as Predictor

__version__ = "0.1.0"
warn_of_foreign()

# Public surface in reading order: use a trained model, build one, feed it.
_WHERE = {
    "load": "folder",
    "save": "folder",
    "Predictor": "predictor",
    "Prediction": "prediction",
    "OmniFormer": "model",
    "Transformer": "core.transformer",
    "Sample": "batch",
    "Batch": "batch",
    "collate": "batch",
}
__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from omniformer_tokenizers.versions import fitting

    with fitting():
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
