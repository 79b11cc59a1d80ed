"""Sound as tokens: frames of a log-mel spectrogram, or of the waveform itself."""

from omniformer_tokenizers.audio.presets import KaldiTokenizer, MultiScaleTokenizer, WhisperTokenizer
from omniformer_tokenizers.audio.spectrogram import SpectrogramTokenizer
from omniformer_tokenizers.audio.waveform import MuLawTokenizer, Wav2Vec2Tokenizer, WaveformTokenizer

__all__ = [
    "KaldiTokenizer",
    "MuLawTokenizer",
    "MultiScaleTokenizer",
    "SpectrogramTokenizer",
    "Wav2Vec2Tokenizer",
    "WaveformTokenizer",
    "WhisperTokenizer",
]
