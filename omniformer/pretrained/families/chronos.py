"""Chronos ([Ansari et al. 2024](https://arxiv.org/abs/2403.07815)): T5 that reads and writes time series."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import ScaledBinsTokenizer, Tokenizer

from omniformer.pretrained.families.t5 import T5


class Chronos(T5):
    """Chronos of all sizes whose files say `model_type` "t5" and hold a `chronos_config`: a T5 over bins of values.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: as for `T5`, or series are made ids in another way than by bins of the scaled values.
    """

    architectures = ("T5ForConditionalGeneration",)
    defaults: ClassVar[dict[str, Any]] = T5.defaults | {"vocab_size": 4096}
    modality = "steps"

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        told = self.config["chronos_config"]
        known = {
            "tokenizer_class": "MeanScaleUniformBins",
            "model_type": "seq2seq",
            "use_eos_token": True,
            "n_special_tokens": 2,
            "pad_token_id": 0,
            "eos_token_id": 1,
        }
        for key, value in known.items():
            if told.get(key) != value:
                raise ValueError(f"config.json has chronos_config.{key}={told.get(key)!r}; accepted: {value!r}")
        if told["n_tokens"] > self.config["vocab_size"]:
            raise ValueError(
                f"config.json has chronos_config.n_tokens={told['n_tokens']}, more than vocab_size="
                f"{self.config['vocab_size']}"
            )

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Bins of scaled values, as the configuration says."""
        told = self.config["chronos_config"]
        limits = told["tokenizer_kwargs"]
        tokenizer = ScaledBinsTokenizer(
            n_bins=told["n_tokens"] - told["n_special_tokens"] - 1,
            low=limits["low_limit"],
            high=limits["high_limit"],
            context=told["context_length"],
            horizon=told["prediction_length"],
        )
        return {self.modality: tokenizer}
