"""Text as ids, in three ways: a vocabulary of one's own, one that was published with a model, plain symbols.

One's own: `byte_pairs` (`source_code` cuts words otherwise), with other libraries' files in `vocabularies`, words seen
before in `word_cache` and whole corpora in `corpus`. Published: `published` says what `subword` and `sentencepiece`
share (`canonical` cleans texts for the latter), `padded` brings texts to one length, `chat` makes conversations texts.
Plain symbols: `symbols`, of which
`spelled` also tells letters. All stand on `base`, and `tokenizer_json` is the one reader of that file.
"""

from omniformer_tokenizers.text.byte_pairs import BPETokenizer
from omniformer_tokenizers.text.canonical import CanonicalTokenizer
from omniformer_tokenizers.text.chat import ChatTemplate, Conversation
from omniformer_tokenizers.text.corpus import Corpus, encode_corpus, write_corpus
from omniformer_tokenizers.text.padded import PaddedTokenizer
from omniformer_tokenizers.text.sentencepiece import SentencePieceTokenizer
from omniformer_tokenizers.text.source_code import CodeTokenizer
from omniformer_tokenizers.text.spelled import SpelledWordTokenizer
from omniformer_tokenizers.text.subword import SubwordTokenizer
from omniformer_tokenizers.text.symbols import ByteTokenizer, CharacterTokenizer, WordTokenizer
from omniformer_tokenizers.text.vocabularies import from_gpt2, from_tiktoken

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "CanonicalTokenizer",
    "CharacterTokenizer",
    "ChatTemplate",
    "CodeTokenizer",
    "Conversation",
    "Corpus",
    "PaddedTokenizer",
    "SentencePieceTokenizer",
    "SpelledWordTokenizer",
    "SubwordTokenizer",
    "WordTokenizer",
    "encode_corpus",
    "from_gpt2",
    "from_tiktoken",
    "write_corpus",
]
