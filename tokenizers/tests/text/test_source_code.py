import hypothesis.strategies as st
import pytest
from hypothesis import given
from omniformer_tokenizers import BPETokenizer, CodeTokenizer

PROGRAM = '''def area(width, height):
    """The area."""
    if width < 0:
        raise ValueError(f"width={width}")
    return width * height


class Shape:
\tdef __init__(self):
\t\tself.sides = [1, 22, 333]
'''


@pytest.fixture(scope="module")
def tokenizer() -> CodeTokenizer:
    return CodeTokenizer(vocab_size=700).fit([PROGRAM] * 9)


@given(st.text(st.sampled_from("ab_ 012().:'\n\t\r\x00\x7fé\u3000😀")))
def test_ids_equal_those_of_the_library_and_text_survives(tokenizer, text):
    ids = tokenizer(text).values.tolist()
    assert ids == tokenizer._model.encode(text).ids
    assert tokenizer.decode(ids) == text


def test_a_line_break_costs_no_more_than_one_token_whatever_the_indentation(tokenizer):
    for line in ("):\n    if", ":\n        raise", "):\n\t\tself"):
        shown = [tokenizer.decode([i]) for i in tokenizer(line).values.tolist()]
        assert len(shown) <= 2, shown


def test_programs_need_fewer_tokens_than_with_ordinary_text_rules(tokenizer):
    import inspect
    import json
    import textwrap

    sources = [inspect.getsource(module) for module in (json.decoder, json.encoder, textwrap, inspect)]
    code, text = (cls(vocab_size=4000).fit(sources) for cls in (CodeTokenizer, BPETokenizer))
    assert sum(len(code(source)) for source in sources) < 0.95 * sum(len(text(source)) for source in sources)
