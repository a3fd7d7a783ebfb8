"""The stories, in the order in which they are best told."""

from collections.abc import Mapping

from . import (
    _coarse_is_not_enough,
    _coarse_suffices,
    _diverging_start,
    _navier_stokes,
    _thresholds,
    _unrolled_or_implicit,
)
from ._story import Story

STORIES: Mapping[str, Story] = {
    module.STORY.id: module.STORY
    for module in (
        _coarse_suffices,
        _coarse_is_not_enough,
        _unrolled_or_implicit,
        _thresholds,
        _diverging_start,
        _navier_stokes,
    )
}
"""All stories by id."""


def story_named(id: str) -> Story:
    """The story with this id.

    **Raises:** `ValueError` in words for one that there is not.
    """
    if id not in STORIES:
        raise ValueError(f"There is no story {id[:60]!r}; stories are {', '.join(STORIES)}.")
    return STORIES[id]
