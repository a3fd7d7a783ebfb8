"""Draws the pictures of the scenario cards from the scenarios' own data: `python docs/pictures.py`."""

import io
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from prdp_explorer.dashboard._theme import DIVERGING_PALETTE, FULL_COLOR, NEUTRAL_COLOR, PRDP_COLOR
from prdp_explorer.physics import PoissonOperator, vorticity
from prdp_explorer.problems import problem_named
from prdp_explorer.problems._poisson import PoissonInverse

FOLDER = Path(__file__).parent.parent / "prdp_explorer" / "dashboard" / "pictures"
SIDE = 128
"""Pixels of an image; a card shows it at half of that or less."""

_PALETTE = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in DIVERGING_PALETTE], np.uint8)


def draw() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    heat = _trajectory("heat-1d", sample=1)
    _lines("heat-1d", [(heat[0], NEUTRAL_COLOR, 3), (heat[1], PRDP_COLOR, 3), (heat[2], PRDP_COLOR, 5)])
    burgers = _trajectory("burgers-1d", sample=1)
    _lines("burgers-1d", [(burgers[0], NEUTRAL_COLOR, 3), (burgers[2], PRDP_COLOR, 3), (burgers[-1], PRDP_COLOR, 5)])
    _image("heat-2d", _colored(_smooth(_trajectory("heat-2d", sample=3)[0])))
    _image("heat-3d", _cube(_trajectory("heat-3d", sample=0)[0]))
    flow = np.asarray(vorticity(jnp.asarray(_trajectory("navier-stokes-2d", sample=0)[-1, :2])))
    _image("navier-stokes-2d", _colored(_smooth(flow, "grid-wrap")))
    for scenario in ("poisson-1", "poisson-3"):
        _inverse(scenario)


def _trajectory(scenario: str, sample: int) -> np.ndarray:
    """The states of one validation sample."""
    return np.asarray(problem_named(scenario, "live").data()[1][sample])


def _inverse(scenario: str) -> None:
    """Solutions from the first θ (grey) to the true one (blue), and what the source is made of (orange)."""
    problem = problem_named(scenario, "live")
    assert isinstance(problem, PoissonInverse)
    truth, start = np.array(list(problem.reference_parameters.values())), np.array(problem.start)
    operator = PoissonOperator(problem.num_points)
    between = [operator.solve_exactly((start + way * (truth - start)) @ problem.modes) for way in (0, 0.5, 1)]
    colors = ((NEUTRAL_COLOR, 3), (NEUTRAL_COLOR, 3), (PRDP_COLOR, 5))
    sources = truth[:, None] * problem.modes * np.abs(between).max() / np.abs(truth).max() * 0.8
    lines = [(source, FULL_COLOR, 2) for source in sources]
    _lines(scenario, [*lines, *((u, *look) for u, look in zip(between, colors, strict=True))])


def _lines(scenario: str, lines: Sequence[tuple[np.ndarray, str, float]]) -> None:
    """Curves over the unit interval as an SVG, each with its colour and width."""
    top = max(np.abs(values).max() for values, _, _ in lines)
    paths = [f'<path d="M4 64H124" stroke="{NEUTRAL_COLOR}" stroke-width="1"/>']
    for values, color, width in lines:
        x = np.linspace(4, 124, len(values))
        y = 64 - 56 * values / top
        points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
        paths.append(f'<polyline points="{points}" stroke="{color}" stroke-width="{width}"/>')
    body = "\n".join(paths)
    (FOLDER / f"{scenario}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" fill="none" stroke-linejoin="round" '
        f'stroke-linecap="round">\n{body}\n</svg>\n'
    )


def _smooth(field: np.ndarray, mode: str = "nearest") -> np.ndarray:
    return np.asarray(zoom(field, SIDE / len(field), order=3, mode=mode, grid_mode=mode == "grid-wrap"))


def _colored(field: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Red, green, blue and alpha of a field, with y upwards; 0 is the middle of the palette."""
    share = field / (largest or np.abs(field).max())
    indices = np.clip(np.rint((share + 1) / 2 * (len(_PALETTE) - 1)), 0, len(_PALETTE) - 1).astype(int)
    colors = _PALETTE[indices][::-1]
    return np.concatenate([colors, np.full((*field.shape, 1), 255, np.uint8)], axis=2)


def _cube(field: np.ndarray) -> np.ndarray:
    """Three slices of a field as the sides of a cube that is seen from a corner."""
    largest, middle = float(np.abs(field).max()), len(field) // 3
    sides = [_colored(_smooth(field.take(middle, axis)), largest) for axis in range(3)]  # across z, y, x
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    # The corner in front is at the middle; its edges go up-left, up-right and down.
    right, down = (columns + 0.5 - SIDE / 2) / (SIDE / 2 - 4), (rows + 0.5 - SIDE / 2) / (SIDE / 2 - 4)
    for side, shade, (a, b) in (
        (sides[0], 1.0, (-down + right / np.sqrt(3), -down - right / np.sqrt(3))),
        (sides[1], 0.92, (-right * 2 / np.sqrt(3), down - right / np.sqrt(3))),
        (sides[2], 0.82, (right * 2 / np.sqrt(3), down + right / np.sqrt(3))),
    ):
        within = (a >= 0) & (a < 1) & (b >= 0) & (b < 1)
        found = side[(b[within] * SIDE).astype(int), (a[within] * SIDE).astype(int)]
        picture[within] = (found * [shade, shade, shade, 1]).astype(np.uint8)
    return picture


def _image(scenario: str, colors: np.ndarray) -> None:
    """A PNG of few colours."""
    image = Image.fromarray(colors).quantize(48, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    (FOLDER / f"{scenario}.png").write_bytes(written.getvalue())


if __name__ == "__main__":
    draw()
