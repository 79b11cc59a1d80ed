"""Loaded models of raw sound behind the reference library's keywords."""

import torch
from omniformer_tokenizers import Wav2Vec2Tokenizer, pack
from torch import Tensor

from omniformer.model import OmniFormer
from omniformer.pretrained.reference.sequences import Outputs, Reference, batch_of, named, padded


class WaveReference(Reference):
    """A model of raw sound: `input_values` and `attention_mask` in; `logits`, where it has a head, out.

    Args:
        model: the loaded model.
        head: the name of its head; without one only the core's output is returned.
        heard: samples that a frame hears, and from one frame to the next.
    """

    def __init__(self, model: OmniFormer, head: str | None, *, heard: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.window, self.stride = heard
        self.tokenizer = Wav2Vec2Tokenizer(window=self.window, stride=self.stride, normalize=False)

    def forward(self, *, input_values: Tensor, attention_mask: Tensor | None = None) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_values `[samples, time]`, attention_mask int64 `[samples, time]`, 0 behind the end of a sound.

        Raises:
            ValueError: there is padding elsewhere.
        """
        heard = torch.ones_like(input_values) if attention_mask is None else attention_mask
        n_samples = heard.long().sum(1)
        if not bool((heard.bool() == (torch.arange(heard.shape[1], device=heard.device) < n_samples[:, None])).all()):
            raise ValueError("attention_mask has padding before or inside a sound; put it behind the end")
        rows = [self.tokenizer(row[:n].cpu()) for row, n in zip(input_values, n_samples.tolist(), strict=True)]
        packed = pack(rows).to(input_values.device)
        n_frames = (input_values.shape[1] - self.window) // self.stride + 1
        taken = (torch.arange(n_frames) < packed.lengths[:, None]).to(input_values.device)
        x, layout = self.model.encode(batch_of(packed), self.head)
        return Outputs(**named(self.model, self.head, x, layout, taken), last_hidden_state=padded(x, taken))
