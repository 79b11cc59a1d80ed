"""The command, from a saved folder to what it prints."""

import json
import re

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, CharacterTokenizer, PatchTokenizer, PixelTokenizer

import omniformer
from omniformer.generate import main
from omniformer.generation import BeamSearch, Greedy, Sampling
from omniformer.predictor import Member, Predictor
from omniformer.quantization import is_quantized
from omniformer.recipe import build_model

TEXT = ByteTokenizer()


def saved(folder, *, modality="text", tokenizer=TEXT, given=None, head="NextTokenHead"):
    """A folder of a model with one task that writes."""
    given = given or {}
    size = {"d_model": 16, "vocab_size": tokenizer.facts["vocab_size"]}
    embedders = {modality: {"node": {"_target_": "omniformer.embedders.IdEmbedder"}, "facts": size}}
    if "vision" in given:
        facts = {"d_model": 16, "features": 16, "axes": 2}
        embedders["vision"] = {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": facts}
    head = {"_target_": f"omniformer.heads.{head}", "modality": modality, "tied": False}
    core = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}
    recipe = {
        "core": {**core, "init_std": 0.5},
        "embedders": embedders,
        "heads": {"it": {"node": head, "facts": size}},
        "rules": {"it": {"_target_": "omniformer.core.rules.Causal"}},
    }
    torch.manual_seed(0)
    model = build_model(recipe)
    torch.nn.init.normal_(model.heads["it"].ids.weight)
    member = Member(tokenizers={modality: tokenizer, **given}, given=tuple(given), max_seq_len=None if given else 64)
    omniformer.save(folder, Predictor(model, {"it": member}), recipe=recipe)
    return str(folder)


@pytest.fixture
def prose(tmp_path):
    """A language model."""
    return saved(tmp_path / "model")


@pytest.fixture
def captions(tmp_path):
    """A model that describes pictures, or answers questions about them."""
    return saved(tmp_path / "model", given={"vision": PatchTokenizer(patch_size=4, channels=1), "text": TEXT})


@pytest.fixture
def picture(tmp_path):
    """The path of a picture."""
    from PIL import Image

    path = tmp_path / "it.png"
    pixels = torch.randint(0, 256, (8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(path)
    return path


def test_one_prompt_is_printed_with_what_follows(prose, capsys):
    main([prose, "once", "--max-new-tokens", "9", "--seed", "3"])
    expected = omniformer.load(prose).generate(["once"], strategy=Sampling(seed=3), max_new_tokens=9)[0][0].content
    assert capsys.readouterr().out == f"once{expected}\n"


def test_weights_are_rounded_as_they_are_told(prose, capsys):
    main([prose, "once", "--max-new-tokens", "9", "--weights", "int8", "--temperature", "0"])
    said = capsys.readouterr().out
    rounded = omniformer.load(prose, weights="int8")
    assert is_quantized(rounded.model)
    expected = rounded.generate(["once"], strategy=Greedy(), max_new_tokens=9)
    assert said == f"once{expected[0][0].content}\n"


def test_one_prompt_is_printed_as_it_is_written(prose, monkeypatch):
    said = []
    monkeypatch.setattr("sys.stdout.write", said.append)
    main([prose, "once", "--max-new-tokens", "20"])
    assert len(said) > 5


def test_without_a_prompt_a_new_text_begins(prose, capsys):
    main([prose, "--max-new-tokens", "5"])
    expected = omniformer.load(prose).generate([""], max_new_tokens=5)[0][0].content
    assert capsys.readouterr().out == f"{expected}\n"


def test_several_prompts_are_json_lines(prose, capsys):
    main([prose, "once", "twice", "--beams", "3", "--answers", "2", "--json", "--max-new-tokens", "5", "--log-probs"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = omniformer.load(prose).generate(
        ["once", "twice"], strategy=BeamSearch(n_beams=3, n_best=2), max_new_tokens=5
    )
    assert [line["prompt"] for line in lines] == ["once", "once", "twice", "twice"]
    assert [line["text"] for line in lines] == [answer.content for row in expected for answer in row]
    assert all(len(line["log_probs"]) >= len(line["tokens"]) for line in lines)


def test_length_penalty_and_best_of_reach_the_strategy(prose, capsys):
    for options, strategy in (
        (["--beams", "3", "--length-penalty", "0"], BeamSearch(n_beams=3, length_penalty=0.0)),
        (["--best-of", "3", "--temperature", "1.5", "--top-k", "9"], Sampling(n=3, temperature=1.5, top_k=9)),
        (["--repetition-penalty", "1.5", "--top-p", "0.9"], Sampling(repetition_penalty=1.5, top_p=0.9)),
        (["--min-p", "0.1", "--guidance", "2"], Sampling(min_p=0.1)),
    ):
        guidance = 2.0 if "--guidance" in options else 1.0
        main([prose, "once", "--json", "--max-new-tokens", "6", *options])
        found = json.loads(capsys.readouterr().out)
        (row,) = omniformer.load(prose).generate(["once"], strategy=strategy, max_new_tokens=6, guidance=guidance)
        assert (found["text"], found["score"]) == (row[0].content, pytest.approx(row[0].score))


def test_log_probabilities_stand_below_the_text_one_a_line(prose, capsys):
    main([prose, "once", "--log-probs", "--max-new-tokens", "3", "--temperature", "0"])
    lines = capsys.readouterr().out.split("\n  ")
    (row,) = omniformer.load(prose).generate(["once"], strategy=Sampling(temperature=0), max_new_tokens=3)
    assert len(lines) == 1 + len(row[0].log_probs)
    assert [float(line.split()[0]) for line in lines[1:]] == pytest.approx(row[0].log_probs, abs=1e-3)


def test_a_picture_is_described_and_questions_about_it_are_answered(captions, picture, capsys):
    predictor = omniformer.load(captions)
    main([captions, str(picture), "--max-new-tokens", "5"])
    assert capsys.readouterr().out == predictor.generate([picture], max_new_tokens=5)[0][0].content + "\n"
    main([captions, "--given", str(picture), "what?", "where?", "--max-new-tokens", "5", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = predictor.generate([[picture, "what?"], [picture, "where?"]], max_new_tokens=5)
    assert [(line["prompt"], line["text"]) for line in lines] == [
        ("what?", expected[0][0].content),
        ("where?", expected[1][0].content),
    ]
    main([captions, "--given", str(picture), "--max-new-tokens", "5"])
    assert capsys.readouterr().out == predictor.generate([picture], max_new_tokens=5)[0][0].content + "\n"


def test_answers_to_several_prompts_stand_beside_them(captions, picture, capsys):
    main([captions, "what?", "where?", "--max-new-tokens", "2", "--stop", "\n", "--stop", "\t"])
    assert [line.split("\t")[0] for line in capsys.readouterr().out.split("\n")[:2]] == ["what?", "where?"]


def test_a_prompt_that_cannot_be_read_is_named_and_the_others_are_answered(captions, picture, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    out = tmp_path / "answers"
    options = ["--given", "what?", "--max-new-tokens", "4", "--out", str(out)]
    with pytest.raises(SystemExit, match="1"):
        main([captions, str(broken), str(picture), str(tmp_path / "missing.png"), *options])
    assert [path.name for path in out.iterdir()] == ["1.txt"]  # its place among all prompts
    told = capsys.readouterr()
    assert "broken.png" in told.err
    assert "missing.png" in told.err
    assert "2 inputs could not be read; all others were" in told.err
    assert str(picture) in told.out
    assert "broken.png" not in told.out


def test_where_no_prompt_can_be_read_the_first_reason_is_told(captions, tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        main([captions, str(tmp_path / "one.png"), str(tmp_path / "two.png")])
    told = capsys.readouterr().err
    assert "one.png" in told
    assert "two.png" not in told


def test_pictures_are_written_into_a_folder(tmp_path, capsys):
    from PIL import Image

    run = saved(tmp_path / "model", modality="vision", tokenizer=PixelTokenizer(channels=1, levels=4))
    main([run, "--size", "3", "5", "--out", str(tmp_path / "out")])
    path = tmp_path / "out" / "0.png"
    assert capsys.readouterr().out.strip() == str(path)
    with Image.open(path) as image:
        assert image.size == (5, 3)


def painter(folder):
    """The folder of a model that paints by diffusion."""
    size = {"d_model": 16, "features": 16, "axes": 2}
    norm = {"_target_": "omniformer.core.connection.AdaptiveNorm", "_partial_": True, "d_condition": 8}
    core = {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2}
    recipe = {
        "core": {**core, "connection": norm},
        "embedders": {"vision": {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": size}},
        "heads": {
            "it": {
                "node": {"_target_": "omniformer.heads.denoising.DenoisingHead", "d_condition": 8},
                "facts": {"d_model": 16, "features": 16},
            }
        },
        "rules": {},
    }
    member = Member(tokenizers={"vision": PatchTokenizer(patch_size=4, channels=1)})
    omniformer.save(folder, Predictor(build_model(recipe), {"it": member}), recipe=recipe)
    return str(folder)


def test_a_model_of_diffusion_paints_into_a_folder(tmp_path, capsys):
    from PIL import Image

    run = painter(tmp_path / "model")
    main([run, "", "", "--size", "8", "12", "--steps", "3", "--seed", "5", "--out", str(tmp_path / "out")])
    assert len(capsys.readouterr().out.splitlines()) == 2
    with Image.open(tmp_path / "out" / "1.png") as image:
        assert image.size == (12, 8)
    with pytest.raises(SystemExit):
        main([run, "--size", "8", "8", "--out", "o", "--beams", "2", "--stop", "a"])
    assert "'it' writes out of noise; leave out --beams, --stop" in capsys.readouterr().err


@pytest.fixture
def reader(tmp_path):
    """A model that writes down what patches say, one by one."""
    sizes = {"vision": {"d_model": 16, "features": 16, "axes": 2}, "head": {"d_model": 16, "vocab_size": 257}}
    recipe = {
        "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 1, "n_heads": 2},
        "embedders": {
            "vision": {"node": {"_target_": "omniformer.embedders.VectorEmbedder"}, "facts": sizes["vision"]}
        },
        "heads": {"it": {"node": {"_target_": "omniformer.heads.ctc.CTCHead"}, "facts": sizes["head"]}},
        "rules": {},
    }
    model = build_model(recipe)
    torch.nn.init.normal_(model.heads["it"].ids.weight, generator=torch.Generator().manual_seed(0))
    member = Member(tokenizers={"vision": PatchTokenizer(patch_size=4, channels=1), "text": TEXT}, given=("vision",))
    omniformer.save(tmp_path / "model", Predictor(model, {"it": member}), recipe=recipe)
    return str(tmp_path / "model")


def test_what_frames_say_is_printed(reader, picture, capsys):
    predictor = omniformer.load(reader)
    main([reader, str(picture)])
    assert capsys.readouterr().out == predictor.generate([picture])[0][0].content + "\n"
    main([reader, str(picture), "--beams", "3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == predictor.generate([picture], beam=3)[0][0].content
    with pytest.raises(SystemExit):
        main([reader, str(picture), "--stop", "a", "--seed", "1"])
    assert "'it' writes what frames say, one answer each; leave out --seed, --stop" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([reader, str(picture), "--beams", "3", "--answers", "2"])
    assert "leave out --answers" in capsys.readouterr().err


def test_what_frames_say_is_a_prediction_too(reader, picture, capsys):
    from omniformer.predict import main as predict

    expected = omniformer.load(reader).predict([picture])[0].text
    predict([reader, str(picture), "--json"])
    assert json.loads(capsys.readouterr().out) == {"input": str(picture), "member": "it", "text": expected}
    predict([reader, str(picture)])
    assert "prediction" in capsys.readouterr().out


def test_texts_can_be_written_into_a_folder(prose, tmp_path, capsys):
    main([prose, "a", "b", "--max-new-tokens", "4", "--out", str(tmp_path / "out"), "--best-of", "2", "--answers", "2"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0-0.txt", "0-1.txt", "1-0.txt", "1-1.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beams", "2", "--top-k", "3", "--seed", "1"], "--beams searches, --top-k, --seed draws at random"),
        (["--length-penalty", "2"], "--length-penalty ranks the answers of --beams; give both"),
        (["--answers", "2"], "--answers 2 is outside 1..1; give --beams or --best-of at least as many"),
        (["--best-of", "3", "--temperature", "0"], "n=3 answers at temperature=0 would all be the same"),
        (["--size", "2", "2"], "writes text, which has no height and width"),
        (["--member", "other"], "member='other' is no task of this kind in this model; choose one of it"),
        (["--steps", "3"], "'it' writes token by token; leave out --steps"),
        (["--given", "a"], "goes on from its prompt and is given nothing"),
        (["--cache", "sliding"], "use cache='growing', or a rule with a window"),
    ],
)
def test_misuse_is_told_without_a_traceback(prose, capsys, options, message):
    with pytest.raises(SystemExit):
        main([prose, "once", "--max-new-tokens", "2", *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("prompts", [["once"], ["once", "upon"]])
def test_a_draft_changes_no_greedy_answer_and_its_share_is_told(prompts, prose, tmp_path, capsys):
    options = ["--temperature", "0", "--max-new-tokens", "9"]
    main([prose, *prompts, *options])
    expected = capsys.readouterr().out
    main([prose, *prompts, *options, "--draft", saved(tmp_path / "small"), "--draft-tokens", "2"])
    found = capsys.readouterr()
    assert found.out == expected
    assert "guesses of the draft were accepted (100.0%))" in found.err
    model = omniformer.load(prose)
    plain = model.generate(prompts, strategy=Greedy(), max_new_tokens=9)
    drafted = model.generate(prompts, strategy=Greedy(), max_new_tokens=9, draft=omniformer.load(tmp_path / "small"))
    assert [each.ids for (each,) in drafted] == [each.ids for (each,) in plain]


def test_a_model_that_guesses_for_itself_writes_the_same_and_tells_its_share(tmp_path, capsys):
    folder = saved(tmp_path / "model", head="MultiTokenHead")
    options = [folder, "once", "--temperature", "0", "--max-new-tokens", "9"]
    main(options)
    expected = capsys.readouterr().out
    for further in ([], ["--draft-tokens", "2"]):
        main([*options, "--draft", "self", *further])
        found = capsys.readouterr()
        assert found.out == expected
        assert re.search(r"\(\d+ of [1-9]\d* guesses of the draft were accepted", found.err)


def test_a_model_that_scores_one_place_cannot_guess_for_itself(prose, capsys):
    with pytest.raises(SystemExit):
        main([prose, "once", "--draft", "self"])
    assert "'it' is a NextTokenHead, which scores one place; use task=multi_token" in capsys.readouterr().err


def test_answers_have_the_form_that_a_file_or_a_pattern_says(prose, tmp_path, capsys):
    path = tmp_path / "schema.json"
    path.write_text('{"enum": [1, "zwei", null]}')
    main([prose, "once", "upon", "--max-new-tokens", "60", "--json", "--schema", str(path)])
    said = [json.loads(json.loads(line)["text"]) for line in capsys.readouterr().out.splitlines()]
    assert len(said) == 2 and all(each in (1, "zwei", None) for each in said)
    main([prose, "once", "--regex", "[a-c]{4}"])
    assert re.fullmatch("once[a-c]{4}\n", capsys.readouterr().out)
    path.write_text("{")
    with pytest.raises(SystemExit):
        main([prose, "once", "--schema", str(path)])
    assert "schema.json is no JSON" in capsys.readouterr().err


def test_a_draft_of_another_vocabulary_is_told(prose, tmp_path, capsys):
    other = saved(tmp_path / "other", tokenizer=CharacterTokenizer().fit(["once upon"]))
    with pytest.raises(SystemExit):
        main([prose, "once", "--draft", other])
    assert "the draft's tokenizer of 'text' is not that of 'it'" in capsys.readouterr().err


def test_a_task_that_is_given_something_needs_it(captions, capsys):
    with pytest.raises(SystemExit):
        main([captions])
    assert "prompt 0 is empty; 'it' answers: give it vision or text" in capsys.readouterr().err


def test_pictures_need_a_folder(tmp_path, capsys):
    run = saved(tmp_path / "model", modality="vision", tokenizer=PixelTokenizer(channels=1, levels=4))
    with pytest.raises(SystemExit):
        main([run, "--size", "3", "5"])
    assert "writes pictures or sounds; say with --out FOLDER where to" in capsys.readouterr().err
