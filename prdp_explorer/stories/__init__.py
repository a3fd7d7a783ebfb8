"""Guided stories: recorded runs, and what a person is shown of them, step by step. Nothing in here draws anything."""

from ._library import record as record
from ._library import recorded as recorded
from ._stories import STORIES as STORIES
from ._stories import story_named as story_named
from ._story import Recorded as Recorded
from ._story import Step as Step
from ._story import Story as Story
