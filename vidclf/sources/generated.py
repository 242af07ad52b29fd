"""The generated dancing set as a source: videos that are drawn when they are fetched."""

from __future__ import annotations

from pathlib import Path

from vidclf.errors import Gone
from vidclf.generated.choreography import State, programme
from vidclf.sources import Fetched, Source, Wanted, register


@register("generated")
class Generated(Source):
    """Draws the videos of ``vidclf/generated/dancing.csv``: no network, the same bytes every time.

    Options:
        seed: which set. The ids differ from seed to seed; the CSV file in the package is that of seed 0.
    """

    seed: int = 0

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """Draw the video into ``into``. Raises ``Gone`` for the set's dead ids and for ids that are not in it."""
        # drawing and encoding are imported here so that naming this source costs nothing
        from vidclf.generated.drawing import draw
        from vidclf.generated.encoding import encode_audio, encode_video, truncate

        source_id = wanted.source_id
        video = programme(self.seed).get(source_id)
        if video is None:
            raise Gone(
                f"{source_id[:80]!r} is not in the generated set of seed {self.seed}; "
                "vidclf/generated/dancing.csv lists the ids of seed 0"
            )
        if video.state is State.DEAD:
            raise Gone(f"{source_id!r} plays a removed video: the generated set has a few, on purpose")
        path = into / f"{source_id}.mp4"
        if video.state is State.AUDIO_ONLY:
            encode_audio(path, video.seconds)
            return Fetched(path)
        encode_video(draw(video, self.seed), path, video.rate, video.gop)
        if video.state is State.TRUNCATED:
            truncate(path)
        return Fetched(path)
