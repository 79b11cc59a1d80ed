"""Word by word: the lexicon of IBM model 1 learns which word stands for which, scored by the task's own texts."""

from omniformer_tokenizers import CharacterTokenizer

from omniformer.baselines import Problem
from omniformer.baselines.every import EVERY
from omniformer.baselines.translation import WordByWord
from omniformer.baselines.trivial import Trivial
from omniformer.data.source import Raw
from omniformer.heads import NextTokenHead
from omniformer.tasks import ConditionalGeneration

WORDS = {"a": "ein", "dog": "Hund", "cat": "Kater", "sees": "sieht"}
SENTENCES = ("a dog sees a cat.", "a cat", "dog sees", "a dog", "cat sees a dog.")


def german(text):
    return " ".join(WORDS.get(word.strip("."), word) + "." * word.endswith(".") for word in text.split())


def test_known_words_are_translated_and_others_stay():
    raws = {
        split: [Raw(id=text, contents={"text": text}, answer={"text": german(text)}) for text in sentences]
        for split, sentences in {"train": SENTENCES, "test": ("cat sees a cat.", "a zebu sees a dog.")}.items()
    }
    tokenizer = CharacterTokenizer().fit(SENTENCES)
    head = NextTokenHead(d_model=4, vocab_size=tokenizer.vocab_size, modality="text")
    task = ConditionalGeneration(head=head, tokenizers={"text": tokenizer}, scores=("exact_match",))
    problem = Problem(name="mine", kind="text", task=task, raws=raws, tokenizers={}, n_outputs=0)
    assert [kind for kind in EVERY if kind().fits(problem)] == [Trivial, WordByWord]
    written = WordByWord().answers(problem)
    assert written["test"] == ["Kater sieht ein Kater.", "ein zebu sieht ein Hund."]
    assert problem.scores("test", written["test"]) == {"exact_match": 1.0}
    assert problem.scores("test", Trivial().answers(problem)["test"]) == {"exact_match": 0.0}
