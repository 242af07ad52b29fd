"""A checkpoint as an MLflow model: paths of videos in, labels out."""

from __future__ import annotations

from typing import Any

from mlflow.pyfunc import PythonModel, PythonModelContext


class VideoLabels(PythonModel):
    """``mlflow.pyfunc.load_model(uri).predict(["a.mp4"])`` → one ``{"path", "label", "score"}`` per video."""

    def load_context(self, context: PythonModelContext) -> None:
        from vidclf.predict import load

        self.classifier = load(context.artifacts["checkpoint"])

    def predict(
        self, context: PythonModelContext, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Label each video.

        Args:
            model_input: paths or URIs of videos.
            params: unused.
        """
        predictions = self.classifier.predict(list(model_input), top_k=1)
        return [{"path": said.path, "label": said.label, "score": said.probability} for said in predictions]
