"""The command-line scripts that belong to the tokenizers."""

import importlib.util
from pathlib import Path

import pytest
from omniformer_tokenizers import BPETokenizer, CodeTokenizer, load

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_on_files_saves_the_tokenizer_of_their_texts(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("the cat\nand the dog\n" * 20)
    (tmp_path / "b.jsonl").write_text('{"body": "the bird"}\n' * 20)
    arguments = [tmp_path / "a.txt", tmp_path / "b.jsonl", "--output", tmp_path / "out", "--vocab-size", 300]
    status = script("train_bpe").main([*map(str, arguments), "--special", "<|pad|>", "--text-key", "body"])
    assert status == 0
    tokenizer = load(tmp_path / "out")
    expected = BPETokenizer(vocab_size=300, special_tokens=("<|endoftext|>", "<|pad|>"))
    expected.fit(["the cat\nand the dog\n" * 20, *["the bird"] * 20])
    assert tokenizer.digest == expected.digest
    assert "ids saved in" in capsys.readouterr().out


def test_long_files_are_read_in_pieces_that_end_with_a_line(tmp_path, monkeypatch):
    module = script("train_bpe")
    monkeypatch.setattr(module, "_PIECE", 10)
    (tmp_path / "a.txt").write_text("one\r\ntwo three\nfour five six\nend", newline="")
    pieces = list(module.texts([tmp_path / "a.txt"], "text"))
    assert len(pieces) > 1
    assert all(piece.endswith("\n") for piece in pieces[:-1])
    assert "".join(pieces) == "one\r\ntwo three\nfour five six\nend"


def test_program_text_has_rules_of_its_own(tmp_path):
    (tmp_path / "a.py").write_text("def f(x):\n    return x\n" * 20)
    script("train_bpe").main([str(tmp_path / "a.py"), "--output", str(tmp_path / "out"), "--code"])
    assert isinstance(load(tmp_path / "out"), CodeTokenizer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.txt"], "gone.txt: cannot be read as text"),
        (["gone.txt", "--vocab-size", "5"], "vocab_size=5 has no room"),
    ],
)
def test_a_mistake_is_one_line_and_a_failed_exit_status(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert script("train_bpe").main([*arguments, "--output", "out"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["bpe", "patches", "packing"])
def test_benchmarked_routes_agree_and_are_timed(subject):
    module = script("benchmark_tokenizers")
    title, contenders = module.SUBJECTS[subject]()
    rows = module.report(title, module.timed(contenders, 1))
    assert [row["contender"] for row in rows] == list(contenders)
    assert all(row["seconds"] > 0 for row in rows)
