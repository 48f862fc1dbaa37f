"""Where the licensed photos are, which only some machines have."""

import os
from pathlib import Path


def find_real_data():
    """Finds the folder of photos of AFLW and AFLW2000-3D, else `None`."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FACEGCN_DATA_DIR", beside))
    return folder if (folder / "AFLW2000").is_dir() else None
