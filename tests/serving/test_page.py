"""The page in a real browser: what it shows, what it sends, and that nothing goes wrong in it."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdriver import Browser

import omniformer
from omniformer.serving.app import make_app
from omniformer.serving.running import Server

pytestmark = pytest.mark.slow


@contextmanager
def shown(app, folder, *options):
    """The page of an application, in a browser; no console error, and no request to anybody else."""
    import uvicorn

    addresses = []
    server = Server(uvicorn.Config(app, log_level="warning"), addresses.append)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not addresses:
            assert thread.is_alive()
            time.sleep(0.01)
        with Browser(folder, *options) as browser:
            browser.open(addresses[0])
            yield browser
            assert [each for each in browser.complaints() if each["level"] == "SEVERE"] == []
            others = {url for url in browser.requests() if not url.startswith((addresses[0], "blob:", "data:"))}
            assert others == set()
    finally:
        server.should_exit = True
        thread.join(30)


def results(browser):
    return browser.run("return document.querySelector('#results').innerText")


def ask(browser, most=60.0):
    """Presses the button, and what is shown then."""
    browser.click("button.go")
    browser.until("!document.querySelector('button.go').disabled", most)
    return results(browser)


def numbers(prediction):
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    return [part for label, score in ranked for part in (label, f"{score:.3f}")]


def test_pictures_sounds_graphs_and_texts_are_tried(serving, predictor, tmp_path):
    picture = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(picture)
    with shown(make_app(serving()), tmp_path) as browser:
        browser.until("document.querySelector('nav button')")
        assert browser.run("return [...document.querySelectorAll('nav button')].map((each) => each.innerText)") == list(
            predictor.members
        )
        assert "nothing to look at yet" in ask(browser)
        browser.type("#inputs input[type=file]", str(picture))
        (said,) = predictor.predict(picture)
        assert ask(browser).split() == [said.label, *numbers(said)]

        browser.click("nav button:nth-child(2)")
        browser.click("#inputs .head button:nth-of-type(2)")
        time.sleep(1.0)
        browser.click("#inputs .head button.on")
        browser.until("document.querySelector('.drop audio')?.duration > 0.5")
        assert len(ask(browser).split()) == 7

        browser.click("nav button:nth-child(3)")
        places = [(-90, -40), (60, -50), (0, 50)]
        browser.click_at("svg.graph", *places, places[0], places[1], places[1], places[2])
        assert "3 nodes, 2 edges." in browser.text()
        drawn = tmp_path / "graph.json"
        drawn.write_text(json.dumps({"n_nodes": 3, "edges": [[0, 1], [1, 2]]}))
        (said,) = predictor.predict(drawn)
        assert ask(browser).split() == [said.label, *numbers(said)]

        browser.click("nav button:nth-child(4)")
        browser.type("#inputs textarea", "one")
        text = "".join(predictor.writer().stream("one", max_new_tokens=128))
        ask(browser)
        assert browser.run("return document.querySelector('.text').textContent") == "one" + text


def test_with_a_key_nothing_is_shown_before_it_is_given(serving, tmp_path):
    with shown(make_app(serving(), api_key="sesame"), tmp_path, "--force-dark-mode") as browser:
        assert "Give the key" in browser.text()
        browser.type("#key", "sesame\n")
        browser.until("document.querySelector('nav button')")


def test_labels_of_strangers_are_text_and_no_markup(serving, folder, tmp_path):
    evil = omniformer.load(folder)
    evil.members = {"animals": evil.members["animals"]}
    label = "<img src=x onerror=document.title='pwned'>"
    object.__setattr__(evil.members["animals"], "labels", (label, "bee", "cat"))
    picture = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(picture)
    with shown(make_app(serving(evil)), tmp_path) as browser:
        browser.until("document.querySelector('#inputs input')")
        browser.type("#inputs input[type=file]", str(picture))
        assert label in ask(browser)
        assert browser.run("return document.title") == "zoo"


def test_a_conversation_is_shown_turn_by_turn(serving, tmp_path):
    pytest.importorskip("transformers")
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "pretrained"))
    from test_chat import chatty

    chatty(tmp_path / "chat")
    model = omniformer.load(tmp_path / "chat")
    with shown(make_app(serving(model)), tmp_path) as browser:
        browser.until("document.querySelector('nav button')")
        assert browser.run("return document.querySelector('nav button').innerText") == "chat"
        messages = []
        for turn in ("the cat", "a dog"):
            browser.type("#inputs textarea", turn)
            ask(browser)
            messages.append({"role": "user", "content": turn})
            said = model.chat(messages, max_new_tokens=256, **model.usual_writing).content
            messages.append({"role": "assistant", "content": said})
        found = browser.run("return [...document.querySelectorAll('.said')].map((each) => each.textContent)")
        assert found == [each["content"] for each in messages]
