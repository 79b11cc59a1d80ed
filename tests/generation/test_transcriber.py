import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, CharacterTokenizer, PatchTokenizer, Tokens

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import VectorEmbedder
from omniformer.generation import Transcriber
from omniformer.generation.ctc import prefix_beam
from omniformer.heads import ClassificationHead
from omniformer.heads.ctc import CTCHead
from omniformer.model import OmniFormer

TEXT = CharacterTokenizer().fit(["abcde"])
SIGHT = PatchTokenizer(patch_size=2, channels=1)
SIZE = TEXT.facts["vocab_size"]


def model_of(head):
    """Frames are patches of two by two pixels."""
    torch.manual_seed(0)
    core = Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.5)
    model = OmniFormer(core=core, embedders={"vision": VectorEmbedder(d_model=16, features=4)}, heads={"it": head})
    for part in head.modules():
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.normal_(part.weight)
    return model.eval()


def transcriber():
    tokenizers = {"vision": SIGHT, "text": TEXT}
    return Transcriber(model_of(CTCHead(d_model=16, vocab_size=SIZE)), "it", tokenizers=tokenizers, given=["vision"])


def picture(seed, width):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 2, 2 * width), dtype=torch.uint8, generator=generator)


PICTURES = [picture(0, 9), picture(1, 4), picture(2, 12)]


def test_texts_are_what_the_frames_say_with_repeats_and_blanks_taken_out():
    it = transcriber()
    ((answer,),) = it.write(PICTURES[:1])
    patches = SIGHT(PICTURES[0])
    logits = it.model(collate([Sample(id="a", pieces=[patches])]), "it")
    spelled, before = [], None
    for frame in logits.argmax(-1).tolist():
        if frame not in (before, SIZE):
            spelled.append(frame)
        before = frame
    assert answer.ids == tuple(spelled)
    assert len(spelled) > 1
    assert answer.content == TEXT.decode(spelled) == "".join(answer.tokens)


def test_answers_do_not_depend_on_how_prompts_are_batched():
    it = transcriber()
    together = [answer.ids for (answer,) in it.write(PICTURES)]
    assert together == [answer.ids for (answer,) in it.write(PICTURES, batch_size=1)]
    assert len(set(together)) == 3


def test_a_beam_adds_up_the_paths_of_a_text():
    it = transcriber()
    with torch.no_grad():
        logits = it.model(collate([Sample(id="a", pieces=[SIGHT(PICTURES[2])])]), "it")
    ((answer,),) = it.write(PICTURES[2:], beam=8)
    assert list(answer.ids) == prefix_beam(logits.log_softmax(-1), SIZE, 8)


def test_a_sample_without_frames_says_nothing():
    empty = Tokens(values=torch.zeros(0, 4), positions=torch.zeros(0, 2), modality="vision")
    found = transcriber().transcribe([Sample(id="a", pieces=[]), Sample(id="b", pieces=[empty])])
    assert [answer.content for answer in found] == ["", ""]


@pytest.mark.parametrize("options", [{"beam": 0}, {"batch_size": 0}])
def test_numbers_below_one_are_refused(options):
    with pytest.raises(ValueError, match="must be at least 1"):
        transcriber().write(PICTURES, **options)


def test_what_cannot_transcribe_says_why():
    tokenizers = {"vision": SIGHT, "text": TEXT}
    with pytest.raises(ValueError, match="'it' is a ClassificationHead; only a CTCHead"):
        Transcriber(
            model_of(ClassificationHead(d_model=16, n_classes=2)), "it", tokenizers=tokenizers, given=["vision"]
        )
    model = model_of(CTCHead(d_model=16, vocab_size=SIZE))
    with pytest.raises(ValueError, match="of vision, text say which are given"):
        Transcriber(model, "it", tokenizers=tokenizers, given=[])
    with pytest.raises(ValueError, match=f"writes {SIZE} ids, its tokenizer of 'text' has 257"):
        Transcriber(model, "it", tokenizers={"vision": SIGHT, "text": ByteTokenizer()}, given=["vision"])
