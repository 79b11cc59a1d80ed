"""mBART ([Liu et al. 2020](https://arxiv.org/abs/2001.08210); [Tang et al. 2020](https://arxiv.org/abs/2008.00401))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.bart import BART


class MBART(BART):
    """mBART as `MBartForConditionalGeneration` writes it: BART with its norms before the branches.

    In which language it writes, the ids say with which an answer begins: `generate(..., begin=["</s>", "de_DE"])` for
    those of 50 languages.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("MBartForConditionalGeneration", "MBartModel")
    pre_norm = True
    defaults: ClassVar[dict[str, Any]] = BART.defaults | {"decoder_start_token_id": None}
    needed: ClassVar[dict[str, Any]] = BART.needed | {"normalize_before": True, "add_final_layer_norm": True}
