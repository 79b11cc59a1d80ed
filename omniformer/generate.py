"""`python -m omniformer.generate RUN PROMPT`: continues a text with a trained language model, as it is written."""

import argparse
import sys
from collections.abc import Sequence

from omniformer.config import reported


def main(arguments: Sequence[str] | None = None) -> None:
    """Continues a prompt with a trained language model."""
    parser = argparse.ArgumentParser(prog="python -m omniformer.generate", description=main.__doc__)
    parser.add_argument("run", help="a run folder, or the model folder in it")
    parser.add_argument("prompt", nargs="?", default="", help="text to continue; without one, a new text begins")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="when to end at the latest (default: 256)")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0 is greedy, 1 the model's own distribution (default: 0.8)"
    )
    parser.add_argument("--top-k", type=int, help="draw among the k most probable tokens only")
    parser.add_argument("--top-p", type=float, help="draw among the fewest tokens that have this probability together")
    parser.add_argument(
        "--min-p", type=float, help="drop tokens less probable than this share of the most probable one"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (default: 0)")
    parser.add_argument("--member", help="which language model, in a model that has several")
    parser.add_argument("--device", default="cpu", help="where the model runs, for example cuda (default: cpu)")
    parser.add_argument(
        "--allow-targets", nargs="*", default=[], metavar="PACKAGE", help="packages of your own that the run names"
    )
    given = parser.parse_args(arguments)
    with reported():
        from omniformer.folder import load
        from omniformer.generation import Sampler

        choose = Sampler(
            temperature=given.temperature, top_k=given.top_k, top_p=given.top_p, min_p=given.min_p, seed=given.seed
        )
        predictor = load(given.run, allow_targets=given.allow_targets)
        predictor.model.to(given.device)
        pieces = predictor.generate(
            given.prompt, choose=choose, max_new_tokens=given.max_new_tokens, member=given.member
        )
        sys.stdout.write(given.prompt)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
