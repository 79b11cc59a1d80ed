"""What a GGUF file says, in the words of the reference library: configuration, names of tensors, a tokenizer."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer.core.rotary_scaling import Llama3Scaling
from omniformer.files.untrusted import refuse_link_out
from omniformer.pretrained.files.checkpoint import CONFIG_FILE
from omniformer.pretrained.files.gguf import SUFFIX, GgufCheckpoint, Header, Packed, read_header, unpacked
from omniformer.pretrained.tokenizers.gguf import tokenizer_files

# By `general.architecture`: the class of the reference.
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
# By key behind the architecture: the key of config.json.
_KEYS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "rope.freq_base": "rope_theta",
}
_NEEDED = ("embedding_length", "block_count", "feed_forward_length", "attention.head_count", "context_length")
# Keys that are held against the others, or that change nothing.
_ALSO = (
    "vocab_size",
    "attention.value_length",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
)
_PARTS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TENSOR = re.compile(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)")
_FACTORS = "rope_freqs.weight"


def gguf_file(source: Path) -> Path | None:
    """The GGUF file that is meant: itself, or the only one of a folder without `config.json`; None where there is none.

    Raises:
        ValueError: the folder holds several, or a link that leads out of it.
    """
    if source.is_file():
        return source if source.suffix == SUFFIX else None
    if not source.is_dir() or (source / CONFIG_FILE).is_file():
        return None
    found = sorted(source.glob(f"*{SUFFIX}"))
    if len(found) > 1:
        raise ValueError(f"{source} holds {', '.join(each.name for each in found[:5])}; name the file that is meant")
    if not found:
        return None
    refuse_link_out(found[0], source)
    return found[0]


@contextmanager
def as_folder(path: Path) -> Iterator[tuple[Path, GgufCheckpoint]]:
    """A folder with the small files of a published model, made of a GGUF file for as long as it is read, and its
    tensors under the names of the reference.

    Raises:
        ValueError: the file is damaged, or holds a model that is not read; names it.
    """
    header = read_header(path)
    try:
        files = {CONFIG_FILE: json.dumps(config_of(header)), **tokenizer_files(header.fields)}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with TemporaryDirectory(prefix="gguf-") as place:
        for name, content in files.items():
            (Path(place) / name).write_text(content, encoding="utf-8")
        try:
            yield Path(place), checkpoint_of(header)
        except ValueError as error:
            raise ValueError(str(error).replace(place, str(path))) from error


def config_of(header: Header) -> dict[str, Any]:
    """The content of a `config.json`.

    Raises:
        ValueError: another architecture, a key that is missing or not read, or one file of several.
    """
    fields, kind = header.fields, header.fields.get("general.architecture")
    if kind not in _ARCHITECTURES:
        raise ValueError(f"general.architecture={kind!r} is not read; accepted: {', '.join(_ARCHITECTURES)}")
    if fields.get("split.count", 1) > 1:
        raise ValueError(f"this is one of {fields['split.count']} files; join them with gguf-split --merge")
    own = {name.removeprefix(f"{kind}."): value for name, value in fields.items() if name.startswith(f"{kind}.")}
    if missing := [name for name in _NEEDED if name not in own]:
        raise ValueError(f"it lacks {kind}.{missing[0]}")
    if strange := [name for name in own if name not in _KEYS and name not in _ALSO]:
        raise ValueError(f"it has {kind}.{strange[0]}={own[strange[0]]!r}, which is not read")
    if wrong := [name for name in _KEYS if name in own and not _is_size(own[name])]:
        raise ValueError(f"it has {kind}.{wrong[0]}={own[wrong[0]]!r}; accepted: one number above 0")
    if own["block_count"] > len(header.tensors):
        raise ValueError(f"it has {kind}.block_count={own['block_count']} and {len(header.tensors)} tensors")
    config = {theirs: own[name] for name, theirs in _KEYS.items() if name in own}
    config |= {"model_type": kind, "architectures": [_ARCHITECTURES[kind]]}
    head_dim = config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    for name in ("attention.value_length", "rope.dimension_count"):
        if own.get(name, head_dim) != head_dim:
            raise ValueError(f"it has {kind}.{name}={own[name]}; accepted: {head_dim}, as heads are wide")
    if "token_embd.weight" not in header.tensors:
        raise ValueError("it lacks the tensor token_embd.weight")
    config["vocab_size"] = header.tensors["token_embd.weight"].shape[0]
    config["tie_word_embeddings"] = "output.weight" not in header.tensors
    config["attention_bias"] = "blk.0.attn_q.bias" in header.tensors
    for name in ("bos", "eos"):
        config[f"{name}_token_id"] = fields.get(f"tokenizer.ggml.{name}_token_id")
    stops = [config["eos_token_id"], fields.get("tokenizer.ggml.eot_token_id")]
    if len(found := list(dict.fromkeys(each for each in stops if each is not None))) > 1:
        config["eos_token_id"] = found
    scaling = _scaling(own, header, config)
    return config | ({} if scaling is None else {"rope_scaling": scaling})


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def checkpoint_of(header: Header) -> GgufCheckpoint:
    """The tensors under the names of the reference."""
    names = {name: _their_name(name) for name in header.tensors}
    changed: dict[str, Callable[[Tensor], Tensor]] = {}
    kind = header.fields["general.architecture"]
    if kind == "llama":  # of which queries and keys stand there in the order of pairs that are turned together
        heads = header.fields[f"{kind}.attention.head_count"]
        kv_heads = header.fields.get(f"{kind}.attention.head_count_kv", heads)
        for name in header.tensors:
            if (found := _TENSOR.fullmatch(name)) and found[2] in ("attn_q", "attn_k"):
                changed[name] = partial(_in_halves, n_heads=heads if found[2] == "attn_q" else kv_heads)
    tensors = {name: packed for name, packed in header.tensors.items() if name != _FACTORS}
    return GgufCheckpoint(Header(path=header.path, fields=header.fields, tensors=tensors), names, changed)


def _their_name(name: str) -> str:
    found = _TENSOR.fullmatch(name)
    if found is None or found[2] not in _PARTS:
        return name
    layer = "" if found[1] is None else f"model.layers.{int(found[1])}."
    return f"{layer}{_PARTS[found[2]]}.{found[3]}"


def _in_halves(rows: Tensor, *, n_heads: int) -> Tensor:
    """Rows of a head of which the first half is turned with the second, where neighbours were.

    Raises:
        ValueError: the rows are none of so many heads.
    """
    if rows.shape[0] % (2 * n_heads):
        raise ValueError(f"queries or keys have {rows.shape[0]} rows, which are no {n_heads} heads of pairs")
    return rows.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _scaling(own: Mapping[str, Any], header: Header, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is done with rotary positions for long texts."""
    kind = own.get("rope.scaling.type", "none")
    if _FACTORS in header.tensors:
        return _llama3(header.path, header.tensors[_FACTORS], config)
    if kind == "none":
        return None
    if kind not in ("linear", "yarn"):
        raise ValueError(f"it has rope.scaling.type={kind!r}; accepted: none, linear, yarn")
    if "rope.scaling.factor" not in own:
        raise ValueError(f"it has rope.scaling.type={kind!r} without rope.scaling.factor")
    found = {"rope_type": kind, "factor": own["rope.scaling.factor"]}
    original = own.get("rope.scaling.original_context_length")
    return found | ({} if original is None else {"original_max_position_embeddings": original})


def _llama3(path: Path, packed: Packed, config: Mapping[str, Any]) -> dict[str, Any]:
    """The scaling of Llama 3.1, of which the file holds only what becomes of each frequency.

    Raises:
        ValueError: that is another scaling.
    """
    factors = unpacked(np.memmap(path, dtype=np.uint8, mode="r"), packed, 0, packed.rows).flatten().float()
    base, n = config.get("rope_theta", 10_000.0), config["head_dim"]
    frequency = base ** -(torch.arange(0, n, 2).float() / n)
    scaling = {"factor": float(factors.max()), "low": 1.0, "high": 4.0, "original_seq_len": 8192}
    if len(factors) == len(frequency) and scaling["factor"] >= 1:
        expected = frequency / Llama3Scaling(**scaling)(frequency, base=base)  # pyright: ignore[reportArgumentType]
        if torch.allclose(factors, expected, rtol=1e-3):
            return {
                "rope_type": "llama3",
                "factor": scaling["factor"],
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            }
    raise ValueError(f"it scales its rotary positions by {_FACTORS} otherwise than Llama 3.1 does, which is not read")
