from functools import partial
from pathlib import Path

import pytest
import torch
import vocabularies
from omniformer_tokenizers import (
    ByteTokenizer,
    ColourTokenizer,
    MuLawTokenizer,
    PatchTokenizer,
    PixelTokenizer,
    SubwordTokenizer,
    Tokens,
    WordTokenizer,
)

from omniformer.batch import Sample, collate
from omniformer.core.positions import Learned
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Prefix
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.generation import BeamSearch, Bias, Greedy, NoRepeat, Sampling, Writer, write
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer

TEXT, PATCHES = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1)


def picture(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def writer_of(tokenizer, *, modality="text", given=None, max_seq_len=None) -> Writer:
    """A writer with random weights that are wide enough for every answer to be another."""
    torch.manual_seed(0)
    given, vocab_size = given or {}, tokenizer.facts["vocab_size"]
    rotary = lambda head_dim: Rotary(head_dim=head_dim, n_axes=3)  # noqa: E731
    embedders = {modality: IdEmbedder(d_model=16, vocab_size=vocab_size)}
    for name, each in given.items():
        if "features" in each.facts:
            embedders[name] = VectorEmbedder(d_model=16, features=each.facts["features"], axes=each.facts["axes"])
        else:
            embedders[name] = IdEmbedder(d_model=16, vocab_size=each.facts["vocab_size"])
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, rotary=rotary),
        embedders=embedders,
        heads={"it": NextTokenHead(d_model=16, vocab_size=vocab_size, tied=False, modality=modality)},
        rules={"it": Causal() | Prefix()},
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return Writer(
        model.eval(), "it", tokenizers={modality: tokenizer, **given}, given=tuple(given), max_seq_len=max_seq_len
    )


def contents(answers):
    return [row[0].content for row in answers]


def test_a_language_model_goes_on_from_prompts_of_any_length_as_it_does_one_by_one():
    writer, prompts = writer_of(TEXT), ["the", "", "a much longer prompt"]
    together = writer.write(prompts, strategy=BeamSearch(n_beams=3), max_new_tokens=12)
    alone = [writer.write([prompt], strategy=BeamSearch(n_beams=3), max_new_tokens=12)[0] for prompt in prompts]
    assert [row[0].ids for row in together] == [row[0].ids for row in alone]
    found = [contents(writer.write(prompts, batch_size=n, max_new_tokens=20)) for n in (1, 3)]
    assert found[0] == found[1]
    assert [row[0].input for row in together] == ["prompt 0", "prompt 1", "prompt 2"]


def test_an_answer_is_its_ids_as_text():
    answer = writer_of(TEXT).write(["the"], max_new_tokens=30)[0][0]
    assert answer.content == TEXT.decode(answer.ids)
    assert answer.tokens == tuple(TEXT.decode([each]) for each in answer.ids)
    assert len(answer.log_probs) == len(answer.ids) + answer.ended


def test_streamed_pieces_add_up_to_the_answer():
    writer = writer_of(TEXT)
    for options in ({}, {"stop": ["a", "\x10"]}, {"strategy": Greedy()}, {"guidance": 2.0}):
        options = {"max_new_tokens": 25, **options}
        pieces = list(writer.stream("the", **options))
        assert "".join(pieces) == writer.write(["the"], **options)[0][0].content


def test_a_stop_text_ends_the_answer_before_it_and_the_model_goes_no_further():
    writer = writer_of(TEXT)
    whole = writer.write(["the", "of"], max_new_tokens=40)
    text = whole[0][0].content
    stop = next(text[i : i + 2] for i in range(5, 30) if text[i : i + 2].isascii())
    for strategy in (None, BeamSearch()):
        answer = writer.write(["the", "of"], max_new_tokens=40, stop=[stop], strategy=strategy)[0][0]
        assert stop not in answer.content
        if strategy is None:
            assert answer.content == text[: text.index(stop)]
            assert answer.ended
            assert TEXT.decode(answer.ids).endswith(stop)
    assert stop in text


def test_words_keep_their_distance_from_the_prompt():
    tokenizer = WordTokenizer().fit(["to be or not to be that is the question"])
    answer = writer_of(tokenizer).write(["to be"], max_new_tokens=4)[0][0]
    assert answer.content.startswith(" ")


def test_what_is_given_decides_the_answer():
    writer = writer_of(TEXT, given={"vision": PATCHES})
    found = [row[0].ids for row in writer.write([picture(0), picture(1), {}], max_new_tokens=12)]
    assert len(set(found)) == 3
    assert isinstance(writer.usual, Greedy)
    stronger = [row[0].ids for row in writer.write([picture(0), {}], max_new_tokens=12, guidance=5.0)]
    assert stronger[0] != found[0]
    assert stronger[1] == found[2]  # guidance has nothing to go by


def test_a_question_about_a_picture_file_is_a_list_of_both(tmp_path):
    from PIL import Image

    path = tmp_path / "it.png"
    Image.fromarray(picture(0)[0].numpy()).save(path)
    both = {"vision": PATCHES, "question": TEXT}
    writer = writer_of(TEXT, given=both)
    prompts = [[path, "what?"], {"question": "what?", "vision": picture(0)}, path, "what?"]
    found = [row[0].ids for row in writer.write(prompts, max_new_tokens=8)]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_sentences_are_texts_even_where_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dog").write_text("something else")
    writer = writer_of(TEXT, given={"source": TEXT})
    one, other = writer.write(["dog", {"source": "dog"}], max_new_tokens=6)
    assert one[0].ids == other[0].ids


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_become_a_picture_of_the_size_asked_for(channels):
    tokenizer = PixelTokenizer(channels=channels, levels=4)
    writer = writer_of(tokenizer, modality="pixels")
    answer = writer.write([""], size=(3, 2))[0][0]
    assert answer.content.shape == (channels, 3, 2)
    assert len(answer.ids) == 6 * channels
    assert torch.equal(tokenizer(answer.content).values, torch.tensor(answer.ids))
    assert tokenizer.start not in answer.ids


def test_colours_are_painted_from_words_and_saved_as_png(tmp_path):
    from PIL import Image

    tokenizer = ColourTokenizer(n_colours=5, channels=3, image_size=(4, 4)).fit(
        [torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))]
    )
    writer = writer_of(tokenizer, modality="vision", given={"text": TEXT})
    cat, dog = writer.write(["cat", "dog"])
    assert not torch.equal(cat[0].content, dog[0].content)
    path = cat[0].save(tmp_path / "cat")
    assert path.name == "cat.png"
    with Image.open(path) as image:
        assert (image.size, image.mode) == ((4, 4), "RGB")
        assert image.getpixel((1, 0)) == tuple(cat[0].content[:, 0, 1].tolist())


def test_a_prompt_of_a_published_vocabulary_is_read_as_its_template_makes_it():
    """LLaMA's prompts begin with <s> once; an empty one is what the model begins with."""
    theirs = vocabularies.llama()
    tokenizer = SubwordTokenizer.from_model(theirs.backend_tokenizer, start="<s>", stop="</s>")
    writer = writer_of(tokenizer)
    for prompt, ids in (("a cat", theirs("a cat").input_ids), ("", [1])):
        begun = Tokens(values=torch.tensor(ids), positions=torch.arange(len(ids)).float()[:, None], modality="text")
        batch = collate([Sample(id="prompt 0", pieces=[], answer=[begun])])
        ((expected,),) = write(writer.model, "it", batch, strategy=Greedy(), stop={2}, max_new_tokens=6)
        ((answer,),) = writer.write([prompt], strategy=Greedy(), max_new_tokens=6)
        assert answer.ids == expected.ids


def test_a_beginning_can_be_told_where_the_vocabulary_has_several_and_nothing_is_written_yet():
    tokenizer = SubwordTokenizer.from_model(vocabularies.llama().backend_tokenizer, start="<s>", stop="</s>")
    writer = writer_of(tokenizer)
    ((told,),) = writer.write([""], begin=["<unk>", 7], strategy=Greedy(), max_new_tokens=4)
    other = SubwordTokenizer.from_model(vocabularies.llama().backend_tokenizer, start=["<unk>", 7], stop="</s>")
    ((expected,),) = writer_of(other).write([""], strategy=Greedy(), max_new_tokens=4)
    assert told.ids == expected.ids
    assert "".join(writer.stream("", begin=["<unk>", 7], strategy=Greedy(), max_new_tokens=4)) == told.content
    assert tokenizer.beginning == (1,)
    with pytest.raises(ValueError, match="prompt 0 is what the answer goes on from; leave out begin"):
        writer.write(["a cat"], begin=["<s>"])
    with pytest.raises(ValueError, match="writes with a ByteTokenizer, which has one beginning; leave out begin"):
        writer_of(TEXT).write([""], begin=[3])


def test_any_of_several_ids_ends_a_text():
    tokenizer = SubwordTokenizer.from_model(vocabularies.qwen().backend_tokenizer, start=0, stop=0)
    first = writer_of(tokenizer).write(["a cat"], strategy=Greedy(), max_new_tokens=3)[0][0].ids
    tokenizer = SubwordTokenizer.from_model(vocabularies.qwen().backend_tokenizer, start=0, stop=[0, first[1]])
    ((answer,),) = writer_of(tokenizer).write(["a cat"], strategy=Greedy(), max_new_tokens=3)
    assert (answer.ids, answer.ended) == (first[:1], True)


def test_pixels_written_step_by_step_lie_where_the_tokenizer_puts_them():
    tokenizer = PixelTokenizer(channels=1, levels=4)
    writer = writer_of(tokenizer, modality="pixels")
    answer = writer.write([""], size=(3, 3), strategy=Greedy())[0][0]
    whole = tokenizer.begun(tokenizer(answer.content))
    batch = collate([Sample(id="a", pieces=[], answer=[whole])])
    x, layout = writer.model.decode(batch, "it")
    best = writer.model.heads["it"](x, layout)[:-1, : tokenizer.start].argmax(-1)
    assert best.tolist() == list(answer.ids)


def test_a_sound_is_a_waveform_of_so_many_samples(tmp_path):
    import soundfile

    tokenizer = MuLawTokenizer(sample_rate=4000, levels=16)
    writer = writer_of(tokenizer, modality="samples")
    answer = writer.write([""], max_new_tokens=50)[0][0]
    assert answer.content.shape == (50,)
    wave, rate = soundfile.read(answer.save(tmp_path / "hum"))
    assert (len(wave), rate) == (50, 4000)
    assert wave == pytest.approx(answer.content.numpy(), abs=1e-4)


def test_answers_are_plain_values_for_json(tmp_path):
    import json

    (row,) = writer_of(TEXT).write(["the"], strategy=Sampling(n=2), max_new_tokens=4)
    plain = json.loads(json.dumps(row[0].to_dict(log_probs=True)))
    assert plain["text"] == row[0].content
    assert plain["ids"] == list(row[0].ids)
    assert "log_probs" not in row[0].to_dict()
    assert (row[0].save(tmp_path / "it").name, row[0].save(tmp_path / "it").read_text("utf-8")) == (
        "it.txt",
        row[0].content,
    )


TEXTS, PICTURES, SOUNDS = (
    lambda: writer_of(TEXT),
    lambda: writer_of(PixelTokenizer(channels=1, levels=4), modality="pixels"),
    lambda: writer_of(MuLawTokenizer(levels=4), modality="samples"),
)


@pytest.mark.parametrize(
    ("make", "prompt", "options", "message"),
    [
        (TEXTS, "a", {"size": (2, 2)}, "writes text, which has no height and width; leave out size"),
        (TEXTS, "a", {"stop": [""]}, "a stop text is empty"),
        (TEXTS, torch.zeros(3), {}, "prompt 0: received Tensor where text was expected"),
        (TEXTS, "a", {"batch_size": 0}, "batch_size=0 must be at least 1"),
        (PICTURES, "", {}, r"writes pictures of any size; say which with size=\(height, width\)"),
        (PICTURES, "", {"size": (0, 2)}, r"size=\(0, 2\) must be at least 1 x 1"),
        (PICTURES, "", {"size": (2, 2), "max_new_tokens": 3}, "writes whole pictures; leave out max_new_tokens"),
        (PICTURES, "", {"size": (2, 2), "stop": ["a"]}, "writes pixels, no text: leave out stop"),
        (PICTURES, "a cat", {"size": (2, 2)}, "prompt 0: 'it' begins anew and reads no prompt; give an empty one"),
        (SOUNDS, "", {}, "writes samples without an end; say how many samples with max_new_tokens"),
        (lambda: writer_of(TEXT, given={"vision": PATCHES}), "", {}, "prompt 0 is empty; 'it' answers: give it vision"),
        (lambda: writer_of(TEXT, given={"vision": PATCHES}), Path("lost.png"), {}, "no file 'lost.png'"),
        (
            lambda: writer_of(TEXT, given={"vision": PATCHES}),
            "lost.png",
            {},
            "prompt 0 looks like text; this model takes",
        ),
    ],
)
def test_misuse_is_told(make, prompt, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make().write([prompt], **options)


def test_pictures_of_a_fixed_size_are_written_in_no_other():
    writer = writer_of(PixelTokenizer(channels=1, image_size=(4, 4)), modality="pixels")
    with pytest.raises(ValueError, match=r"writes pictures of 4 x 4; received size=\(2, 2\); leave it out"):
        writer.write([""], size=(2, 2))


def test_what_is_no_text_cannot_be_streamed():
    with pytest.raises(ValueError, match="writes pixels, no text, and cannot be streamed; use write"):
        PICTURES().stream("")


def test_beams_cannot_be_streamed():
    with pytest.raises(ValueError, match="knows its answer at the end only"):
        TEXTS().stream("a", strategy=BeamSearch())


def test_a_task_that_cannot_write_is_refused():
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2),
        embedders={"text": IdEmbedder(d_model=16, vocab_size=257)},
        heads={"digits": ClassificationHead(d_model=16, n_classes=3), "lm": NextTokenHead(d_model=16, vocab_size=257)},
    )
    with pytest.raises(ValueError, match="'digits' is a ClassificationHead; only a NextTokenHead writes"):
        Writer(model, "digits", tokenizers={"text": TEXT})
    with pytest.raises(ValueError, match="'lm' has no tokenizer for 'text', only for vision"):
        Writer(model, "lm", tokenizers={"vision": PATCHES})
    with pytest.raises(ValueError, match="'lm' writes with a PatchTokenizer, whose tokens are no ids"):
        Writer(model, "lm", tokenizers={"text": PATCHES})


def test_what_is_drawn_depends_on_the_prompt_and_not_on_its_place_in_the_list():
    writer = writer_of(TEXT)
    alone = contents(writer.write(["of"], max_new_tokens=20))
    listed = contents(writer.write(["the", "of", "of"], max_new_tokens=20))
    assert listed[1] == alone[0] == "".join(writer.stream("of", max_new_tokens=20))
    assert listed[2] != listed[1]  # the same prompt twice is drawn twice
    assert contents(writer.write(["of", "of", "the"], max_new_tokens=20)) == [listed[1], listed[2], listed[0]]


def placed(writer, n):
    """The writer with learned positions for so many tokens of text."""
    embedder = IdEmbedder(d_model=16, vocab_size=257, position=partial(Learned, sizes=[n]))
    writer.model.embedders["text"] = embedder.eval()
    return writer


def test_an_answer_ends_where_positions_end_whoever_else_is_in_the_batch():
    writer = placed(writer_of(TEXT), 12)
    found = writer.write(["abcd", "", "ab"], strategy=Greedy(), max_new_tokens=50)
    begun = [len(writer.tokenizer.begun(TEXT(each))) for each in ("abcd", "", "ab")]
    for (answer,), n in zip(found, begun, strict=True):
        assert answer.ended or n + len(answer.ids) == 12
    assert not all(answer.ended for (answer,) in found)
    assert [row[0].ids for row in found] == [
        writer.write([each], strategy=Greedy(), max_new_tokens=50)[0][0].ids for each in ("abcd", "", "ab")
    ]
    beams = writer.write(["abcd"], strategy=BeamSearch(n_beams=3), max_new_tokens=50)
    assert len(beams[0][0].ids) <= 8
    assert "".join(writer.stream("abcd", strategy=Greedy())) == found[0][0].content
    with pytest.raises(ValueError, match=r"prompt 0 has 13 tokens before its answer, this model has places for 12"):
        writer.write(["abcdefghijkl"])


def test_the_beginning_of_a_long_prompt_is_left_out_and_said_or_refused(caplog):
    writer = writer_of(TEXT, max_seq_len=4)
    (whole,), (end,), _ = writer.write(["abcdefgh", "efgh", "ab"], strategy=Greedy(), max_new_tokens=1)
    assert whole.ids == end.ids
    assert caplog.messages == ["only the last 4 tokens are read of prompt 0 (9 tokens), prompt 1 (5 tokens)"]
    with pytest.raises(ValueError, match="prompt 0 .9 tokens. is more than the 4 tokens that 'it' reads"):
        writer.write(["abcdefgh"], truncate=False)


def test_a_long_text_that_is_given_is_cut_and_said_or_refused(caplog):
    writer = writer_of(TEXT, modality="answer", given={"text": TEXT})
    placed(writer, 4)
    (cut,), (short,) = writer.write([{"text": "abcdefgh"}, {"text": "abcd"}], strategy=Greedy(), max_new_tokens=3)
    assert cut.ids == short.ids
    assert "prompt 0 (8 tokens of text, of which 4 are read)" in caplog.text
    with pytest.raises(ValueError, match="prompt 0 has 8 tokens of text, this model has positions for 4"):
        writer.write([{"text": "abcdefgh"}], truncate=False)


def test_whoever_writes_can_change_the_scores_and_the_log_probabilities_stay_the_model_s_own():
    writer, prompts = writer_of(TEXT), ["the", "of"]
    plain = writer.write(prompts, strategy=Greedy(), max_new_tokens=8)
    first = plain[0][0].ids[0]
    changed = writer.write(prompts, strategy=Greedy(), max_new_tokens=8, adjust=[Bias({first: -100.0})])
    assert first not in changed[0][0].ids
    same = writer.write(prompts, strategy=Greedy(), max_new_tokens=8, adjust=[Bias({first: 100.0})])
    assert set(same[0][0].ids) == {first}
    assert same[0][0].log_probs[0] == pytest.approx(plain[0][0].log_probs[0], abs=1e-6)
    pieces = writer.stream("the", strategy=Greedy(), max_new_tokens=8, adjust=[Bias({first: -100.0})])
    assert "".join(pieces) == changed[0][0].content
    long = writer.write(prompts, max_new_tokens=12, min_new_tokens=12)
    assert [len(row[0].ids) for row in long] == [12, 12]
    drawn = Sampling(n=3, seed=2)
    rows = writer.write(prompts, strategy=drawn, max_new_tokens=20, adjust=[NoRepeat(1)])
    assert all(len(set(each.ids)) == len(each.ids) for row in rows for each in row)
    with pytest.raises(ValueError, match="min_new_tokens=-1 must be at least 0"):
        writer.write(prompts, min_new_tokens=-1)
