"""PaliGemma ([Beyer et al. 2024](https://arxiv.org/abs/2407.07726)) and PaliGemma 2 ([Steiner et al.
2024](https://arxiv.org/abs/2412.03555)): SigLIP's tower, a map, and Gemma, which reads picture and question both ways.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import SubwordTokenizer, Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import conv_shape_of
from omniformer.pretrained.families.llava import LLaVA
from omniformer.pretrained.families.siglip import SigLIPVision
from omniformer.pretrained.family import part
from omniformer.pretrained.names import Name, linear
from omniformer.pretrained.reference.patches import sides
from omniformer.pretrained.reference.pictures_in_text import PrefixedPicturesReference
from omniformer.recipe import Node

# What the reference takes for the tower where its configuration is silent.
_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "vision_use_head": False,
}
_TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_attention_heads": 8,
    "num_hidden_layers": 18,
    "num_key_value_heads": 1,
    "vocab_size": 257152,
}
# As the reference's processor puts a picture, a question and its answer together; it knows no second question.
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'assistant' and loop.index0 == 1 %}"
    "{% generation %}{% for content in message['content'] %}{{ content['text'] }}{% endfor %}{{ eos_token }}"
    "{% endgeneration %}{% elif message['role'] == 'user' and loop.first %}"
    "{% for content in message['content'] if content['type'] == 'image' %}{{ '<image>' }}{% endfor %}{{ bos_token }}"
    "{% for content in message['content'] if content['type'] == 'text' %}{{ content['text'] }}{% endfor %}{{ '\n' }}"
    "{% else %}{{ raise_exception('PaliGemma reads one question and its answer') }}{% endif %}{% endfor %}"
)


class PaliGemma(LLaVA):
    """PaliGemma 1 and 2 as `PaliGemmaForConditionalGeneration` writes them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("PaliGemmaForConditionalGeneration",)
    texts: ClassVar[tuple[str, ...]] = ("gemma", "gemma2")
    defaults: ClassVar[dict[str, Any]] = {"image_token_index": 256000, "tie_word_embeddings": True}

    @property
    def recipe(self) -> Node:
        """As LLaVA's; windows of Gemma 2 look behind only, since what is ahead is the business of the rule."""
        recipe = super().recipe
        for kind in recipe["core"].get("kinds", {}).values():
            if "rule" in kind:
                kind["rule"] = {name: value for name, value in kind["rule"].items() if name != "right"}
        return recipe

    @property
    def text_config(self) -> dict[str, Any]:
        """That of the language model, which says that it reads both ways; who does so, the rule says."""
        config = dict(self.config.get("text_config") or _TEXT)
        config.pop("use_bidirectional_attention", None)
        return config

    @property
    def vision_config(self) -> dict[str, Any]:
        """What the configuration says of the tower."""
        return {"vision_use_head": False, **(self.config.get("vision_config") or _VISION)}

    @property
    def vision(self) -> SigLIPVision:
        """The tower."""
        config = {"model_type": "siglip_vision_model", **self.vision_config, "architectures": None}
        if config["model_type"] != "siglip_vision_model":
            raise ValueError(f"vision_config has model_type={config['model_type']!r}; accepted: siglip_vision_model")
        if config["vision_use_head"]:
            raise ValueError("vision_config has vision_use_head=true, and nobody reads that head; accepted: false")
        return SigLIPVision(config)

    @property
    def projector(self) -> Node:
        """The tower and its norm, and one map."""
        return {}

    @property
    def rule(self) -> Node:
        """What is given is read both ways, what is written behind it from left to right."""
        rules = {name: part(f"omniformer.core.rules.{name.title()}") for name in ("causal", "prefix")}
        return part("omniformer.core.rules.any_of", rules=rules)

    def projector_names(self) -> Iterator[Name]:
        """The table of names of the map."""
        return linear("embedders.vision.map", "multi_modal_projector.linear")

    @property
    def max_seq_len(self) -> int | None:
        """The longest text of the language model's training, pictures included; no more than a window, where layers
        have one: what it hides of a question differs from the reference.
        """
        longest, window = self.text.max_seq_len, self.text.config.get("sliding_window")
        return longest if window is None or longest is None else min(longest, window)

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Texts with places for pictures, which nothing frames but their template; and patches."""
        found = super().tokenizers(folder)
        if "text" in found:
            found["text"] = _unframed(found["text"])
        return found

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `token_type_ids`, `attention_mask` and `pixel_values` in, `logits` out."""
        config = self.vision.config
        return PrefixedPicturesReference(
            model,
            self.head or "",
            placeholder=self.config["image_token_index"],
            patch_size=conv_shape_of(config)[-1],
            image_size=sides("image_size", config["image_size"]),
            longest=self.text.config.get("sliding_window"),
        )


def _unframed(tokenizer: Any) -> SubwordTokenizer:
    """The same vocabulary without special tokens around texts, and with a template where it has none."""
    model, options = tokenizer.library_model(), tokenizer.config()
    model.post_processor = None
    if "chat" not in options:
        names = {"bos_token": "<bos>", "eos_token": "<eos>"}
        options["chat"] = {"templates": {"default": TEMPLATE}, "names": names}
    return SubwordTokenizer.from_model(model, **options)
