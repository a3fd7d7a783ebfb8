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

_ALL = (
    _coarse_suffices.STORY,
    _coarse_is_not_enough.STORY,
    _unrolled_or_implicit.STORY,
    _thresholds.STORY,
    _diverging_start.STORY,
    _navier_stokes.STORY,
)

STORIES: Mapping[str, Story] = {story.id: story for story in _ALL}
"""All stories by id."""


def story_named(id: str) -> Story:
    """The story with this id.

    **Raises:** `ValueError` in words for one that there is not.
    """
    if id not in STORIES:
        raise ValueError(f"There is no story {id[:60]!r}; stories are {', '.join(STORIES)}.")
    return STORIES[id]
