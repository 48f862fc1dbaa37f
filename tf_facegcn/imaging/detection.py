"""Detection: a face that a detector found in a photo."""

from dataclasses import dataclass

from tf_facegcn.imaging.bounding_box import BoundingBox


@dataclass(frozen=True)
class Detection:
    """A face found in a photo.

    Args:
        box: The detector's box around the face, in the photo's pixels.
        score: The detector's confidence, from 0 to 1; `None` if the box was
            given and not detected.
        crop_box: The square that the network should see. Detectors draw their
            boxes differently, so each says itself where this square lies.
    """

    box: BoundingBox
    score: float | None
    crop_box: BoundingBox

    @classmethod
    def given(cls, box: BoundingBox) -> "Detection":
        """Makes the detection of a face whose crop is known.

        Args:
            box: The part of the photo that the network should see; the crop
                is the square of its longer side around the same centre.
        """
        return cls(box=box, score=None, crop_box=box.square())
