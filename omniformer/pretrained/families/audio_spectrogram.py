"""AST, the audio spectrogram transformer ([Gong et al. 2021](https://arxiv.org/abs/2104.01778)): DeiT over sounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import ClassTokens, KaldiTokenizer, Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import classifier, encoder, encoder_names, patch_embedder, patch_names
from omniformer.pretrained.family import Family, factory, recipe_of
from omniformer.pretrained.files.processors import settings_of
from omniformer.pretrained.names import Name, linear
from omniformer.pretrained.reference.patches import SpectrogramReference, square
from omniformer.recipe import Node

# What the reference takes a key of the processor's settings for where it is left out.
PROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "ASTFeatureExtractor",
    "sampling_rate": 16000,
    "num_mel_bins": 128,
    "max_length": 1024,
    "do_normalize": True,
    "mean": -4.2677393,
    "std": 4.5689974,
}
N_CLASS_TOKENS = 2


class AudioSpectrogram(Family):
    """AST of all sizes, as `ASTForAudioClassification` writes them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("ASTForAudioClassification",)
    prefix = "audio_spectrogram_transformer."
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
        "patch_size": 16,
        "qkv_bias": True,
        "frequency_stride": 10,
        "time_stride": 10,
        "max_length": 1024,
        "num_mel_bins": 128,
    }

    @property
    def recipe(self) -> Node:
        """Pre-norm over two class tokens and overlapping patches, learned positions, a norm before the classifier."""
        config = self.config
        return recipe_of(
            core=encoder(config, self.activation("hidden_act")),
            embedders={
                "audio": patch_embedder(
                    d_model=config["hidden_size"],
                    features=self.patch_size**2,
                    sizes=self.grid,
                    n_class_tokens=N_CLASS_TOKENS,
                    dropout=config["hidden_dropout_prob"],
                )
            },
            heads={
                "classification": classifier(
                    config["hidden_size"],
                    self.n_classes,
                    pool=factory("omniformer.heads.FirstTokens", n=N_CLASS_TOKENS),
                    norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"]),
                )
            },
        )

    def names(self) -> Iterator[Name]:
        """The table of names; in the files, frequency comes before time."""
        theirs, conv = "audio_spectrogram_transformer", (self.config["hidden_size"], 1, *[self.patch_size] * 2)
        tokens = ("cls_token", "distillation_token")
        yield from patch_names("embedders.audio", f"{theirs}.embeddings", conv, self.grid, tokens, turned=True)
        yield from encoder_names(self.config, theirs)
        yield from linear("heads.classification.norm", "classifier.layernorm")
        yield from linear("heads.classification.classes", "classifier.dense")

    @property
    def patch_size(self) -> int:
        """Frames and bands of a patch."""
        return square("patch_size", self.config["patch_size"])

    @property
    def strides(self) -> tuple[int, int]:
        """Frames and bands from one patch to the next."""
        return self.config["time_stride"], self.config["frequency_stride"]

    @property
    def size(self) -> tuple[int, int]:
        """Frames and bands of a spectrogram."""
        return self.config["max_length"], self.config["num_mel_bins"]

    @property
    def grid(self) -> list[int]:
        """Patches along time and along frequency."""
        return [(side - self.patch_size) // step + 1 for side, step in zip(self.size, self.strides, strict=True)]

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Kaldi's frames of one length, in patches behind class tokens; nothing where the folder says nothing of
        sounds.

        Raises:
            ValueError: the file is of another kind, or makes spectrograms of another size than the model reads.
        """
        described = settings_of(folder, "feature_extractor")
        if described is None:
            return {}
        path, settings = described[0], PROCESSOR | described[1]
        if (kind := settings["feature_extractor_type"]) != "ASTFeatureExtractor":
            raise ValueError(f"{path}: feature_extractor_type={kind!r}; accepted: ASTFeatureExtractor")
        made = settings["max_length"], settings["num_mel_bins"]
        if made != self.size:
            raise ValueError(
                f"{path}: its spectrograms have max_length and num_mel_bins {made}, those of config.json {self.size}"
            )
        # (frame - mean) / (2 std), or the frame itself.
        mean, std = (settings["mean"], settings["std"]) if settings["do_normalize"] else (0.0, 0.5)
        tokenizer = KaldiTokenizer(
            sample_rate=settings["sampling_rate"],
            n_mels=settings["num_mel_bins"],
            mean=mean,
            std=std,
            # As far as whole patches reach: the model never sees the few frames behind the last one.
            n_frames=(self.grid[0] - 1) * self.strides[0] + self.patch_size,
            frames_per_token=self.patch_size,
            frame_stride=self.strides[0],
            bands_per_token=self.patch_size,
            band_stride=self.strides[1],
        )
        return {"audio": ClassTokens(tokenizer=tokenizer, n=N_CLASS_TOKENS)}

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_values` in, `logits` out."""
        return SpectrogramReference(
            model,
            self.head,
            size=self.size,
            patch_size=self.patch_size,
            strides=self.strides,
            n_class_tokens=N_CLASS_TOKENS,
        )
