"""What belongs to a task beside its head."""

from omniformer_tokenizers import ByteTokenizer, PatchTokenizer

from omniformer.inputs.member import Member

TEXT, VISION = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1)


def test_a_task_takes_what_it_is_given_or_else_all_that_it_knows():
    assert Member(tokenizers={"vision": VISION, "text": TEXT}).takes == ("vision", "text")
    captions = Member(tokenizers={"vision": VISION, "text": TEXT}, given=("vision",))
    assert captions.takes == ("vision",)
    assert (captions.kinds, captions.reads_text) == ({"vision"}, False)


def test_a_text_by_another_name_is_still_a_text():
    german = Member(tokenizers={"german": TEXT, "english": TEXT}, given=("german",))
    assert (german.kinds, german.reads_text) == ({"text"}, True)
