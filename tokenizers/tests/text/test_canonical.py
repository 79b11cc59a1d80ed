"""Texts in canonical form, as SigLIP's own tokenizer makes them."""

import pytest
import vocabularies
from omniformer_tokenizers import CanonicalTokenizer


@pytest.mark.parametrize("lower", [True, False])
def test_ids_are_those_of_the_reference(lower, tmp_path):
    path = vocabularies.t5_pieces(tmp_path)
    theirs = vocabularies.transformers.SiglipTokenizer(str(path), do_lower_case=lower)
    ours = CanonicalTokenizer.from_file(path, back=["</s>"], lower_case=lower)
    for text in [*vocabularies.TEXTS, "It's a {photo} -- of A CAT!", "cat\u00a0and\tdog"]:
        assert ours(text).values.tolist() == theirs(text).input_ids, text
