"""SmolVLM and SmolVLM2 ([Marafioti et al. 2025](https://arxiv.org/abs/2504.05299))."""

from omniformer.pretrained.families.idefics3 import Idefics3


class SmolVLM(Idefics3):
    """SmolVLM2 as `SmolVLMForConditionalGeneration` writes it: Idefics3 of small sizes. SmolVLM's first files call
    themselves Idefics3.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("SmolVLMForConditionalGeneration",)
    processor = "SmolVLMImageProcessor"
