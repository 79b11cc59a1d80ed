"""`python -m omniformer.harness ...`: lm-evaluation-harness with the model `omniformer`: runs and published folders."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from omniformer_tokenizers.text.base import text_tokens

from omniformer.batch import Sample, collate
from omniformer.config import reported
from omniformer.device import chosen
from omniformer.folder import load
from omniformer.generation import Greedy, Sampling, Writer

log = logging.getLogger(__name__)
Scored = tuple[float, bool]


class HarnessModel:
    """A language model as lm-evaluation-harness asks for one: how probable texts are, and what is written.

    Texts become tokens as in writing; an empty one begins with the start of the vocabulary. What is longer than the
    model reads loses its beginning, as with the harness's own models, and is counted in the log. Chat templates are not
    applied.

    Args:
        pretrained: a run, a published folder, or a name of the hub.
        member: which task writes, where the model has several.
        batch_size: texts in one pass; results do not depend on it.
        device: where the model runs.
        weights: rounded as by `omniformer.load`.
        allow_targets: a package of your own whose classes the model names; several with `+` between them.
        max_length: the most tokens of a text; by default what the model reads, or 2,048 where it has no limit.
        max_gen_toks: the most tokens that are written, where a task does not say.

    Raises:
        ValueError: no task goes on from texts, or the batch size is no number.

    Example:
        >>> model = harness_model()("outputs/text/latest")  # doctest: +SKIP
        >>> lm_eval.simple_evaluate(model, tasks=["lambada_openai"])  # doctest: +SKIP
    """

    def __init__(
        self,
        pretrained: str,
        *,
        member: str | None = None,
        batch_size: int | str = 16,
        device: str = "auto",
        weights: Any = None,
        allow_targets: str = "",
        max_length: int | None = None,
        max_gen_toks: int = 256,
    ) -> None:
        super().__init__()
        predictor = load(pretrained, weights=weights, allow_targets=[each for each in allow_targets.split("+") if each])
        writer = predictor.writer(member)
        if not isinstance(writer, Writer) or not writer.writes_text or writer.given:
            raise ValueError(f"{writer.head!r} does not go on from texts; give a language model (modality=text)")
        self.writer, self.words = writer, writer.tokenizer
        self._device = chosen(device)
        predictor.model.to(self._device)
        if not str(batch_size).isdigit() or not int(batch_size):
            raise ValueError(f"batch_size={batch_size!r} is not known here; give a number, such as 16")
        self.batch_size = int(batch_size)
        self.max_length = max_length or writer.max_seq_len or 2048
        self.max_gen_toks = max_gen_toks
        self._opening = self._begun("")

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text; of a vocabulary without one, what begins it."""
        return self._either(self.words.stop, self.words.start)

    @property
    def prefix_token_id(self) -> int:
        """The id before an empty text."""
        return self._either(self.words.start, self.words.stop)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The ids of a text, behind what begins one unless told otherwise."""
        ids, n = self._begun(string), len(self._opening)
        return ids[n:] if add_special_tokens is False and ids[:n] == self._opening else ids

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """How probable whole texts are, each in stretches that the model can read."""
        windows = [self._windows(request.args[0]) for request in requests]
        found = iter(self._loglikelihood_tokens([each for mine in windows for each in mine]))
        return [sum(next(found)[0] for _ in mine) for mine in windows]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What is written behind each text, until one of its stops."""
        said: dict[int, str] = {}
        kinds: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            kinds.setdefault(repr(request.args[1]), []).append(i)
        for places in kinds.values():
            options = self._writing(requests[places[0]].args[1])
            prompts = [self._fitting(requests[i].args[0], options["max_new_tokens"]) for i in places]
            answers = self.writer.write(prompts, batch_size=self.batch_size, **options)
            said.update((i, str(best.content)) for i, (best, *_) in zip(places, answers, strict=True))
        return [said[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[Scored]:
        """How probable the ids of a continuation are behind those of a context; whether all are the most probable."""
        found: dict[int, Scored] = {}
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        for begin in range(0, len(order), self.batch_size):
            places = order[begin : begin + self.batch_size]
            found.update(zip(places, self._scored([requests[i][1:] for i in places]), strict=True))
        return [found[i] for i in range(len(requests))]

    def _scored(self, pairs: Sequence[tuple[list[int], list[int]]]) -> Iterator[Scored]:
        cut = sum(len(context) + len(rest) > self.max_length + 1 for context, rest in pairs)
        if cut:
            log.warning("of %s texts only the last %s tokens are read", cut, self.max_length)
        rows = [(context + rest)[-(self.max_length + 1) :][:-1] for context, rest in pairs]
        samples = [
            Sample(id=str(i), pieces=[text_tokens(torch.tensor(row), self.writer.modality)])
            for i, row in enumerate(rows)
        ]
        model: Any = self.writer.model
        head = model.head(self.writer.head)
        x, layout = model.encode(collate(samples).to(self._device), self.writer.head)
        for (_, rest), last in zip(pairs, layout.lengths.cumsum(0).tolist(), strict=True):
            scores = head.scores(x[last - len(rest) : last]).float().log_softmax(-1)
            wanted = torch.tensor(rest, device=scores.device)
            yield float(scores.gather(1, wanted[:, None]).sum()), bool((scores.argmax(-1) == wanted).all())

    def _windows(self, text: str) -> list[tuple[None, list[int], list[int]]]:
        from lm_eval.utils import (  # pyright: ignore[reportMissingImports]
            get_rolling_token_windows,
            make_disjoint_window,
        )

        windows = get_rolling_token_windows(
            token_list=self.words(text).values.tolist(),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [(None, *make_disjoint_window(each)) for each in windows]

    def _begun(self, text: str) -> list[int]:
        """The ids of a text as a prompt has them; none where nothing is written and nothing begins a text."""
        tokens = self.words(text)
        return self.words.begun(tokens).values.tolist()

    def _fitting(self, text: str, room: int) -> str:
        """A prompt that leaves room to write: of a longer one the end."""
        most = self.max_length - room
        if most <= 0:
            raise ValueError(f"{room} tokens are to be written, and the model reads {self.max_length}; ask for fewer")
        ids = self.tok_encode(text)
        if len(ids) <= most:
            return text
        log.warning("of a prompt of %s tokens only the last %s are read", len(ids), most)
        return self.words.decode(text_tokens(torch.tensor(ids[-most:])))

    def _writing(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of `Writer.write`, from those of the harness."""
        from lm_eval.models.utils import normalize_gen_kwargs  # pyright: ignore[reportMissingImports]

        given = normalize_gen_kwargs(dict(options), self.max_gen_toks)
        stop = [each for each in given.pop("until", ()) if each]
        most, draws = given.pop("max_gen_toks"), given.pop("do_sample", False)
        known = {"temperature", "top_k", "top_p", "min_p", "repetition_penalty"}
        named: dict[str, Any] = {
            name: given.pop(name) for name in list(given) if name in known and given[name] is not None
        }
        if given:
            raise ValueError(f"generation_kwargs: {', '.join(given)} are not known here; leave them out")
        strategy = Sampling(**named) if draws else Greedy()
        return {"strategy": strategy, "max_new_tokens": most, "stop": stop}

    @staticmethod
    def _either(first: int | None, second: int | None) -> int:
        found = first if first is not None else second
        if found is None:
            raise ValueError("the vocabulary has neither a beginning nor an end of texts")
        return found


@cache
def harness_model() -> Any:
    """The class of the models, which the harness knows as `omniformer` from now on.

    Raises:
        ImportError: lm-eval is not installed.
    """
    from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
    from lm_eval.api.registry import register_model  # pyright: ignore[reportMissingImports]

    return register_model("omniformer")(type("OmniFormerModel", (HarnessModel, TemplateLM), {}))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `lm_eval`, whose models are joined by `omniformer`."""
    with reported():
        harness_model()
        from lm_eval.__main__ import cli_evaluate  # pyright: ignore[reportMissingImports]

        if arguments is not None:
            sys.argv[1:] = arguments
        cli_evaluate()


if __name__ == "__main__":
    main()
