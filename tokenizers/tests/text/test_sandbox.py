import tracemalloc

import pytest
from omniformer_tokenizers.text import sandbox
from omniformer_tokenizers.text.chat import Conversation, render

TALK = Conversation(messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "you"}])
DOUBLED = (
    "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = EXPRESSION %}{% endfor %}{{ n.x | length }}"
)
LARGE = {
    "product": "{{ ('x' * 3000000000) | length }}",
    "product of lists": "{{ ([1] * 3000000000) | length }}",
    "sum": DOUBLED.replace("EXPRESSION", "n.x + n.x"),
    "joined": DOUBLED.replace("EXPRESSION", "n.x ~ n.x"),
    "list in lists": DOUBLED.replace("EXPRESSION", "[n.x, n.x]"),
    "mapping in mappings": DOUBLED.replace("EXPRESSION", "{'a': n.x, 'b': n.x}"),
    "called": DOUBLED.replace("EXPRESSION", "dict(a=n.x, b=n.x)"),
    "block": DOUBLED.replace("{% set n.x = EXPRESSION %}", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"),
    "written": "{% for i in range(100000) %}" + 1000 * "x" + "{% endfor %}",
    "width": "{{ 'x' | center(3000000000) | length }}",
    "width of a method": "{{ 'x'.ljust(3000000000) | length }}",
    "width by attr": "{{ ('x' | attr('zfill'))(3000000000) | length }}",
    "width in a form": "{{ '%3000000000d' % 1 }}",
    "width beside a form": "{{ '%*d' % (3000000000, 1) }}",
    "width of the filter": "{{ '%3000000000d' | format(1) }}",
    "width of format": "{{ '{:3000000000}'.format(1) }}",
    "width beside format": "{{ '{:{}}'.format(1, 3000000000) }}",
    "repeated places": "{{ (10000 * '{0}').format(100000 * 'x') | length }}",
    "replaced": "{{ (100000 * 'x').replace('x', 100000 * 'y') | length }}",
    "replaced by the filter": "{{ (100000 * 'x') | replace('x', 100000 * 'y') | length }}",
    "glued": "{{ (100000 * 'x') | join(100000 * 'y') | length }}",
    "glued by the method": "{{ (100000 * 'y').join(range(1000) | map('string')) | length }}",
    "indented": "{{ (100000 * 'x\n') | indent(100000) | length }}",
    "indented JSON": "{{ range(1000) | list | tojson(indent=1000000) | length }}",
    "bytes": "{{ (1).to_bytes(3000000000) | length }}",
    "filled": "{{ [1] | batch(3000000000, 'x') | list | length }}",
    "power": "{{ 10 ** (10 ** 9) }}",
}


@pytest.mark.parametrize("template", [pytest.param(each, id=name.replace(" ", "-")) for name, each in LARGE.items()])
def test_what_would_be_large_is_refused_before_it_is_made(template, monkeypatch):
    monkeypatch.setattr(sandbox, "FREE", 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="refuses this conversation: it makes more than 1,000,000 characters"):
            render(template, TALK, {})
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for i in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(100) }}",
        "{% for i in range(9999) %}{% for i in range(9999) %}{{ (range(9999) | sum) and '' }}{% endfor %}{% endfor %}",
    ],
)
def test_what_would_never_end_is_ended(template, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.2)
    with pytest.raises(ValueError, match="it takes longer than|makes more than"):
        render(template, TALK, {})


def test_what_is_too_deep_is_told():
    with pytest.raises(ValueError, match="recursion"):
        render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", TALK, {})
    with pytest.raises(ValueError, match="the chat template is damaged"):
        render(30 * "{% for i in [1] %}" + 30 * "{% endfor %}", TALK, {})
    with pytest.raises(ValueError, match="the chat template is damaged"):
        render("{{ " + 9999 * "(" + ")" * 9999 + " }}", TALK, {})


def test_a_long_conversation_is_paid_for_by_its_length():
    said = 200 * "A sentence of ninety characters that somebody says to the assistant about 12345 % of it. \n"
    talk = Conversation(messages=[{"role": "user", "content": said}, {"role": "assistant", "content": said}] * 20)
    template = (
        "{% set n = namespace(text='', seen=[]) %}{% for m in messages %}{% set n.seen = n.seen + [m] %}"
        "{% set n.text = n.text ~ (m.content | replace('\n', '\n\n') | trim) + '%s'.strip() % m.role %}{% endfor %}"
        "{{ n.text }}{{ messages[1:] | selectattr('role', 'equalto', 'user') | list | tojson(indent=4) | length > 9 }}"
    )
    text = render(template, talk, {}).text
    assert len(text) > 40 * len(said) and text.endswith("assistantTrue")


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__ }}{{ (messages | attr('__class__')).x }}",
        "{% set n = namespace(__x__=1) %}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ raise_exception('no') }}",
        "{% for i in range(999999999) %}x{% endfor %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(template):
    with pytest.raises(ValueError, match="the chat template refuses this conversation"):
        render(template, TALK, {})
