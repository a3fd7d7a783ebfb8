"""Colours that mean something are told apart whatever eyes look at them, and stand out from light and dark cards."""

import itertools

import numpy as np
import pytest

from prdp_explorer.dashboard._compare import COLORS
from prdp_explorer.dashboard._theme import (
    FIELD_COLORS,
    IC_SAVING_COLOR,
    LOOKS,
    NEUTRAL_COLOR,
    PR_SAVING_COLOR,
    WHAT_IF_COLOR,
)

# Machado, Oliveira and Fernandes (2009), "A physiologically-based model for simulation of color vision deficiency",
# table of severity 1.0; they act on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
CARDS = {"light": "#FFFFFF", "dark": "#20262B"}
LEAST_CONTRAST = 3.0
"""Of graphics by WCAG 2, criterion 1.4.11."""

CONTENDERS = [look.color for look in LOOKS]
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(color: str) -> np.ndarray:
    """Linear RGB of a colour."""
    encoded = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB, with the white of D65."""
    xyz = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colors: list[str] | tuple[str, ...], vision: np.ndarray) -> float:
    """The distance in L*a*b* of the two colours that are hardest to tell apart."""
    seen = [lab(vision @ linear(color)) for color in colors]
    return min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2))


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float(XYZ[1] @ linear(color)) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


LEAST_DISTANCE = min(nearest(OKABE_ITO, vision) for vision in VISIONS.values())
"""That of the palette that Okabe and Ito made for all eyes: no two of ours are harder to tell apart than two of its."""


def test_the_measures_are_right():
    np.testing.assert_allclose(lab(linear("#FF0000")), [53.24, 80.09, 67.20], atol=0.05)
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    for vision in VISIONS.values():
        np.testing.assert_allclose(vision.sum(axis=1), 1, atol=1e-5)  # greys stay as they are
    assert 15 < LEAST_DISTANCE < 17
    red, green = "#C03030", "#608000"
    assert nearest([red, green], VISIONS["deuteranopia"]) < nearest([red, green], VISIONS["normal"]) / 2


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize(
    "colors",
    [
        pytest.param([*CONTENDERS, NEUTRAL_COLOR, PR_SAVING_COLOR], id="contenders"),
        pytest.param([*CONTENDERS, NEUTRAL_COLOR, PR_SAVING_COLOR, WHAT_IF_COLOR], id="what-if"),
        pytest.param([WHAT_IF_COLOR, IC_SAVING_COLOR], id="what-if, checkpoint ratio"),
        pytest.param(FIELD_COLORS, id="fields"),
        pytest.param(COLORS, id="compared runs"),
        pytest.param([*CONTENDERS[:2], PR_SAVING_COLOR, IC_SAVING_COLOR], id="savings"),
    ],
)
def test_they_are_told_apart(colors: list[str], vision: str):
    assert len(set(colors)) == len(colors)
    assert nearest(colors, VISIONS[vision]) >= LEAST_DISTANCE


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("color", sorted({*CONTENDERS, *FIELD_COLORS, *COLORS, WHAT_IF_COLOR}))
def test_lines_and_marks_stand_out_from_the_card(color: str, card: str):
    """Not the saving that is an area only: it is hatched, and lines that stand out are its bounds."""
    assert contrast(color, CARDS[card]) >= LEAST_CONTRAST


def test_no_two_contenders_share_a_dash_or_a_marker():
    for places in zip(*LOOKS, strict=True):
        assert len(set(places)) == len(LOOKS)
