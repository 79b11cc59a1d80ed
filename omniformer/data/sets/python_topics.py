"""The English language reference that ships with CPython."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from omniformer.data.compression import bz2_baseline
from omniformer.data.source import Raw, Source, Split
from omniformer.data.splitting import hashed_split


class PythonTopics(Source):
    """The Python language reference as `help()` knows it (`pydoc_data.topics`): English prose about Python.

    Many topics repeat paragraphs of others. Each paragraph is kept where it first occurs, topics taken by name, before
    anything is split, so that no test paragraph is in the training text. Topics are then split by the hash of
    their names: 80 % of them train, 10 % validation, 10 % test. The text belongs to the running
    version of Python, so numbers from different versions are not exactly comparable.

    Example:
        >>> sorted(PythonTopics().split("val")[0].contents)
        ['text']
    """

    modalities = ("text",)

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    def baselines(self) -> Mapping[str, float]:
        """What the compressor bz2 makes of the test split once it has seen the training split."""
        return bz2_baseline(self)

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        from pydoc_data.topics import topics

        texts = without_repeats(topics)
        names = list(texts)
        split = hashed_split(names, val=0.1, test=0.1)
        return {
            part: [Raw(id=f"python_topics/{names[i]}", contents={"text": texts[names[i]]}) for i in items]
            for part, items in split.items()
        }


def without_repeats(texts: dict[str, str]) -> dict[str, str]:
    r"""The texts, by name in order, without the paragraphs that occurred before; texts left empty are gone.

    Example:
        >>> without_repeats({"b": "One.\n\nTwo.", "a": "Two."})
        {'a': 'Two.', 'b': 'One.'}
    """
    seen: set[str] = set()
    kept: dict[str, str] = {}
    for name in sorted(texts):
        fresh: list[str] = []
        for paragraph in texts[name].split("\n\n"):
            key = " ".join(paragraph.split())
            if key and key not in seen:
                seen.add(key)
                fresh.append(paragraph.strip("\n"))
        if fresh:
            kept[name] = "\n\n".join(fresh)
    return kept
