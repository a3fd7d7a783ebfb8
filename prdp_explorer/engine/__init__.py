"""Training as a log that anybody can read: compiled epochs, runs, and the thread that advances them."""

from ._engine import Engine as Engine
from ._log import RECORD as RECORD
from ._log import Event as Event
from ._log import Log as Log
from ._log import Record as Record
from ._log import Snapshot as Snapshot
from ._log import as_records as as_records
from ._programs import forget_programs as forget_programs
from ._run import ENDED as ENDED
from ._run import Race as Race
from ._run import Run as Run
from ._run import Watch as Watch
from ._settings import LIMITS as LIMITS
from ._settings import METRICS as METRICS
from ._settings import RunSettings as RunSettings
from ._settings import not_offered as not_offered
from ._settings import settings_for as settings_for
from ._settings import unsuited_combination as unsuited_combination
from ._training import TrainingRecords as TrainingRecords
from ._training import train as train
