"""The endpoints of our own, and what stands around all of them."""

import asyncio
import io
import json
import os
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from PIL import Image

from omniformer.serving.app import make_app
from omniformer.serving.work import Predicting


def png(seed=0):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def bomb():
    """A small file that says that it is a picture of 20,000 x 20,000 pixels."""
    row = zlib.compress(bytes(20_001) * 2)
    head = b"\x00\x00N \x00\x00N \x08\x00\x00\x00\x00"

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def wide():
    file = io.BytesIO()
    Image.new("L", (600, 600)).save(file, "PNG")
    return file.getvalue()


def quarter_of_a_second():
    file = io.BytesIO()
    soundfile.write(file, np.zeros(2000), 8000, format="WAV")
    return file.getvalue()


@pytest.fixture
def client(serving):
    with TestClient(make_app(serving(max_bytes=100_000, max_inputs=8))) as made:
        yield made


def test_files_of_a_form_are_inputs_and_bad_ones_are_told_by_the_names_of_the_client(client, predictor, tmp_path):
    files = [("file", ("a.png", png(0))), ("file", ("../b c.png", b"no picture")), ("file", ("c.PNG", png(1)))]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200
    first, bad, last = answer.json()["results"]
    assert [first["input"], bad["input"], last["input"]] == ["a.png", "b c.png", "c.PNG"]
    assert bad["error"].startswith("b c.png: cannot be read as an image") and "omniformer-" not in bad["error"]
    (tmp_path / "c.png").write_bytes(png(1))
    (expected,) = predictor.predict(tmp_path / "c.png")
    assert last["predictions"][0]["probabilities"] == pytest.approx(dict(expected.probabilities), abs=1e-6)
    assert client.post("/v1/predict", files=[files[1]]).status_code == 422


def test_a_field_named_like_a_modality_is_a_part_of_one_input(client):
    whole = client.post("/v1/predict", files=[("vision", ("a.png", png()))], data={"top": "2"}).json()
    alone = client.post("/v1/predict", files=[("file", ("a.png", png()))]).json()
    assert whole["results"][0]["predictions"] == alone["results"][0]["predictions"]
    drawn = {"n_nodes": 3, "edges": [[0, 1]]}
    answers = [
        client.post("/v1/predict", json={"inputs": drawn}),
        client.post("/v1/predict", json={"inputs": [{"graph": drawn}]}),
        client.post("/v1/predict", files=[("graph", (None, json.dumps(drawn)))]),
        client.post("/v1/predict", files=[("graph", ("g.json", json.dumps(drawn)))]),
    ]
    found = [each.json()["results"][0]["predictions"] for each in answers]
    assert found == found[:1] * 4 and found[0][0]["member"] == "rings"


def test_no_file_of_the_server_is_read_or_asked_after(client, tmp_path):
    (secret := tmp_path / "secret.png").write_bytes(png())
    for inputs in (str(secret), {"vision": str(secret)}, {"vision": {"path": str(secret)}}, {"graph": str(secret)}):
        answer = client.post("/v1/predict", json={"inputs": inputs, "member": "animals"})
        assert answer.status_code in (400, 422)
    answer = client.post("/v1/predict", files=[("vision", (None, str(secret)))])
    assert answer.status_code == 400 and "upload a file" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "the body has no 'inputs'"),
        ({"inputs": []}, "there is no input"),
        ({"inputs": ["a"] * 9}, "9 inputs; at most 8 are read in one request"),
        ({"inputs": "a", "tpo": 3}, "tpo: Extra inputs are not permitted"),
        ({"inputs": "a", "top": 0}, "top: Input should be greater than or equal to 1"),
        ({"inputs": {"smell": "a"}}, "there is no modality 'smell' here; this model takes vision, audio, graph, text"),
        ({"inputs": {"n_nodes": 10**7, "edges": []}}, "has 10000000 nodes; at most 16384 are read here"),
        ({"inputs": 3}, "input 0 is a int; accepted: a text, a graph, or contents by modality"),
        ([], "the body is a JSON list; send an object"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(client, body, told):
    answer = client.post("/v1/predict", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_bombs_are_refused_and_nothing_is_left_behind(client, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = "[" * 50_000
    files = [("file", ("bomb.png", bomb())), ("file", ("a.png", png()))]
    bad, good = client.post("/v1/predict", files=files).json()["results"]
    assert "pixels" in bad["error"] and "predictions" in good
    files = [("file", ("deep.json", deep)), ("file", ("wide.png", wide())), ("file", ("a.png", png()))]
    deep, long, good = client.post("/v1/predict", files=files).json()["results"]
    assert deep["error"].startswith("deep.json is no JSON") and "predictions" in good
    assert "22500 tokens of vision; at most 16384 are read here" in long["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client):
    assert client.post("/v1/predict", content=b"x" * 100_001).status_code == 413
    headers = {"content-type": "application/json"}
    for path in ("/v1/predict", "/v1/completions"):
        answer = client.post(path, content=(b"x" * 1000 for _ in range(200)), headers=headers)
        assert answer.status_code == 413
        assert "at most 100000 are accepted" in answer.json()["error"]["message"]


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("limits", "name", "told"),
    [
        ({"max_pixels": 128}, "a.png", "pictures of this request have more than 128 pixels together, the most that"),
        ({"max_sound_seconds": 0.5}, "a.wav", "sounds of this request last more than 0.5 seconds together, the most"),
    ],
)
def test_pictures_and_sounds_of_one_request_have_a_limit_together(serving, monkeypatch, limits, name, told):
    content = {"a.png": png(), "a.wav": quarter_of_a_second()}[name]
    with TestClient(make_app(serving(**limits))) as client:
        two = [("file", (name, content))] * 2
        assert client.post("/v1/predict", files=[*two, ("file", ("b.png", b"no picture"))]).status_code == 200
        monkeypatch.setattr("omniformer_tokenizers.media.image_tensor", None)  # what decodes
        monkeypatch.setattr("omniformer_tokenizers.media._samples", None)
        for path in ("/v1/predict", "/v1/generate", "/v1/embeddings"):
            answer = client.post(path, files=[*two, two[0]])
            assert answer.status_code == 413
            assert answer.json()["error"]["message"].startswith(f"the {told}")


def test_without_the_key_only_the_page_and_health_are_shown(serving):
    with TestClient(make_app(serving(), api_key="open sesame")) as client:
        assert [client.get(path).status_code for path in ("/", "/health", "/metrics", "/v1/about")] == [
            200,
            200,
            401,
            401,
        ]
        assert (
            client.post("/v1/predict", json={"inputs": "a"}, headers={"authorization": "Bearer no"}).status_code == 401
        )
        assert (
            client.get("/v1/models", headers={"authorization": "Bearer open sesame"}).json()["data"][0]["id"] == "zoo"
        )


def test_a_stranger_s_name_for_this_machine_leads_nowhere(serving):
    with TestClient(make_app(serving(), hosts=("localhost",)), base_url="http://localhost") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_a_full_queue_and_an_answer_that_takes_too_long_have_a_status_of_their_own(serving, monkeypatch):
    door = threading.Event()
    monkeypatch.setattr(Predicting, "run", lambda self, predictor, named: door.wait(30) and [[] for _ in named])
    with TestClient(make_app(serving(seconds=0.2, max_waiting=2))) as client:
        assert client.post("/v1/predict", json={"inputs": "a"}).status_code == 504
        answer = client.post("/v1/predict", json={"inputs": ["a", "b"]})
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        door.set()
    assert client.get("/health").status_code == 503  # it has ended


def test_a_fault_of_ours_is_no_word_of_it_to_the_client(serving, monkeypatch):
    def fail(self, predictor, named):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(Predicting, "run", fail)
    with TestClient(make_app(serving()), raise_server_exceptions=False) as client:
        answer = client.post("/v1/predict", json={"inputs": "a"})
    assert answer.status_code == 500 and "secret" not in answer.text


def test_the_numbers_of_prometheus_count_requests_and_batches(client):
    client.post("/v1/predict", json={"inputs": {"n_nodes": 1, "edges": []}})
    client.get("/made/up")
    text = client.get("/metrics").text
    assert 'omniformer_requests_total{path="/v1/predict",status="200"} 1.0' in text
    assert 'omniformer_requests_total{path="other",status="404"} 1.0' in text and "made" not in text
    assert 'omniformer_batch_inputs_count{work="predicting"} 1.0' in text


def test_the_page_runs_no_script_but_its_own_and_asks_nobody_else(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert f'<script nonce="{nonce}">' in answer.text and client.get("/").text != answer.text
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")


def test_what_the_model_takes_is_told(client):
    told = client.get("/v1/about").json()
    assert [(task["name"], task["does"], [part["name"] for part in task["takes"]]) for task in told["tasks"]] == [
        ("animals", "predict", ["vision"]),
        ("sounds", "predict", ["audio"]),
        ("rings", "predict", ["graph"]),
        ("prose", "write", ["text"]),
    ]
    assert told["chat"] is False


def test_what_is_written_is_told_with_its_end(client):
    answer = client.post("/v1/generate", json={"inputs": ["one", "two"], "max_tokens": 4, "temperature": 0, "n": 1})
    rows = answer.json()["results"]
    assert len(rows) == 2 and all(len(row["answers"]) == 1 for row in rows)
    too_much = client.post("/v1/generate", json={"inputs": "one", "max_tokens": 5000})
    assert too_much.status_code == 400 and "is more than the 1024 that are written here" in too_much.text


def test_the_page_lies_in_the_package():
    assert os.path.getsize(Path(make_app.__code__.co_filename).with_name("page.html")) > 1000


def test_a_client_that_hangs_up_while_it_sends_is_no_fault_of_the_server(serving):
    service = serving()
    app = make_app(service)
    messages = iter([{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": headers, "query_string": b""}
    asyncio.run(app({**scope, "server": ("localhost", 80), "scheme": "http", "root_path": ""}, receive, send))
    assert sent == []
    assert 'omniformer_requests_total{path="/v1/predict",status="499"} 1.0' in service.metrics.text().decode()
