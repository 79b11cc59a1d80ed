"""easy-VQA: questions about pictures of one coloured shape each."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zipfile import ZipFile

import torch
from torch import Tensor

from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.on_access import OnAccess
from omniformer.data.sets.reading import check_pictures, laid_out_or_original, member_in, opened_zip, text_in
from omniformer.data.source import Raw, Source, Split, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMMIT = "3b553bb7ff42a868d5f4cbe8c88255d7333c3c31"
URL = f"https://github.com/vzhou842/easy-VQA/archive/{COMMIT}.zip"

# A question, its answer, and the number of its picture.
Question = tuple[str, str, int]
_Part = Literal["train", "test"]
_PARTS: tuple[_Part, ...] = ("train", "test")


class EasyVQA(Source):
    """Questions about pictures of 64 x 64 pixels with one coloured shape (Zhou 2019, https://github.com/vzhou842/easy-VQA).

    4,000 train and 1,000 test pictures with 38,575 and 9,673 questions from templates; 13 answers, of which `yes` and
    `no` make about 74 %. Validation is the questions about training pictures whose number is divisible by ten, so no
    picture is in two splits. A sample is the picture and then the question; the answer is a class and a text to write.

    Read from `easy_vqa/images.npz` and `easy_vqa/questions.json.gz`, or else from the publisher's repository as an
    archive, `easy_vqa/easy-VQA-<commit>.zip`; both give the same samples. The archive has no fixed hash.

    Args:
        data_root: the folder that holds `easy_vqa`; None means the current folder.
        download: fetch the archive where no file lies there; off, so that no run reaches out unasked.

    Raises:
        FileNotFoundError: files are missing, and `download` is off.
        ValueError: a file or picture is damaged, a question or answer is empty or has no picture, or an answer is not
            known; names file and question.

    Example:
        >>> EasyVQA(data_root="data").name
        'EasyVQA'
    """

    modalities = ("vision", "text")

    def __init__(self, *, data_root: str | None = None, download: bool = False) -> None:
        self.data_root = data_root
        self.download = download

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers, sorted, in the order of the targets."""
        return self._read[2]

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order; made when they are asked for."""
        return self._splits[name]

    def baselines(self) -> Mapping[str, float]:
        """The test accuracy of the most frequent training answer to each question, without a look at the picture."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for raw in self.split("train"):
            counts[raw.contents["text"]][raw.answer["text"]] += 1
        guesses = {question: answers.most_common(1)[0][0] for question, answers in counts.items()}
        test = self.split("test")
        hits = sum(guesses.get(raw.contents["text"]) == raw.answer["text"] for raw in test)
        return {"question_alone_accuracy": hits / len(test)} if test else {}

    @cached_property
    def _splits(self) -> dict[Split, OnAccess]:
        pictures, questions, answers = self._read
        number = {answer: torch.tensor(i) for i, answer in enumerate(answers)}
        held_out = [picture % 10 == 0 for _, _, picture in questions["train"]]
        rows: dict[Split, tuple[_Part, list[int]]] = {
            "train": ("train", [row for row, out in enumerate(held_out) if not out]),
            "val": ("train", [row for row, out in enumerate(held_out) if out]),
            "test": ("test", list(range(len(questions["test"])))),
        }
        return {
            name: OnAccess(len(chosen), partial(_raw, name, pictures[part], questions[part], number, chosen))
            for name, (part, chosen) in rows.items()
        }

    @cached_property
    def _read(self) -> "tuple[dict[_Part, Tensor], dict[_Part, list[Question]], tuple[str, ...]]":
        """The pictures, the questions, and the answers."""
        images = resolve("easy_vqa/images.npz", self.data_root)
        archive = f"easy_vqa/easy-VQA-{COMMIT}.zip"
        file = laid_out_or_original(
            "easy_vqa/questions.json.gz", archive, data_root=self.data_root, url=URL, download=self.download
        )
        if file.suffix == ".zip":
            with opened_zip(file) as opened:
                return _original(opened)
        if not images.is_file():
            raise FileNotFoundError(f"no file {str(images)!r} beside {str(file)!r}; copy both, or neither to download")
        return _packed(images, file)


def _raw(
    split: Split, pictures: Tensor, questions: list[Question], labels: dict[str, Tensor], rows: list[int], number: int
) -> Raw:
    row = rows[number]
    question, answer, picture = questions[row]
    return Raw(
        id=f"easy_vqa/{split}/{row}",
        contents={"vision": pictures[picture], "text": question},
        answer={"text": answer},
        targets={"label": labels[answer]},
    )


def _packed(images: Path, file: Path) -> tuple[dict[_Part, Tensor], dict[_Part, list[Question]], tuple[str, ...]]:
    read = _json(text_in(file), str(file))
    if not isinstance(read, dict) or not {"answers", *_PARTS} <= read.keys():
        raise ValueError(f"{file} must hold answers, train and test")
    pictures: dict[_Part, Tensor] = {}
    for part, pixels in zip(_PARTS, read_arrays(images, [f"x_{part}" for part in _PARTS]).values(), strict=True):
        check_pictures(pixels, (64, 64, 3), f"{images}, array 'x_{part}'")
        pictures[part] = _channels_first(pixels)
    answers = _answers(read["answers"], str(file))
    checked: dict[_Part, list[Question]] = {
        part: _questions(read[part], answers, len(pictures[part]), f"{file}, {part}") for part in _PARTS
    }
    return pictures, checked, answers


def _original(archive: ZipFile) -> tuple[dict[_Part, Tensor], dict[_Part, list[Question]], tuple[str, ...]]:
    data = f"easy-VQA-{COMMIT}/easy_vqa/data"
    names = set(archive.namelist())
    listed = member_in(archive, f"{data}/answers.txt").decode("utf-8", errors="replace").split("\n")
    answers = _answers([answer.strip() for answer in listed if answer.strip()], f"{archive.filename}, answers.txt")
    pictures: dict[_Part, Tensor] = {}
    questions: dict[_Part, list[Question]] = {}
    for part in _PARTS:
        n = 0
        while f"{data}/{part}/images/{n}.png" in names:
            n += 1
        if not n:
            raise ValueError(f"{archive.filename} has no file '{data}/{part}/images/0.png'; fetch the archive again")
        pictures[part] = torch.stack([_picture(archive, f"{data}/{part}/images/{i}.png") for i in range(n)])
        where = f"{archive.filename}, {part}/questions.json"
        read = _json(member_in(archive, f"{data}/{part}/questions.json").decode("utf-8", errors="replace"), where)
        questions[part] = _questions(read, answers, n, where)
    return pictures, questions, answers


def _picture(archive: ZipFile, member: str) -> Tensor:
    from omniformer_tokenizers.media import read_image

    content = member_in(archive, member)
    try:
        pixels = read_image(content)
    except ValueError as error:
        raise ValueError(f"{archive.filename}: {member!r}: {error}") from error
    check_pictures(pixels[None].numpy(), (3, 64, 64), f"{archive.filename}: {member!r}")
    return pixels


def _channels_first(pixels: "NDArray[Any]") -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from error


def _answers(read: Any, where: str) -> tuple[str, ...]:
    if not isinstance(read, list) or not read or not all(isinstance(answer, str) and answer for answer in read):
        raise ValueError(f"{where}: the answers are {read!r}; expected a list of words")
    return tuple(sorted(read))


def _questions(read: Any, answers: tuple[str, ...], n_pictures: int, where: str) -> list[Question]:
    if not isinstance(read, list):
        raise ValueError(f"{where} is not a list of [question, answer, picture]")
    known = set(answers)
    for row, entry in enumerate(read):
        match entry:
            case [str(question), str(answer), int(picture)] if question.strip() and 0 <= picture < n_pictures:
                if answer not in known:
                    raise ValueError(f"{where}: question {row} has the answer {answer!r}; known: {', '.join(answers)}")
            case _:
                raise ValueError(
                    f"{where}: question {row} is {entry!r}; expected [question, answer, picture], the question not "
                    f"empty and the picture from 0 to {n_pictures - 1}"
                )
    return [(question, answer, picture) for question, answer, picture in read]
