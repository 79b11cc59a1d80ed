"""Endpoints in the words of OpenAI's API."""

import base64
import json
import struct

import pytest
import torch
from fastapi.testclient import TestClient

from omniformer.generation import Greedy
from omniformer.serving.app import make_app


@pytest.fixture
def client(serving):
    with TestClient(make_app(serving())) as made:
        yield made


def events(answer):
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_completions_are_what_the_model_writes(client, predictor):
    asked = {"model": "zoo", "prompt": ["one", "two"], "max_tokens": 6, "temperature": 0}
    told = client.post("/v1/completions", json=asked).json()
    expected = predictor.generate(["one", "two"], strategy=Greedy(), max_new_tokens=6)
    assert [choice["text"] for choice in told["choices"]] == [answers[0].content for answers in expected]
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    assert told["usage"]["completion_tokens"] == sum(len(answers[0].ids) for answers in expected)
    assert told["usage"]["prompt_tokens"] == 2 * (len("one") + 1)
    reasons = ["stop" if answers[0].ended else "length" for answers in expected]
    assert [choice["finish_reason"] for choice in told["choices"]] == reasons


def test_a_streamed_text_is_the_whole_one(client):
    asked = {"prompt": "one", "max_tokens": 24, "seed": 3, "top_p": 0.9}
    whole = client.post("/v1/completions", json=asked).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *pieces, end, usage = events(client.post("/v1/completions", json=asked | options))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == whole["choices"][0]["text"]
    assert all(piece["choices"][0]["finish_reason"] is None for piece in pieces)
    assert end["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert usage["usage"] == whole["usage"] and usage["choices"] == []


def test_the_same_request_gets_the_same_text_and_another_seed_another(client):
    texts = [
        client.post("/v1/completions", json={"prompt": "one", "max_tokens": 12, **more}).json()["choices"][0]["text"]
        for more in ({}, {}, {"seed": 1})
    ]
    assert texts[0] == texts[1] != texts[2]


def test_vectors_are_those_of_the_model_plain_or_packed(client, predictor):
    plain = client.post("/v1/embeddings", json={"input": ["one", "two"]}).json()["data"]
    packed = client.post("/v1/embeddings", json={"input": ["one", "two"], "encoding_format": "base64"}).json()["data"]
    expected = predictor.embed(["one", "two"])
    torch.testing.assert_close(torch.tensor([row["embedding"] for row in plain]), expected)
    raw = [base64.b64decode(row["embedding"]) for row in packed]
    rows = [struct.unpack(f"<{len(each) // 4}f", each) for each in raw]
    torch.testing.assert_close(torch.tensor(rows), expected)


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"prompt": "a", "model": "gpt-9"}, 404, "there is no model 'gpt-9' here, only 'zoo'"),
        ({"prompt": "a", "echo": True}, 400, "echo: Value error, is not done here; leave it out, or give False"),
        ({"prompt": "a", "foo": 1}, 400, "foo: Extra inputs are not permitted"),
        ({"prompt": "a", "temperature": -1}, 400, "temperature: Input should be greater than or equal to 0"),
        ({"prompt": ["a", "b"], "stream": True}, 400, "a text is streamed for one prompt with n=1"),
        ({"prompt": []}, 400, "0 prompts; give 1 to 64"),
        ({"prompt": "a" * 600_000}, 400, "has 600000 characters; at most 524288 are read here"),
        ({"prompt": "a" * 20_000, "stream": True}, 400, "prompt 0 has 20000 tokens of text; at most 16384"),
    ],
)
def test_what_cannot_be_done_is_told_and_never_ignored(client, asked, status, told):
    answer = client.post("/v1/completions", json=asked)
    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]


def test_a_model_without_a_template_has_no_conversations(client):
    assert (
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]}).status_code == 404
    )
