"""Translation word by word, with the lexicon of IBM model 1."""

import re
from collections import defaultdict
from collections.abc import Mapping

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.problem import Answers, Problem
from omniformer.baselines.texts import text_of
from omniformer.data.source import Split

_ROUNDS = 5


class WordByWord(Baseline):
    """Each word becomes its most probable translation ([Brown et al. 1993](https://aclanthology.org/J93-2003), model 1,
    five rounds of expectation maximisation); a word that training does not have stays.
    """

    name = "word by word"
    most = 30_000

    def fits(self, problem: Problem) -> bool:
        return problem.kind == "text" and problem.modalities == {"text"}

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        given = [split_words(text_of(each)) for each in problem.contents("train", "text")]
        words = lexicon(list(zip(given, map(split_words, problem.texts("train")), strict=True)))

        def written(text: str) -> str:
            return re.sub(r" ([.,!?])", r"\1", " ".join(words.get(word, word) for word in split_words(text)))

        return {
            split: [written(text_of(each)) for each in problem.contents(split, "text")] for split in evaluated(problem)
        }


def split_words(text: str) -> list[str]:
    """Words and marks.

    Example:
        >>> split_words("A dog, asleep.")
        ['A', 'dog', ',', 'asleep', '.']
    """
    return re.findall(r"\w+|[^\w\s]", text)


def lexicon(pairs: list[tuple[list[str], list[str]]]) -> dict[str, str]:
    """Of each word the one that most probably stands for it in the other language.

    Example:
        >>> lexicon([(["a", "dog"], ["ein", "Hund"]), (["a", "cat"], ["eine", "Katze"]), (["dog"], ["Hund"])])["dog"]
        'Hund'
    """
    table: dict[str, dict[str, float]] = {}
    for _ in range(_ROUNDS):
        counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for given, written in pairs:
            for word in written:
                chances = [table[each].get(word, 1e-9) if table else 1.0 for each in given]
                total = sum(chances)
                for each, chance in zip(given, chances, strict=True):
                    counts[each][word] += chance / total
        table = {each: {other: n / sum(row.values()) for other, n in row.items()} for each, row in counts.items()}
    return {each: max(row, key=row.__getitem__) for each, row in table.items()}
