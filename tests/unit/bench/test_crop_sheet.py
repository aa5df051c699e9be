from pathlib import Path

import numpy as np
from PIL import Image

from tests.bench.crop_sheet import save


def test_paper_stays_white_and_skies_are_dithered(tmp_path: Path) -> None:
    sky = np.full((400, 600, 3), 255, np.uint8)
    ramp = np.linspace(40, 250, 300)
    sky[50:350, 50:250] = np.stack([ramp, ramp * 0.9, ramp * 0 + 230], axis=1)[:, None]
    sky[50:350, 350:550] = np.stack([ramp, ramp * 0.5, ramp * 0.3], axis=1)[:, None]
    save(Image.fromarray(sky), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as saved:
        seen = np.asarray(saved.convert("RGB"))
    assert (seen[:40] == 255).all()
    assert (seen[50:350, 50:250].std(axis=1).max(axis=1) > 0).mean() > 0.5, "rows are bands"
