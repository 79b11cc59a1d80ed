"""PEGASUS, which writes summaries ([Zhang et al. 2019](https://arxiv.org/abs/1912.08777))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.bart import BART
from omniformer.pretrained.families.marian import Marian


class Pegasus(Marian):
    """PEGASUS as `PegasusForConditionalGeneration` writes it: waves as in Marian, one table, norms before the branches.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("PegasusForConditionalGeneration", "PegasusModel")
    pre_norm = True
    defaults: ClassVar[dict[str, Any]] = BART.defaults | {
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    needed: ClassVar[dict[str, Any]] = Marian.needed | {"normalize_before": True, "add_final_layer_norm": True}

    @property
    def one_table(self) -> bool:
        """Whether what is read and what is written have one table: always."""
        return True
