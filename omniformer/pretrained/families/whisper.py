"""Whisper, which writes down and translates speech ([Radford et al. 2022](https://arxiv.org/abs/2212.04356))."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from einops import rearrange
from omniformer_tokenizers import Packed, Tokenizer, WhisperTokenizer
from torch import Tensor, nn

from omniformer.generation.speech import Speech
from omniformer.model import OmniFormer
from omniformer.pretrained.family import Family, factory, layers, part, recipe_of
from omniformer.pretrained.files.processors import settings_of
from omniformer.pretrained.files.writing import GENERATION_FILE, read_generation
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.sequences import Outputs, Reference, batch_of, ids, padded, takes_part
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

# What the reference takes a key of the processor's settings for where it is left out; only these values are read.
PROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "sampling_rate": 16000,
    "hop_length": 160,
    "n_fft": 400,
    "padding_value": 0.0,
    "dither": 0.0,
}


class Whisper(Family):
    """Whisper of all sizes, as `WhisperForConditionalGeneration` and `WhisperModel` write it.

    A sound is read as tokens of two frames, 20 ms, and may have any length: places beyond the published table of waves
    follow its formula; `generate` reads a sound of more than 30 seconds window by window (`SpeechWriter`). An answer
    begins with the language, the task and whether there are points in time, as the files say: to be written down,
    without, where they do not; a language that they leave open is found in the sound (what is learned from begins in
    English then). Another beginning is told to `generate`: `begin=["<|startoftranscript|>", "<|de|>", "<|translate|>",
    "<|notimestamps|>"]`, without a language to have it found, without the last to get points in time. In training the
    reference may hide stretches of frames (`apply_spec_augment`); here that is the data's to do. `scale_embedding`
    means nothing: the reference computes that factor and multiplies nothing by it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("WhisperForConditionalGeneration", "WhisperModel")
    prefix = "model."
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 51865,
        "num_mel_bins": 80,
        "d_model": 384,
        "encoder_layers": 4,
        "encoder_attention_heads": 6,
        "encoder_ffn_dim": 1536,
        "decoder_layers": 4,
        "decoder_attention_heads": 6,
        "decoder_ffn_dim": 1536,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "activation_function": "gelu",
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "tie_word_embeddings": True,
        "decoder_start_token_id": 50257,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
    }

    @property
    def recipe(self) -> Node:
        """A stem of two convolutions and stored waves, pre-norm, keys without offsets, learned places of what is
        written, one table for what is written and for the output.
        """
        config = self.config
        for key in ("encoder_layerdrop", "decoder_layerdrop"):
            self.need(key, 0.0)
        if self.architecture == "WhisperModel":
            self.need("tie_word_embeddings", True)
        d_model = config["d_model"]
        cross = "omniformer.core.attention.key_offsets.CrossAttentionWithoutKeyOffset"
        attention = factory(cross, dropout=config["attention_dropout"])
        core = part(
            "omniformer.core.encoder_decoder.EncoderDecoder",
            encoder=self._stack("encoder"),
            decoder=self._stack("decoder", block=factory("omniformer.core.block.CrossBlock", cross=attention)),
        )
        waves = factory("omniformer.core.positions.StoredSinusoidal", size=config["max_source_positions"], to_base=True)
        stem = part(
            "omniformer.embedders.ConvStem",
            d_model=d_model,
            features=2 * config["num_mel_bins"],
            position=waves,
            dropout=config["dropout"],
        )
        sizes = {"d_model": d_model, "vocab_size": config["vocab_size"]}
        places = factory("omniformer.core.positions.Learned", sizes=[config["max_target_positions"]])
        written = part("omniformer.embedders.IdEmbedder", **sizes, position=places, dropout=config["dropout"])
        return recipe_of(
            core=core,
            embedders={"audio": stem, "text": written},
            heads={"seq2seq": part("omniformer.heads.NextTokenHead", **sizes, tied=config["tie_word_embeddings"])},
            rules={"seq2seq": part("omniformer.core.rules.Causal")},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from linear("embedders.audio.first", "model.encoder.conv1")
        yield from linear("embedders.audio.second", "model.encoder.conv2")
        yield from same("embedders.audio.position.table", "model.encoder.embed_positions.weight")
        yield from same("embedders.text.position.table", "model.decoder.embed_positions.weight")
        tied = self.config["tie_word_embeddings"]
        table = "embedders.text.table.weight"
        yield from same(table, "model.decoder.embed_tokens.weight", also=["proj_out.weight"] * tied)
        if not tied:
            yield from same("heads.seq2seq.ids.weight", "proj_out.weight")
        for side in ("encoder", "decoder"):
            for block, layer in layers(self.config[f"{side}_layers"], f"core.{side}.blocks", f"model.{side}.layers"):
                yield from self._layer(block, layer)
                if side == "decoder":
                    yield from self._cross(block, layer)
            yield from linear(f"core.{side}.norm", f"model.{side}.layer_norm")

    @property
    def given(self) -> tuple[str, ...]:
        """What the encoder reads."""
        return ("audio",)

    @property
    def max_seq_len(self) -> int:
        """The places of what is written."""
        return self.config["max_target_positions"]

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Frames of 30 seconds, or as many as the folder says: a longer sound is cut there, as by the reference's
        processor (`generate` reads it whole), a shorter one filled up with silence. And byte pairs.

        Raises:
            ValueError: a file is damaged, makes frames of another kind than the model reads, or has the vocabulary of
                another model; names the file.
        """
        described = settings_of(folder, "feature_extractor")
        found: dict[str, Tokenizer] = {} if described is None else {"audio": self._frames(*described)}
        texts = text_tokenizer(folder, self.config, start=self.beginning(folder))
        return found | texts

    def beginning(self, folder: Path) -> list[int]:
        """The ids with which an answer begins, from the files of a folder: where it starts, the language, the task, and
        that there are no points in time.
        """
        languages = self._said(folder).get("lang_to_id") or {}
        start, *rest = self._begins(folder)
        if languages and not set(rest) & set(languages.values()):
            rest = [languages.get("<|en|>", min(languages.values())), *rest]
        return [start, *rest]

    def speech(self, folder: Path) -> Speech | None:
        """How it says language and time, where its files know the points in time: a language that they do not say is
        found in the sound.
        """
        said = self._said(folder)
        untimed = said.get("no_timestamps_token_id")
        if untimed is None:
            return None
        return Speech(
            begin=tuple(self._begins(folder)),
            languages=tuple((said.get("lang_to_id") or {}).values()),
            untimed=untimed,
            stop=self.config["eos_token_id"],
            latest_first=said.get("max_initial_timestamp_index"),
        )

    def _said(self, folder: Path) -> dict[str, Any]:
        """What the files of a folder say of writing."""
        return {**self.config, **read_generation(folder)}

    def _begins(self, folder: Path) -> list[int]:
        """The ids with which an answer begins, without a language where the files say none."""
        path, said = folder / GENERATION_FILE, self._said(folder)
        forced = [each[1] for each in said.get("forced_decoder_ids") or () if each[1] is not None]
        languages, tasks = said.get("lang_to_id") or {}, said.get("task_to_id") or {}
        told = said.get("language") or said.get("task")
        begins: list[int] = [said["decoder_start_token_id"]]
        if forced and not told:
            begins += forced
        elif languages:
            language = said.get("language")
            name = language if language in languages else f"<|{language}|>"
            if language and name not in languages:
                raise ValueError(f"{path} has language={language!r}; it knows {', '.join(sorted(languages))}")
            begins += [languages[name]] if language else []
            begins += [*(tasks[task] for task in [said.get("task") or "transcribe"] if task in tasks)]
        untimed = said.get("no_timestamps_token_id")
        return begins if untimed is None or untimed in begins else [*begins, untimed]

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_features` and `decoder_input_ids` in, `logits` out."""
        return SpeechReference(model, "seq2seq")

    def _frames(self, path: Path, described: dict[str, Any]) -> WhisperTokenizer:
        settings = PROCESSOR | described
        for key, accepted in PROCESSOR.items():
            if settings[key] != accepted:
                raise ValueError(f"{path}: {key}={settings[key]!r}; accepted: {accepted!r}")
        if settings.get("do_normalize"):
            raise ValueError(f"{path}: do_normalize=True; accepted: False")
        n_mels, bands = settings.get("feature_size", 80), self.config["num_mel_bins"]
        if n_mels != bands:
            raise ValueError(
                f"{path}: its frames have feature_size={n_mels}, those of config.json num_mel_bins={bands}"
            )
        return WhisperTokenizer(n_mels=n_mels, frames_per_token=2, seconds=float(settings.get("chunk_length", 30)))

    def _stack(self, side: str, **others: Any) -> Node:
        """The encoder, or the decoder."""
        config = self.config
        attention = "omniformer.core.attention.key_offsets.SelfAttentionWithoutKeyOffset"
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=config["d_model"],
            n_layers=config[f"{side}_layers"],
            n_heads=config[f"{side}_attention_heads"],
            attention=factory(attention, dropout=config["attention_dropout"]),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward",
                d_ff=config[f"{side}_ffn_dim"],
                activation=self.activation("activation_function"),
                dropout=config["activation_dropout"],
            ),
            dropout=config["dropout"],
            **others,
        )

    def _layer(self, block: str, layer: str) -> Iterator[Name]:
        """What layers of encoder and decoder have in common."""
        yield from self._maps(f"{block}.attention.branch.qkv", [f"{layer}.self_attn.{name}_proj" for name in "qkv"])
        yield from linear(f"{block}.attention.branch.out", f"{layer}.self_attn.out_proj")
        yield from linear(f"{block}.attention.norm", f"{layer}.self_attn_layer_norm")
        yield from linear(f"{block}.feedforward.branch.up", f"{layer}.fc1")
        yield from linear(f"{block}.feedforward.branch.down", f"{layer}.fc2")
        yield from linear(f"{block}.feedforward.norm", f"{layer}.final_layer_norm")

    def _cross(self, block: str, layer: str) -> Iterator[Name]:
        theirs = f"{layer}.encoder_attn"
        yield from linear(f"{block}.cross.branch.q", f"{theirs}.q_proj")
        yield from self._maps(f"{block}.cross.branch.kv", [f"{theirs}.{name}_proj" for name in "kv"])
        yield from linear(f"{block}.cross.branch.out", f"{theirs}.out_proj")
        yield from linear(f"{block}.cross.norm", f"{layer}.encoder_attn_layer_norm")

    def _maps(self, ours: str, theirs: Sequence[str]) -> Iterator[Name]:
        """Maps that are one below the other with us, of which that of the keys has no offsets."""
        n = self.config["d_model"]
        for i, name in enumerate(theirs):
            yield Name(ours=f"{ours}.weight", theirs=f"{name}.weight", rows=(i * n, (i + 1) * n))
        for i, name in enumerate(name for name in theirs if not name.endswith("k_proj")):
            yield Name(ours=f"{ours}.bias", theirs=f"{name}.bias", rows=(i * n, (i + 1) * n))


class SpeechReference(Reference):
    """A model that reads a sound and writes a text: `input_features`, `decoder_input_ids` and their mask in, `logits`
    out.

    Args:
        model: the loaded model.
        head: the name of its head.
    """

    def __init__(self, model: OmniFormer, head: str) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(
        self, *, input_features: Tensor, decoder_input_ids: Tensor, decoder_attention_mask: Tensor | None = None
    ) -> Outputs:
        """The reference's outputs; `last_hidden_state` is the decoder's.

        Shapes:
            input_features float `[samples, freq, time]`, decoder_input_ids and decoder_attention_mask int64
            `[samples, target seq]`.

        Raises:
            ValueError: the number of frames is odd: a token is two.
        """
        if input_features.shape[2] % 2:
            raise ValueError(f"input_features have {input_features.shape[2]} frames; give an even number, two a token")
        values = rearrange(input_features, "samples freq (time two) -> samples time (two freq)", two=2)
        heard = takes_part(values, None)
        positions = (heard.cumsum(1) - 1)[heard][:, None].float()
        sound = Packed(values=values[heard], positions=positions, modality="audio", lengths=heard.sum(1).cpu())
        written = takes_part(decoder_input_ids, decoder_attention_mask)
        batch = replace(batch_of(sound), answer=batch_of(ids(decoder_input_ids, written)))
        memory = self.model.memory(batch)
        x, layout = self.model.decode(batch, self.head, memory=memory)
        return Outputs(
            logits=padded(self.model.heads[self.head](x, layout), written),
            last_hidden_state=padded(x, written),
            encoder_last_hidden_state=padded(memory.x, heard),
        )
