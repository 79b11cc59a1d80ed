"""GGUF files made of tiny models of the reference library, by the library gguf's own writer."""

import gguf
import torch

PARTS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def written(path, theirs, packing=gguf.GGMLQuantizationType.F32, tokens=None, packed=None, **fields):
    """The file of a model, as `convert_hf_to_gguf.py` of llama.cpp writes it; norms and offsets stay float32.

    Args:
        path: of the file.
        theirs: the model.
        packing: of its matrices.
        tokens: of the vocabulary, by the names of the writer.
        packed: tensors in the place of the model's or beside them, by name in the file: bytes and packing.
        **fields: further keys, with two lines for a dot.
    """
    config = theirs.config
    kind = config.model_type
    writer = gguf.GGUFWriter(path, kind)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if kind == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    for name, value in fields.items():
        add = {bool: writer.add_bool, str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
        add.get(type(value), writer.add_array)(name.replace("__", "."), value)
    for add, content in (tokens or {}).items():
        getattr(writer, f"add_{add}")(content)
    tensors = {}
    for name, tensor in theirs.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        *_, last = name.split(".")
        layer, part = "", name.removesuffix(f".{last}")
        if part.startswith("model.layers."):
            number, part = part.removeprefix("model.layers.").split(".", 1)
            layer = f"blk.{number}."
        if kind == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            n_heads = config.num_attention_heads if "q_proj" in part else config.num_key_value_heads
            halves = tensor.reshape(n_heads, 2, len(tensor) // n_heads // 2, *tensor.shape[1:])
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        own = packing if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        content = gguf.quantize(tensor.float().numpy(), own)
        tensors[f"{layer}{PARTS[part]}.{last}"] = content, own
    for name, (content, own) in (tensors | (packed or {})).items():
        writer.add_tensor(name, content, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def unpacked(theirs, packing):
    """The same model with the numbers that a packing leaves of its matrices."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim == 2:
                kept = gguf.dequantize(gguf.quantize(parameter.numpy(), packing), packing)
                parameter.copy_(torch.from_numpy(kept).view_as(parameter))
    return theirs
