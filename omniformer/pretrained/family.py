"""What a family of published models must say of itself; everything else is common to all of them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.generation.allowed import Allowed
from omniformer.generation.speech import Speech
from omniformer.model import OmniFormer
from omniformer.pretrained.files.checkpoint import CONFIG_FILE, WEIGHTS_FILE, Checkpoint
from omniformer.pretrained.files.writing import allowed_ids
from omniformer.pretrained.names import Name
from omniformer.recipe import Node

# By `model_type` in config.json, or the library whose configuration it is, as `kind_of` tells: the module of `families`
# that reads it, and its class.
FAMILIES: dict[str, tuple[str, str]] = {
    "albert": ("albert", "ALBERT"),
    "audio-spectrogram-transformer": ("audio_spectrogram", "AudioSpectrogram"),
    "bart": ("bart", "BART"),
    "beit": ("beit", "BEiT"),
    "bert": ("bert", "BERT"),
    "bloom": ("bloom", "BLOOM"),
    "camembert": ("roberta", "CamemBERT"),
    "chronos": ("chronos", "Chronos"),
    "clip": ("clip", "CLIP"),
    "clip_text_model": ("clip", "CLIPText"),
    "clip_vision_model": ("clip", "CLIPVision"),
    "deberta-v2": ("deberta_v2", "DeBERTaV2"),
    "deit": ("deit", "DeiT"),
    "diffllama": ("diffllama", "DiffLlama"),
    "dinov2": ("dinov2", "DINOv2"),
    "dinov2_with_registers": ("dinov2", "DINOv2WithRegisters"),
    "dinov3_vit": ("dinov3", "DINOv3"),
    "distilbert": ("distilbert", "DistilBERT"),
    "electra": ("electra", "ELECTRA"),
    "eva02": ("eva02", "EVA02"),
    "falcon": ("falcon", "Falcon"),
    "gemma": ("gemma", "Gemma"),
    "gemma2": ("gemma2", "Gemma2"),
    "gemma3_text": ("gemma3", "Gemma3"),
    "gpt2": ("gpt2", "GPT2"),
    "gpt_neox": ("gpt_neox", "GPTNeoX"),
    "gptj": ("gptj", "GPTJ"),
    "granite": ("granite", "Granite"),
    "gpt_oss": ("gpt_oss", "GptOss"),
    "hubert": ("hubert", "HuBERT"),
    "idefics3": ("idefics3", "Idefics3"),
    "llama": ("llama", "Llama"),
    "llava": ("llava", "LLaVA"),
    "m2m_100": ("m2m_100", "M2M100"),
    "mamba2": ("mamba2", "Mamba2"),
    "marian": ("marian", "Marian"),
    "mbart": ("mbart", "MBART"),
    "mistral": ("mistral", "Mistral"),
    "mixtral": ("mixtral", "Mixtral"),
    "modernbert": ("modernbert", "ModernBERT"),
    "mpnet": ("mpnet", "MPNet"),
    "mt5": ("t5", "MT5"),
    "nomic_bert": ("nomic_bert", "NomicBERT"),
    "olmo2": ("olmo2", "OLMo2"),
    "olmo3": ("olmo3", "OLMo3"),
    "open_clip": ("open_clip", "OpenCLIP"),
    "opt": ("opt", "OPT"),
    "paligemma": ("paligemma", "PaliGemma"),
    "pegasus": ("pegasus", "Pegasus"),
    "phi3": ("phi3", "Phi3"),
    "qwen2": ("qwen2", "Qwen2"),
    "qwen2_5_vl": ("qwen2_5_vl", "Qwen25VL"),
    "qwen2_vl": ("qwen2_vl", "Qwen2VL"),
    "qwen3": ("qwen3", "Qwen3"),
    "qwen3_moe": ("qwen3_moe", "Qwen3MoE"),
    "roberta": ("roberta", "RoBERTa"),
    "siglip": ("siglip", "SigLIP"),
    "siglip2": ("siglip2", "SigLIP2"),
    "siglip2_text_model": ("siglip2", "SigLIP2Text"),
    "siglip2_vision_model": ("siglip2", "SigLIP2Vision"),
    "siglip_text_model": ("siglip", "SigLIPText"),
    "siglip_vision_model": ("siglip", "SigLIPVision"),
    "starcoder2": ("starcoder2", "StarCoder2"),
    "smolvlm": ("smolvlm", "SmolVLM"),
    "smollm3": ("smollm3", "SmolLM3"),
    "t5": ("t5", "T5"),
    "timm": ("timm", "Timm"),
    "vit": ("vit", "ViT"),
    "vit_mae": ("vit_mae", "ViTMAE"),
    "wav2vec2": ("wav2vec2", "Wav2Vec2"),
    "wavlm": ("wavlm", "WavLM"),
    "whisper": ("whisper", "Whisper"),
    "xlm-roberta": ("roberta", "XLMRoBERTa"),
}


class Family(ABC):
    """One published model: how its configuration and its tensors are said in our words.

    A subclass reads one `config.json` and states facts; it holds no model code. The recipe names ordinary parts of the
    core, so that what results is a model like any other.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: the configuration asks for something that the core cannot express; says what.
    """

    architectures: ClassVar[tuple[str, ...]]
    """The classes of the reference library whose files are read, as `architectures` in `config.json` names them."""

    config_file: ClassVar[str] = CONFIG_FILE
    """What its configuration is written as."""

    weights_file: ClassVar[str] = WEIGHTS_FILE
    """What its weights are written as, where they are one file."""

    prefix: ClassVar[str] = ""
    """What stands before the names of the tensors in files of the whole model, and is left out in files of the part
    below the head, such as "transformer."."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """What the reference takes a key of `config.json` for where the file leaves it out."""

    ignored: ClassVar[tuple[str, ...]] = ()
    """Shell patterns of tensors that hold no knowledge: masks, ready-made positions, second names of tied tables."""

    aliases: ClassVar[Mapping[str, str]] = {}
    """Other ends of names of tensors, which some files have in place of the usual ones: "LayerNorm.gamma" for
    "LayerNorm.weight"."""

    packings: ClassVar[Mapping[str, Callable[[Path], Checkpoint]]] = {}
    """By `quant_method` of `quantization_config`, what unpacks such weights while they are read."""

    sizes: ClassVar[Mapping[str, str]] = {"vocab_size": "vocab_size"}
    """The keys of sizes that may be changed later: of the vocabulary (`vocab_size`), and of learned positions
    (`max_seq_len`) where the family has them. A dot leads into a part of the configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config: dict[str, Any] = {**self.defaults, **config}
        named = self.config.get("architectures") or [self.architectures[0]]
        self.architecture: str = named[0]
        if self.architecture not in self.architectures:
            raise ValueError(
                f"architectures={named}: of model_type={self.config.get('model_type')!r} this reads "
                f"{', '.join(self.architectures)}"
            )
        # What is unpacked is also written back unpacked, of which the configuration then has nothing to say.
        quantized = self.config.pop("quantization_config", None) or {}
        self.packing: str | None = quantized.get("quant_method") if isinstance(quantized, Mapping) else str(quantized)
        if quantized and self.packing not in self.packings:
            accepted = "".join(f", or packed as {kind}" for kind in self.packings)
            raise ValueError(
                f"its weights are quantized (quantization_config: {self.packing}); accepted: weights in float32, "
                f"float16 or bfloat16{accepted}"
            )

    def checkpoint(self, source: Path) -> Checkpoint:
        """The tensors of a folder or of a file, unpacked where they are packed; see `Checkpoint`."""
        return Checkpoint(source) if self.packing is None else self.packings[self.packing](source)

    @property
    @abstractmethod
    def recipe(self) -> Node:
        """How to build the model: see `omniformer.recipe`."""

    @abstractmethod
    def names(self) -> Iterable[Name]:
        """The table of names: a line for each tensor of the file, or for each part of it."""

    @abstractmethod
    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """The tokenizers by modality, from the files in the folder; those whose files are not there are left out."""

    @abstractmethod
    def reference(self, model: OmniFormer) -> nn.Module:
        """The model behind the reference's own keywords: see `omniformer.pretrained.reference`."""

    @property
    def head(self) -> str | None:
        """The name of the one head; None for files of the part below the heads."""
        return next(iter(self.recipe["heads"]), None)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes, made up as in the reference where the file has none; empty without classes."""
        named = self.config.get("id2label") or {}
        if not named and "Classification" in self.architecture:
            named = {i: f"LABEL_{i}" for i in range(self.config.get("num_labels", 2))}
        return tuple(str(named[key]) for key in sorted(named, key=int))

    @property
    def n_classes(self) -> int:
        """The number of its classes.

        Raises:
            ValueError: there are none.
        """
        if not self.labels:
            raise ValueError(f"config.json gives {self.architecture} no class; accepted: num_labels of at least 1")
        return len(self.labels)

    @property
    def given(self) -> tuple[str, ...]:
        """The modalities that it reads before it writes; empty unless it is an encoder and a decoder."""
        return ()

    @property
    def max_seq_len(self) -> int | None:
        """The longest text that it can read; None for no limit."""
        return None

    def holding(self, tensors: Iterable[str]) -> "Family":
        """The family as a file of these tensors has it: some leave out a part of which the configuration is silent."""
        return self

    chosen_size: bool = False
    """Whether somebody chose the size of its pictures, against the files."""

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> "Family":
        """The family of the same model for pictures of another size, to which the model's positions are stretched.

        Args:
            model: changed in place.
            image_size: height and width in pixels.

        Raises:
            ValueError: it reads no pictures, or none of that size.
        """
        raise ValueError(f"image_size={image_size}: {self.architecture} reads no pictures")

    def resized(self, **sizes: int) -> Self:
        """The same family with other sizes, as `sizes` names them.

        Raises:
            ValueError: the family has no such size.
        """
        config = copy.deepcopy(self.config)
        for name, n in sizes.items():
            if name not in self.sizes:
                raise ValueError(f"{self.architecture} has no {name} to change; it has {', '.join(self.sizes)}")
            *path, key = self.sizes[name].split(".")
            place = config
            for each in path:
                place = place.setdefault(each, {})
            place[key] = n
        return type(self)(config)

    def allowed(self, folder: Path) -> Allowed | None:
        """Which ids it writes, and where, from the files in the folder."""
        return allowed_ids(folder, self.config)

    def speech(self, folder: Path) -> Speech | None:
        """How it writes down speech window by window, from the files in the folder; None where it does not."""
        return None

    def in_memory(self, module: str) -> str:
        """What the reference calls a module once it is loaded, by which PEFT names what it adapts; as in the files.

        Args:
            module: as the files call it.
        """
        return module

    def need(self, key: str, *accepted: Any) -> Any:
        """A key of the configuration that must be there, and must be one of a few values where these are given.

        Raises:
            ValueError: it is not there, or has another value.
        """
        if key not in self.config:
            raise ValueError(f"config.json lacks {key!r}, which {self.architecture} needs")
        value = self.config[key]
        if accepted and value not in accepted:
            raise ValueError(f"config.json has {key}={value!r}; accepted: {', '.join(map(repr, accepted))}")
        return value

    def activation(self, key: str) -> str:
        """One of our activations, from the reference's name for it."""
        name = self.need(key)
        if name not in ACTIVATIONS:
            raise ValueError(f"config.json has {key}={name!r}; accepted: {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]


ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu2": "relu2",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""Our names for the reference's activations."""


def family_of(config: Mapping[str, Any], source: str = "config.json") -> Family:
    """The family that a configuration belongs to.

    Args:
        config: the content of `config.json`.
        source: names it in messages.

    Raises:
        ValueError: no family of ours, or one that asks for what the core cannot express; names the file and the fact.

    Example:
        >>> type(family_of({"model_type": "gpt2"})).__name__
        'GPT2'
    """
    kind = kind_of(config)
    if kind not in FAMILIES:
        # Programs write this key, so that a name that is like another means another architecture, no slip of a finger.
        raise ValueError(f"{source} has model_type={kind!r}, which is not read; known: {', '.join(sorted(FAMILIES))}")
    module, name = FAMILIES[kind]
    try:
        return getattr(import_module(f"omniformer.pretrained.families.{module}"), name)(config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def kind_of(config: Mapping[str, Any]) -> str | None:
    """What a configuration is of, as `FAMILIES` has it; None where it is no published one.

    Example:
        >>> kind_of({"model_type": "gpt2"}), kind_of({"architecture": "vit_base_patch16_224"}), kind_of({})
        ('gpt2', 'timm', None)
    """
    if config.get("chronos_config"):
        return "chronos"  # it calls itself a T5, and says beside it how series become ids
    if str(config.get("architecture")).startswith("eva02_"):
        return "eva02"  # of timm, in parts that its other models do not have
    others = {"architecture": "timm", "model_cfg": "open_clip"}
    return config.get("model_type") or next((kind for key, kind in others.items() if key in config), None)


def part(target: str, **options: Any) -> Node:
    """A part of a recipe: a class of this project, to be built with these options.

    Example:
        >>> part("omniformer.core.norm.LayerNorm", eps=1e-5)
        {'_target_': 'omniformer.core.norm.LayerNorm', 'eps': 1e-05}
    """
    return {"_target_": target, **options}


def factory(target: str, **options: Any) -> Node:
    """A part that the core makes many times: as `part`, built when sizes are known."""
    return {"_target_": target, "_partial_": True, **options}


def recipe_of(
    *,
    core: Node,
    embedders: Mapping[str, Node],
    heads: Mapping[str, Node] | None = None,
    rules: Mapping[str, Node] | None = None,
    ties: Mapping[str, str] | None = None,
) -> Node:
    """A recipe as `omniformer.recipe.build_model` reads it, of parts that know their own sizes."""
    return {
        "core": core,
        "edges": {},
        "embedders": {name: {"node": node, "facts": {}} for name, node in embedders.items()},
        "heads": {name: {"node": node, "facts": {}} for name, node in (heads or {}).items()},
        "rules": dict(rules or {}),
        "ties": dict(ties or {}),
    }


def layers(n: int, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    """The names of all layers side by side.

    Example:
        >>> list(layers(1, "core.blocks", "h"))
        [('core.blocks.0', 'h.0')]
    """
    return ((f"{ours}.{i}", f"{theirs}.{i}") for i in range(n))
