"""Networks on top of a ResNet-18 that sees one frame at a time. He et al. 2016, https://arxiv.org/abs/1512.03385"""

from __future__ import annotations

import math

import torch
import torchvision
from torch import Tensor, nn

from vidclf.models._weights import fetch, load_into

FEATURES = 512  # what ResNet-18 says about one picture


def resnet18_features(weights: str) -> nn.Module:
    """ResNet-18 without its head: float (N, C, H, W) → (N, 512)."""
    network: nn.Module = torchvision.models.resnet18(weights=None)
    if weights == "imagenet":
        url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
        load_into(network, fetch(url), url)
    network.fc = nn.Identity()
    return network.to(memory_format=torch.channels_last)  # 1.3 times the speed on a CPU


def as_frames(video: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B·T, C, H, W), the frames of one clip in a row."""
    return video.transpose(1, 2).flatten(0, 1)


class CnnLstm(nn.Module):
    """Features of each frame, read in order by an LSTM; the mean of its states decides.

    The mean, not the last state: so the gradient reaches every frame directly.

    Donahue et al. 2015, "Long-term Recurrent Convolutional Networks", https://arxiv.org/abs/1411.4389
    """

    def __init__(self, num_classes: int, weights: str, dropout: float, hidden_size: int = 256):
        super().__init__()
        self.backbone = resnet18_features(weights)
        self.lstm = nn.LSTM(FEATURES, hidden_size, batch_first=True)  # else it would recur across the batch
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """float (B, C, T, H, W) → logits (B, num_classes)"""
        features: Tensor = self.backbone(as_frames(video)).reshape(video.shape[0], video.shape[2], FEATURES)
        states, _ = self.lstm(features)  # (B, T, 512) → (B, T, hidden)
        logits: Tensor = self.head(self.dropout(states.mean(dim=1)))
        return logits


class FrameCnn(nn.Module):
    """Each frame is judged alone and the probabilities are averaged: what can be known without motion.

    Its answer is the logarithm of that average, so that softmax gives the average back. In training it gets one frame
    of each clip, drawn from torch's generator, so that cross-entropy is that of single frames.
    """

    def __init__(self, num_classes: int, weights: str, dropout: float):
        super().__init__()
        self.backbone = resnet18_features(weights)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, video: Tensor) -> Tensor:
        """float (B, C, T, H, W) → log-probabilities (B, num_classes)"""
        if self.training:
            drawn = torch.randint(video.shape[2], (video.shape[0],), device=video.device)
            video = video[torch.arange(video.shape[0], device=video.device), :, drawn].unsqueeze(2)
        clips, frames = video.shape[0], video.shape[2]
        logits: Tensor = self.head(self.dropout(self.backbone(as_frames(video))))
        each = logits.log_softmax(dim=1).reshape(clips, frames, -1)  # (B, T, num_classes)
        return torch.logsumexp(each, dim=1) - math.log(frames)
