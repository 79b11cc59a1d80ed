"""Graphs whose held-out edges can be asked for."""

from omniformer_tokenizers import GraphTokenizer

from omniformer.batch import Sample
from omniformer.data.held_out_edges import HeldOutEdges
from omniformer.data.source import Raw


def rings(*sizes: int) -> list[Sample]:
    """Rings of nodes that all differ, three tenths of whose edges are to be found; two nodes or fewer have none."""
    raws = [
        Raw(
            id=f"ring {n}",
            contents={
                "graph": {
                    "n_nodes": n,
                    "edges": [[i, (i + 1) % n] for i in range(n)] if n > 2 else [],
                    "node_features": [[i] for i in range(n)],
                }
            },
        )
        for n in sizes
    ]
    tokenizer = GraphTokenizer(max_degree=0, node_vocab_sizes=(20,))
    made = HeldOutEdges(share=0.3)(raws, {"graph": tokenizer}, name="x", seed=0, split="train")
    return [made(0, i) for i in range(len(sizes))]
