"""Whisper beside the reference library."""

import json

import numpy as np
import pytest
import torch
import vocabularies
from twins import agree, counted, ragged_ids, saved, shaken, transformers, twin

from omniformer import generate, load, pretrained, save
from omniformer.core.positions import SinusoidalHalves
from omniformer.generation import BeamSearch, Fallback, Greedy
from omniformer.pretrained.tokenizers.text import text_tokenizer

PLACES, BANDS, VOCAB = 50, 6, 29
SIZES = {"vocab_size": VOCAB, "num_mel_bins": BANDS, "d_model": 24, "max_source_positions": PLACES}
SIZES |= {"max_target_positions": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES |= {"decoder_start_token_id": 3, "suppress_tokens": None, "begin_suppress_tokens": None}
ENCODER = {"encoder_layers": 2, "encoder_ffn_dim": 20, "encoder_attention_heads": 3}
DECODER = {"decoder_layers": 1, "decoder_ffn_dim": 28, "decoder_attention_heads": 2}


def model(kind=transformers.WhisperForConditionalGeneration, **others):
    return kind(transformers.WhisperConfig(**(SIZES | ENCODER | DECODER | others)))


def inputs(bands=BANDS, places=PLACES, vocab_size=VOCAB):
    features = torch.randn(3, bands, 2 * places, generator=torch.Generator().manual_seed(4))
    ids, mask = ragged_ids(vocab_size, lengths=(3, 9, 1), seed=3, least=1)  # no gradient reaches padding's id there
    return {"input_features": features, "decoder_input_ids": ids, "decoder_attention_mask": mask}, mask


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"encoder_layers": 1, "decoder_layers": 3, "activation_function": "relu", "scale_embedding": True},
        {"tie_word_embeddings": False, "num_mel_bins": 7},
        {"max_source_positions": 9, "activation_function": "gelu_new"},
    ],
    ids=["plain", "more decoder", "untied", "short"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    given, mask = inputs(others.get("num_mel_bins", BANDS), others.get("max_source_positions", PLACES))
    loaded = twin(model(**others), tmp_path, lambda out: out.logits, given, mask)
    assert loaded.report.unexpected == ()


def test_the_part_below_the_head(tmp_path):
    given, mask = inputs()
    twin(model(transformers.WhisperModel), tmp_path, lambda out: out.last_hidden_state, given, mask)


def test_what_the_encoder_says(tmp_path):
    given, _ = inputs()
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))(**given)
    agree(ours.encoder_last_hidden_state, theirs(**given).encoder_last_hidden_state)


def test_sounds_longer_than_the_table_follow_its_formula(tmp_path):
    """As a reference whose table is longer."""
    short, long = shaken(model(max_source_positions=9)), shaken(model(max_source_positions=30))
    long.load_state_dict(short.state_dict() | {"model.encoder.embed_positions.weight": waves(30)})
    short.model.encoder.embed_positions.weight.data.copy_(waves(9))
    given, mask = inputs(places=30)
    found = pretrained.as_reference(pretrained.load(saved(short, tmp_path)))(**given)
    agree(found.logits, long(**given).logits, mask)


def waves(n):
    return SinusoidalHalves(d_model=24, to_base=True)(torch.arange(float(n))[:, None])


def test_the_table_of_waves_is_the_published_one_and_is_not_trained(tmp_path):
    theirs = model()
    loaded = pretrained.load(saved(theirs, tmp_path))
    table = loaded.model.embedders["audio"].position.table
    assert torch.equal(table, theirs.model.encoder.embed_positions.weight)
    torch.testing.assert_close(table, waves(PLACES), rtol=0, atol=1e-5)
    assert not table.requires_grad


def test_a_table_of_waves_of_its_own_is_kept(tmp_path):
    theirs = shaken(model())
    theirs.model.encoder.embed_positions.weight.data.normal_()
    given, mask = inputs()
    loaded = pretrained.load(saved(theirs, tmp_path))
    agree(pretrained.as_reference(loaded)(**given).logits, theirs(**given).logits, mask)


PUBLISHED = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}


def test_the_published_size_is_counted_exactly():
    assert counted(PUBLISHED) == 37_760_640


@pytest.mark.parametrize(("key", "value"), [("encoder_layerdrop", 0.1), ("decoder_layerdrop", 0.1)])
def test_what_changes_the_computation_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=f"{key}={value}; accepted"):
        pretrained.family_of(PUBLISHED | {key: value}).recipe  # noqa: B018


# ---- sounds


def sound(seconds, seed=0):
    t = torch.arange(int(16000 * seconds)) / 16000
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(seed))
    return 0.3 * torch.sin(2 * torch.pi * (200 + 900 * t) * t) + 0.02 * noise


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.7])
def test_frames_equal_those_of_the_folders_processor(bands, seconds, tmp_path):
    theirs = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=1)
    theirs.save_pretrained(tmp_path)
    family = pretrained.family_of(PUBLISHED | {"num_mel_bins": bands})
    tokens = family.tokenizers(tmp_path)["audio"](sound(seconds))
    expected = theirs(sound(seconds).numpy(), sampling_rate=16000, return_tensors="pt").input_features[0]
    assert tokens.values.shape == (50, 2 * bands)
    torch.testing.assert_close(tokens.values.reshape(100, bands).T, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_size": 40}, "its frames have feature_size=40, those of config.json num_mel_bins=80"),
        ({"sampling_rate": 8000}, "sampling_rate=8000; accepted: 16000"),
        ({"feature_extractor_type": "ASTFeatureExtractor"}, "feature_extractor_type='ASTFeatureExtractor'"),
        ({"do_normalize": True}, "do_normalize=True; accepted: False"),
        ({"dither": 0.1}, "dither=0.1; accepted: 0.0"),
    ],
)
def test_frames_of_another_kind_are_refused_by_name(settings, message, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=rf"preprocessor_config\.json: {message}"):
        pretrained.family_of(PUBLISHED).tokenizers(tmp_path)


def test_the_file_of_all_processors_will_do(tmp_path):
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=7)
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": extractor.to_dict()}))
    assert pretrained.family_of(PUBLISHED).tokenizers(tmp_path)["audio"].seconds == 7.0


# ---- from a sound to a text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A multilingual model with vocabulary and processor, as published, that writes no points in time."""
    return made(tmp_path_factory.mktemp("whisper"))


def made(folder, seconds=1, points=5, **said):
    tokenizer = vocabularies.whisper()
    tokenizer.add_tokens([transformers.AddedToken(f"<|{i * 0.02:.2f}|>", special=False) for i in range(5, points)])
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tokenizer.get_added_vocab()}
    special = {"decoder_start_token_id": ids["<|startoftranscript|>"], "eos_token_id": ids["<|endoftext|>"]}
    special |= {"bos_token_id": ids["<|endoftext|>"], "pad_token_id": ids["<|endoftext|>"]}
    # A table of its own for the output, since a shared one makes such a model say the same id again and again.
    sizes = {"vocab_size": len(tokenizer) + 3, "max_target_positions": 40, "tie_word_embeddings": False}
    theirs = shaken(model(num_mel_bins=80, **sizes | {"max_source_positions": 50 * seconds}, **special))
    told = {
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": ids["<|en|>"], "<|de|>": ids["<|de|>"]},
        "task_to_id": {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        # At points in time the reference cuts a sound in two and reads on.
        "suppress_tokens": list(range(ids["<|notimestamps|>"] + 1, sizes["vocab_size"])),
        "max_length": 40,
        "return_timestamps": False,
    }
    theirs.generation_config = transformers.GenerationConfig(**special | told | said)
    saved(theirs, folder)
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=seconds).save_pretrained(folder)
    return folder


def reference_of(folder):
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    return theirs, transformers.AutoProcessor.from_pretrained(folder)


def change(folder, other, **said):
    """A copy of the folder whose generation_config.json says more."""
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    path = other / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    return other


def written(theirs, processor, sounds, new, **options):
    """What the reference writes for each sound by itself: the ids, without beginning and end."""
    rows = []
    for each in sounds:
        features = processor(each.numpy(), sampling_rate=16000, return_tensors="pt").input_features
        (row,) = theirs.generate(features, max_new_tokens=new, do_sample=False, **options).tolist()
        rows.append(row)
    return rows


NEW = 9


@pytest.mark.quick(2)
@pytest.mark.parametrize("n_beams", [1, 3])
@pytest.mark.parametrize("said", [{}, {"language": "de", "task": "translate"}, {"language": "de"}], ids=str)
def test_transcripts_equal_the_references(said, n_beams, folder, tmp_path):
    here = change(folder, tmp_path, **said)
    theirs, processor = reference_of(here)
    loaded = pretrained.load(here)
    sounds = [sound(0.4), sound(0.9, seed=1), sound(0.7, seed=2)]
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    answers = loaded.generate(sounds, strategy=strategy, max_new_tokens=NEW)
    options = {} if said else {"task": "transcribe"}  # the reference finds the language, too
    assert len({answer.ids for (answer,) in answers}) > 1 and len({i for (answer,) in answers for i in answer.ids}) > 2
    expected = written(theirs, processor, sounds, NEW, num_beams=n_beams, **options)
    for (answer,), row in zip(answers, expected, strict=True):
        stop = theirs.config.eos_token_id
        assert list(answer.ids) == (row[: row.index(stop)] if stop in row else row)
        assert answer.content == processor.tokenizer.decode(row, skip_special_tokens=True)


@pytest.mark.parametrize("n_beams", [1, 3])
def test_ids_that_are_never_written_or_not_first_are_those_of_the_files(n_beams, folder, tmp_path):
    theirs, _ = reference_of(folder)
    sounds = [sound(0.4), sound(0.9, seed=1), sound(0.7, seed=2)]
    free = [answer.ids for (answer,) in pretrained.load(folder).generate(sounds, max_new_tokens=NEW)]
    never, first = sorted({i for ids in free for i in ids[1:3]}), sorted({ids[0] for ids in free})
    never += theirs.generation_config.suppress_tokens
    here = change(folder, tmp_path, suppress_tokens=never, begin_suppress_tokens=first, language="en")
    theirs, processor = reference_of(here)
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    answers = pretrained.load(here).generate(sounds, strategy=strategy, max_new_tokens=NEW)
    expected = written(theirs, processor, sounds, NEW, num_beams=n_beams)
    stop = theirs.config.eos_token_id
    for (answer,), row, before in zip(answers, expected, free, strict=True):
        assert list(answer.ids) == (row[: row.index(stop)] if stop in row else row)
        assert answer.ids != before and not set(never) & set(answer.ids)
        assert answer.ids[:1] != before[:1]


def test_an_answer_begins_with_language_task_and_no_points_in_time(folder, tmp_path):
    theirs = transformers.AutoTokenizer.from_pretrained(folder)

    def begins(**said):
        (tmp_path / "there").mkdir(exist_ok=True)
        found = pretrained.load(change(folder, tmp_path / "there", **said))
        return theirs.convert_ids_to_tokens(found.members["seq2seq"].tokenizers["text"].beginning)

    start, rest = "<|startoftranscript|>", "<|notimestamps|>"
    assert begins() == [start, "<|en|>", "<|transcribe|>", rest]
    assert begins(language="<|de|>", task="translate") == [start, "<|de|>", "<|translate|>", rest]
    forced = [[1, theirs.convert_tokens_to_ids("<|de|>")], [2, theirs.convert_tokens_to_ids("<|transcribe|>")]]
    assert begins(forced_decoder_ids=forced) == [start, "<|de|>", "<|transcribe|>", rest]
    assert begins(lang_to_id=None) == [start, rest]  # a model of English alone
    with pytest.raises(ValueError, match=r"generation_config\.json has language='fr'; it knows <\|de\|>, <\|en\|>"):
        begins(language="fr")


def test_another_language_and_task_are_told_to_generate(folder, tmp_path):
    loaded, told = pretrained.load(folder), pretrained.load(change(folder, tmp_path, language="de", task="translate"))
    begin = ["<|startoftranscript|>", "<|de|>", "<|translate|>", "<|notimestamps|>"]
    ((found,),) = loaded.generate([sound(0.9)], begin=begin, max_new_tokens=NEW)
    ((expected,),) = told.generate([sound(0.9)], max_new_tokens=NEW)
    ((english,),) = loaded.generate([sound(0.9)], max_new_tokens=NEW)
    assert found.ids == expected.ids != english.ids
    with pytest.raises(ValueError, match=r"'<\|fr\|>' is not a special token"):
        loaded.generate([sound(0.9)], begin=["<|fr|>"])


def test_the_model_written_back_brings_processor_and_vocabulary(folder, tmp_path):
    pretrained.load(folder).save_pretrained(tmp_path)
    (theirs, before), (again, after) = reference_of(folder), reference_of(tmp_path)
    wave = sound(0.5).numpy()
    features = [each(wave, sampling_rate=16000, return_tensors="np").input_features for each in (before, after)]
    assert np.array_equal(*features)
    assert before.tokenizer("a cat").input_ids == after.tokenizer("a cat").input_ids
    options = {"language": "en", "max_new_tokens": 4, "do_sample": False}
    assert torch.equal(*(each.generate(torch.from_numpy(features[0]), **options) for each in (theirs, again)))


def test_a_transcript_to_learn_from_begins_and_ends_once(folder):
    loaded = pretrained.load(folder)
    tokenizer = loaded.members["seq2seq"].tokenizers["text"]
    plain = tokenizer.encode_ids(["a cat"])[0].tolist()
    whole = tokenizer.answer(tokenizer("a cat")).values.tolist()
    assert whole == [*tokenizer.beginning, *plain, tokenizer.stop]
    assert text_tokenizer(folder, loaded.family.config)["text"].stop == tokenizer.stop


def test_a_prompt_stands_before_the_beginning_as_in_the_reference(folder):
    """Ids of words that a transcript is to spell so, whether or not the language is found."""
    theirs, processor = reference_of(folder)
    loaded, sounds = pretrained.load(folder), [sound(0.4), sound(0.9, seed=1), sound(0.7, seed=2)]
    seen = set()
    for text in ("a cat", "the dog and the cat", "cats"):
        prompt = processor.get_prompt_ids(text, return_tensors="pt")
        expected = written(theirs, processor, sounds, NEW, prompt_ids=prompt, task="transcribe")
        begin = [*prompt.tolist(), "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"]
        found = loaded.generate(sounds, begin=begin, max_new_tokens=NEW)
        stop = theirs.config.eos_token_id
        for (answer,), row in zip(found, expected, strict=True):
            assert list(answer.ids) == (row[: row.index(stop)] if stop in row else row)
        seen |= {answer.ids for (answer,) in found}
    assert len(seen) > 2


# ---- sounds of any length


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """A model that hears one second at once and writes points in time."""
    return made(tmp_path_factory.mktemp("timed"), points=51, suppress_tokens=[5, 7], max_initial_timestamp_index=10)


def spoken(here, sounds, **options):
    """What the reference says of each sound by itself: its segments."""
    theirs, processor = reference_of(here)
    window, found = 16000 * processor.feature_extractor.chunk_length, []
    for each in sounds:
        whole = {"truncation": False, "padding": "longest"} if len(each) > window else {}
        features = processor(each.numpy(), sampling_rate=16000, return_tensors="pt", **whole).input_features
        asked = {"return_timestamps": True, "return_segments": True, "do_sample": False, "task": "transcribe"}
        (segments,) = theirs.generate(features, **asked | options)["segments"]
        found.append(segments)
    return found


def equal(answer, segments):
    assert list(answer.ids) == [i for each in segments for i in each["tokens"].tolist()]
    for key in ("start", "end"):
        assert [getattr(each, key) for each in answer.segments] == pytest.approx(
            [float(each[key]) for each in segments]
        )
    assert len(answer.log_probs) == len(answer.ids) and "".join(each.text for each in answer.segments)


SOUNDS = [sound(2.35, seed=3), sound(3.1, seed=1), sound(0.7, seed=2)]  # of the first, half a token is left


@pytest.mark.quick(1)
@pytest.mark.parametrize("n_beams", [1, 3])
def test_longer_sounds_are_read_window_by_window_as_in_the_reference(n_beams, timed):
    strategy = Greedy() if n_beams == 1 else BeamSearch(n_beams=n_beams, stopping="likely")
    begin = ["<|startoftranscript|>", "<|transcribe|>"]  # with points in time, in a language that is found
    found = pretrained.load(timed).generate(SOUNDS, strategy=strategy, begin=begin, max_new_tokens=NEW)
    expected = spoken(timed, SOUNDS, max_new_tokens=NEW, num_beams=n_beams)
    for (answer,), segments in zip(found, expected, strict=True):
        equal(answer, segments)
    assert max(each.end for each in found[1][0].segments) > 2


@pytest.mark.slow
def test_seventy_seconds_equal_the_references(tmp_path):
    here = made(tmp_path, seconds=30, points=1501, suppress_tokens=[5], max_initial_timestamp_index=50)
    long = [sound(70.01)]
    ((answer,),) = pretrained.load(here).generate(long)
    (segments,) = spoken(here, long)
    equal(answer, segments)
    assert max(each.end for each in answer.segments) > 60


def test_a_longer_sound_alone_streamed_and_from_a_saved_folder_is_the_same(timed, tmp_path):
    loaded = pretrained.load(timed)
    ((alone,),) = loaded.generate(SOUNDS[:1], max_new_tokens=NEW)
    both = loaded.generate(SOUNDS[::-1], max_new_tokens=NEW)
    assert both[2][0].ids == alone.ids and not both[0][0].segments
    streamed = loaded.writer().stream(SOUNDS[0], max_new_tokens=NEW)
    assert "".join(streamed) == alone.content and tuple(streamed.ids) == alone.ids
    save(tmp_path, loaded, recipe=loaded.recipe)
    ((again,),) = load(tmp_path).generate(SOUNDS[:1], max_new_tokens=NEW)
    assert again.ids == alone.ids and again.to_dict()["segments"] == alone.to_dict()["segments"]


def test_the_command_line_shows_what_was_said_when(timed, tmp_path, capsys):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "call.wav", SOUNDS[2].numpy(), 16000)
    begin = ["--begin", "<|startoftranscript|>", "--begin", "<|de|>", "--begin", "<|transcribe|>"]
    generate.main([str(timed), "--given", str(tmp_path / "call.wav"), "--json", "--max-new-tokens", str(NEW), *begin])
    segments = json.loads(capsys.readouterr().out)["segments"]
    assert segments and all(0 <= each["start"] <= each["end"] <= 1 and each["text"] for each in segments)


def test_forms_of_an_answer_are_refused_where_it_is_written_window_by_window(timed):
    with pytest.raises(ValueError, match="window by window, where an answer has no form"):
        pretrained.load(timed).generate(SOUNDS[:1], stop=["."])


def test_a_language_that_the_files_leave_open_is_found(timed, tmp_path):
    """As in today's files of Whisper, which force the task alone; what is learned from begins in English."""
    theirs = transformers.AutoTokenizer.from_pretrained(timed)
    task = theirs.convert_tokens_to_ids("<|transcribe|>")
    loaded = pretrained.load(change(timed, tmp_path, forced_decoder_ids=[[1, None], [2, task]]))
    texts = loaded.members["seq2seq"].tokenizers["text"]
    assert theirs.convert_ids_to_tokens(texts.beginning)[1:3] == ["<|en|>", "<|transcribe|>"]
    found = loaded.generate(SOUNDS[1:], max_new_tokens=NEW)
    expected = pretrained.load(timed).generate(SOUNDS[1:], max_new_tokens=NEW)
    assert [each.ids for (each,) in found] == [each.ids for (each,) in expected]


@pytest.mark.quick("log-probability")
@pytest.mark.parametrize("measure", ["log-probability", "compression"])
def test_windows_that_fail_are_drawn_again_where_the_references_are(measure, timed, monkeypatch):
    """At a temperature of nearly 0 both draw the most probable ids: what is compared is every decision."""
    begin, temperatures, sounds = ["<|startoftranscript|>", "<|transcribe|>"], (0.0, 1e-5), SOUNDS[:2]
    names = {"log-probability": ("log_prob", "logprob_threshold", "_retrieve_avg_logprobs")}
    names["compression"] = ("compression_ratio", "compression_ratio_threshold", "_retrieve_compression_ratio")
    name, asked, measured = names[measure]
    whisper, measures, theirs, ours = transformers.WhisperForConditionalGeneration, [], [], []
    found, need, wrong = getattr(whisper, measured), whisper._need_fallback, Fallback.wrong
    spied = staticmethod(lambda *given: measures.append(found(*given)) or measures[-1])
    monkeypatch.setattr(whisper, measured, spied)
    monkeypatch.setattr(whisper, "_need_fallback", lambda *given: theirs.append(need(*given)) or theirs[-1])
    monkeypatch.setattr(Fallback, "wrong", lambda *given: ours.append(wrong(*given)) or ours[-1])

    loose = -100.0 if name == "log_prob" else 100.0
    spoken(timed, sounds, max_new_tokens=NEW, temperature=temperatures, **{asked: loose})
    values = sorted({round(float(each), 4) for each in measures})
    assert len(values) > 2 and not any(again for again, _ in theirs)
    theirs.clear()
    bar = (values[0] + values[1]) / 2
    segments = spoken(timed, sounds, max_new_tokens=NEW, temperature=temperatures, top_k=0, **{asked: bar})
    strategy = Fallback(temperatures=temperatures, **{"log_prob": None, "compression_ratio": None, name: bar})
    loaded = pretrained.load(timed)
    for sound_, expected in zip(sounds, segments, strict=True):  # one by one, so that decisions come in their order
        ((answer,),) = loaded.generate([sound_], strategy=strategy, begin=begin, max_new_tokens=NEW)
        equal(answer, expected)
    assert ours == [again for again, _ in theirs] and set(ours) == {True, False}
