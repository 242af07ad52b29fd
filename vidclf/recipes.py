"""Recipes: hashes of the settings that make files. Other settings, other names; what was made by others stays."""

from __future__ import annotations

from dataclasses import dataclass

from vidclf.config import IngestConfig
from vidclf.media import augment, cut, frames
from vidclf.stages import download


@dataclass(frozen=True)
class Recipes:
    """The recipe of every stage of one configuration."""

    download: str
    clips: str
    frames: str
    augment: str | None

    @classmethod
    def of(cls, config: IngestConfig) -> Recipes:
        clips = cut.recipe_of(config.clips)
        of_frames = frames.recipe_of(clips, config.frames)
        variants = augment.recipe_of(of_frames, config.augment) if config.augment else None
        return cls(download.recipe_of(config.sources), clips, of_frames, variants)

    def made_by(self, config: IngestConfig) -> dict[str, object]:
        """The settings of the stages and their recipes, for those who read a snapshot of ``config``."""
        settings = config.model_dump(mode="json", include={"clips", "frames", "augment"})
        return {**settings, "recipes": self.identity}

    @property
    def identity(self) -> dict[str, str]:
        """What made the data, by stage: part of a snapshot's identity. Where a video came from is not."""
        named = {"clips": self.clips, "frames": self.frames, "augment": self.augment}
        return {stage: recipe for stage, recipe in named.items() if recipe}
