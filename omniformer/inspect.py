"""`omniformer inspect ...`: what a model costs, before a single weight is allocated."""

from typing import Any

from omniformer.config import query

# The class that describes the keys of conf/inspect.yaml.
ROOT = "omniformer.inspection.settings.Settings"
_EXAMPLES = (
    ("core=gpt2_small", "the whole published model, and its batch of 1 x 1024 tokens"),
    ("core=llama2_7b dtype=bfloat16 seq_len=4096", "another type and length"),
    ("core=llama3_8b dtype=bfloat16 devices=64 strategy=fsdp", "what each of 64 devices holds and sends in a step"),
    ("core=small batch_size=32 seq_len=256", "a core of our own"),
    ("core=tiny core.n_layers=8 core.d_model=256", "change any value"),
    ("core=mistral_7b --cfg job", "print the description and stop"),
)


@query("inspect", ROOT, _EXAMPLES)
def main(config: dict[str, Any]) -> dict[str, int]:
    """Prints what a model costs: weights, operations, memory of activations and caches, a device's share of a step."""
    from omniformer.inspection.report import numbers, print_table

    found = numbers(config)
    print_table(config, found)
    return found


if __name__ == "__main__":
    main()
