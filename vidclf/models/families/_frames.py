"""From networks for pictures to networks for videos."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def as_frames(video: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B·T, C, H, W), the frames of one clip in a row."""
    return video.transpose(1, 2).flatten(0, 1)


class FrameAverage(nn.Module):
    """Each frame is judged alone and the probabilities are averaged: what can be known without motion.

    Its answer is the logarithm of that average, so that softmax gives the average back. In training it gets one frame
    of each clip, drawn from torch's generator, so that cross-entropy is that of single frames.

    Args:
        picture: float (N, C, H, W) → logits (N, num_classes).
    """

    def __init__(self, picture: nn.Module):
        super().__init__()
        self.picture = picture

    def judge(self, frames: Tensor) -> Tensor:
        """float (N, C, H, W) → logits (N, num_classes)"""
        logits: Tensor = self.picture(frames)
        return logits

    def forward(self, video: Tensor) -> Tensor:
        """float (B, C, T, H, W) → log-probabilities (B, num_classes)"""
        if self.training:
            drawn = torch.randint(video.shape[2], (video.shape[0],), device=video.device)
            video = video[torch.arange(video.shape[0], device=video.device), :, drawn].unsqueeze(2)
        clips, frames = video.shape[0], video.shape[2]
        each = self.judge(as_frames(video)).log_softmax(dim=1).reshape(clips, frames, -1)  # (B, T, num_classes)
        return torch.logsumexp(each, dim=1) - math.log(frames)


class FrameCnn(FrameAverage):
    """The same with the parts of the other networks on a backbone, under the same names."""

    def __init__(self, backbone: nn.Module, features: int, num_classes: int, dropout: float):
        nn.Module.__init__(self)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, num_classes)

    def judge(self, frames: Tensor) -> Tensor:
        """float (N, C, H, W) → logits (N, num_classes)"""
        logits: Tensor = self.head(self.dropout(self.backbone(frames)))
        return logits


class FrameSequence(nn.Module):
    """Features of each frame, read by something that sees their order; the mean of what it says decides.

    The mean, not the last state: so the gradient reaches every frame directly.

    Args:
        backbone: float (N, C, H, W) → (N, features).
        reader: float (B, T, features) → (B, T, hidden).
        name: what the reader's weights are called, ``lstm`` for instance.
        hidden: of the reader.
        num_classes: outputs.
        dropout: probability, before the head.
    """

    def __init__(
        self, backbone: nn.Module, reader: nn.Module, name: str, hidden: int, num_classes: int, dropout: float
    ):
        super().__init__()
        self.backbone = backbone
        self.add_module(name, reader)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, num_classes)
        self.reader_name = name

    def forward(self, video: Tensor) -> Tensor:
        """float (B, C, T, H, W) → logits (B, num_classes)"""
        features: Tensor = self.backbone(as_frames(video)).unflatten(0, (video.shape[0], video.shape[2]))
        states = self.get_submodule(self.reader_name)(features)  # (B, T, features) → (B, T, hidden)
        if isinstance(states, tuple):  # torch's recurrent layers answer their last state too
            states = states[0]
        logits: Tensor = self.head(self.dropout(states.mean(dim=1)))
        return logits


class FrameAttention(nn.Module):
    """A transformer encoder over the frames. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762

    A token is a frame with its two neighbours, so that which way things move is in it from the start; from absolute
    positions alone this is hard to learn from little data. Positions are sines: any number of frames will do.

    Args:
        features: numbers per frame.
        width: of the encoder.
        layers: of the encoder.
        heads: that ``width`` is split into.
        dropout: probability, within the encoder.
    """

    def __init__(self, features: int, width: int = 256, layers: int = 2, heads: int = 4, dropout: float = 0.1):
        super().__init__()
        self.norm_in = nn.LayerNorm(features)
        self.project = nn.Conv1d(features, width, kernel_size=3, padding=1)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        for parameters in self.encoder.layers:  # torch copies one layer: without this they would all start the same
            for parameter in parameters.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """float (B, T, features) → (B, T, width)"""
        tokens = self.project(self.norm_in(features).mT).mT  # convolutions have time last
        states: Tensor = self.encoder(tokens + sine_positions(tokens.shape[1], tokens.shape[2]).to(tokens))
        return states


def sine_positions(length: int, width: int) -> Tensor:
    """float (length, width), equation of section 3.5 of Vaswani et al. 2017; ``width`` is even."""
    steps = torch.arange(length, dtype=torch.float32)[:, None]
    speeds = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(steps * speeds), torch.cos(steps * speeds)], dim=2).flatten(1)
