"""HuBERT ([Hsu et al. 2021](https://arxiv.org/abs/2106.07447)): wav2vec 2.0, taught otherwise."""

from typing import Any, ClassVar

from omniformer.pretrained.families.wav2vec2 import Wav2Vec2


class HuBERT(Wav2Vec2):
    """HuBERT of all sizes: writing down what is said (CTC), classes of sounds, or neither.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("HubertModel", "HubertForCTC", "HubertForSequenceClassification")
    prefix = "hubert."
    defaults: ClassVar[dict[str, Any]] = Wav2Vec2.defaults | {"feat_proj_layer_norm": True}
    only: ClassVar[dict[str, Any]] = Wav2Vec2.only | {"conv_pos_batch_norm": False}

    @property
    def norms_features(self) -> bool:
        """Whether there is a norm between the convolutions and the map."""
        return self.config["feat_proj_layer_norm"]
