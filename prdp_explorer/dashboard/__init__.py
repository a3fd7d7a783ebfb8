"""The Panel dashboard: views that follow the logs of runs. Only here is anything known of a user interface."""

from ._explorer import Explorer as Explorer
from ._exports import EXPORTS as EXPORTS
from ._page import make_page as make_page
from ._report import report as report
from ._story_page import story_page as story_page
from ._story_page import write_story as write_story
from ._views import FieldsView as FieldsView
from ._views import KeptRuns as KeptRuns
from ._views import RaceView as RaceView
from ._views import WhyView as WhyView
