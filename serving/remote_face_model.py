"""RemoteFaceModel: a network on a server, for `Predictor`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.client import FaceGCNClient
from tf_facegcn.geometry.morphable_model import MorphableModel
from tf_facegcn.models.frontal_template import frontal_template

# Landmarks of a server are a part of its vertices, to the last bit; this is
# how far those of another mesh surely are, in crop units.
_SAME = 1e-3


class RemoteFaceModel:
    """A network on a server, in place of one in this process.

    TensorFlow is not needed here. The mesh must be that of the bundled head.

    Args:
        client: Asks the server.

    Raises:
        ValueError: If the model is none that `facegcn export` wrote.
        ConnectionError: If no server was reached.
    """

    def __init__(self, client: FaceGCNClient) -> None:
        head = MorphableModel.bundled()
        self._client = client
        self.faces = head.template.faces
        self.landmarks = head.landmarks
        self.template = frontal_template(head.template.vertices, head.landmarks)
        self.input_size = client.input_size()

    def predict_on_batch(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predicts on the server.

        Args:
            x: `(batch, size, size, 3)`, crops whose values are 255ths.

        Returns:
            `(batch, V, 3)` in crop units.

        Raises:
            ValueError: If the server's mesh is another one.
        """
        crops = np.rint(x * 255).astype(np.uint8)
        vertices, landmarks = self._client.predict_crops(crops)
        if vertices.shape[1:] != self.template.shape or not np.allclose(
            vertices[:, self.landmarks], landmarks, atol=_SAME
        ):
            raise ValueError(
                f"Expected the mesh of the bundled head, with "
                f"{len(self.template):,} vertices. Received: another mesh, "
                f"{vertices.shape[1]:,} vertices; export the model again"
            )
        return vertices
