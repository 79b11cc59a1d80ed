from pathlib import Path

import pytest
from omniformer_tokenizers.text.chat import Conversation, render

TALK = Conversation(messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "you", "x": None}])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "{{ bos_token }}{% for m in messages %}\n  {% if m.x is defined %}!{% endif %}{{ m.content }}{% endfor %}",
            "<s>hiyou",
        ),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m | tojson }}{% endfor %}",
            '{"role": "assistant", "content": "you"}',
        ),
        ("{% set n = namespace(k=0) %}{% for m in messages %}{% set n.k = n.k + 1 %}{% endfor %}{{ n.k }}", "2"),
        ("{{ 'ü' | tojson }} {{ [1] | tojson(indent=1) }} {{ tools }}{{ nobody }}", '"ü" [\n 1\n] None'),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ think }}", "False"),
    ],
)
def test_templates_have_the_names_and_filters_of_the_reference(template, expected):
    talk = Conversation(messages=TALK.messages, options={"think": False})
    assert render(template, talk, {"bos_token": "<s>"}).text == expected


def test_a_damaged_template_is_told():
    with pytest.raises(ValueError, match="the chat template is damaged"):
        render("{% for %}", TALK, {})


def test_reasoning_has_the_names_that_templates_know():
    talk = Conversation(messages=[{"role": "assistant", "content": "", "reasoning": "hm"}], goes_on=True)
    assert render("{{ messages[0].reasoning_content + messages[0].thinking }}", talk, {}).text == "hmhm"


@pytest.mark.parametrize("messages", [[], "hi", {"role": "user"}, [{"content": "hi"}], ["hi"]])
def test_what_is_no_conversation_is_refused(messages):
    with pytest.raises(ValueError, match="a conversation is a list of messages|a message is"):
        Conversation(messages=messages)


def test_other_objects_than_plain_values_are_refused():
    with pytest.raises(ValueError, match="received object"):
        render("", Conversation(messages=[{"role": "user", "content": object()}]), {})


PARTS = [
    {"type": "image", "path": "a.png"},
    {"type": "text", "text": "and"},
    {"type": "image"},
    {"type": "image", "image": 3},
]
SEEN = Conversation(messages=[{"role": "user", "content": PARTS}, {"role": "assistant", "content": "yes"}])


def test_pictures_are_kept_out_of_the_template_and_in_their_order():
    assert SEEN.pictures == [Path("a.png"), 3]
    assert SEEN.with_pictures(str).pictures == [Path("a.png"), Path("3")]
    looked = Conversation(messages=[{"role": "user", "content": [{"type": "image", "image": object()}]}])
    assert len(looked.pictures) == 1
    template = "{% for m in messages %}{% for c in m.content %}{{ c | tojson }}{% endfor %}{% endfor %}"
    assert render(template, looked, {}).text == '{"type": "image"}'


def test_contents_are_lists_of_parts_for_templates_of_models_that_see():
    contents = [each["content"] for each in SEEN.in_parts().messages]
    assert contents == [PARTS, [{"type": "text", "text": "yes"}]]


def test_a_picture_on_the_network_is_not_fetched():
    with pytest.raises(ValueError, match='addresses \\("url"\\) are not fetched'):
        _ = Conversation(messages=[{"role": "user", "content": [{"type": "image", "url": "x"}]}]).pictures
