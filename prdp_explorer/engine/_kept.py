"""Races of runs that a store keeps: resumed, forked, and played."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ._from_json import settings_from_json
from ._log import Event, Log
from ._loop import ONLY_ITS_AUTHOR
from ._matching import full_physics_by_run, full_physics_for, kept_twin
from ._playback import Recording
from ._run import Race, Run, checked_pace, edit_event
from ._settings import LOOP, RunSettings
from ._store import RESUMABLE, Store, StoredRun

Wake = Callable[[], None]


def role(settings: RunSettings) -> str:
    """What a run is in a race, in a word or two."""
    kind = settings.refinement["kind"]
    if kind != "constant":
        return "scheduled K" if kind == "scheduled" else "PRDP"
    iterations = settings.refinement["iterations"]
    return "full physics" if iterations == settings.problem.full_iterations else f"K = {iterations}"


def resumed(store: Store, run_id: str, pace: float | None, wake: Wake, *, beside: bool) -> Race:
    """The race of a run that was interrupted or stopped, each of its contenders where its log ends.

    With `beside`, what the run is seen beside and is over is played.
    """
    wanted = store.run(run_id)
    if wanted.status not in RESUMABLE:
        raise ValueError(
            f"The run {run_id!r} is {wanted.status}; what can be resumed is {' or '.join(sorted(RESUMABLE))}."
        )
    if wanted.settings.get("preset") == LOOP:
        raise ValueError(ONLY_ITS_AUTHOR)
    of_race = [run for run in store.runs() if run.race == wanted.race and run.status in RESUMABLE][::-1]
    contenders = {run.label: settings_from_json(run.settings) for run in of_race}
    companions = _companions(store, wanted) if beside else {}
    companions = {label: each for label, each in companions.items() if label not in contenders}
    race = _race(contenders, companions, pace, wake)
    race.id = wanted.race
    for kept in of_race:
        run = race.runs[kept.label]
        run.id, run.kept = kept.id, True
        run.go_on(store.log(kept.id), store.checkpoint(kept.id))
    _play(race, companions, race.runs[wanted.label].epoch)
    return race


def forked(
    store: Store, run_id: str, epoch: int, changes: Mapping[str, Any], pace: float | None, wake: Wake, *, beside: bool
) -> Race:
    """A race of one run that has another's past up to an epoch, and from there on goes another way.

    With `beside`, the other run and what it is seen beside are played.
    """
    recording = Recording(store.run(run_id), store.log(run_id))
    if recording.kept.settings.get("preset") == LOOP:
        raise ValueError(ONLY_ITS_AUTHOR)
    if not isinstance(epoch, int) or not 0 <= epoch <= recording.last_epoch:
        raise ValueError(
            f"`epoch` must be one that {run_id!r} has recorded, 0 to {recording.last_epoch}; got {epoch!r}."
        )
    if not changes:
        raise ValueError("A fork without a change would be the same run again; change a setting.")
    started = settings_from_json(recording.kept.settings)
    past = _past(recording.log, epoch)
    settings = started
    for event in past.events:
        settings = settings.changed(event.values)
    wanted = settings.changed(changes)
    if wanted.epochs <= epoch:
        raise ValueError(f"`epochs` must exceed the epoch of the fork, which is {epoch}; got {wanted.epochs}.")
    if wanted.largest_iterations > settings.largest_iterations:
        changes = {**changes, "differentiation": wanted.differentiation}  # for unrolling: makes room for a larger K
    past.add_event(Event(epoch + 1, "forked", message=f"Forked from {recording.kept.title} after epoch {epoch}."))
    past.add_event(edit_event(epoch + 1, changes))
    label = recording.kept.label
    companions = {}
    if beside:
        companions = {f"{label} (not forked)": recording, **_companions(store, recording.kept)}
    race = _race({label: started}, companions, pace, wake)
    run = race.runs[label]
    run.parent = (run_id, epoch)
    run.go_on(past, store.checkpoint(run_id, epoch))
    _play(race, companions, epoch)
    return race


def recordings_of(store: Store, run_id: str, beside: Sequence[str] | None = None) -> dict[str, Recording]:
    """A kept run and what it is seen beside, to be played, by label; `beside` names that by id."""
    kept = store.run(run_id)
    others = _companions(store, kept) if beside is None else _labelled(store, kept, map(store.run, beside))
    return {kept.label: Recording(kept, store.log(run_id)), **others}


def replayed(recordings: Mapping[str, Recording], epoch: int | None, pace: float | None, wake: Wake) -> Race:
    """A race of runs that are played from an epoch on; None is the end."""
    race = _race({}, recordings, pace, wake)
    race.recordings = recordings
    _play(race, recordings, max(each.last_epoch for each in recordings.values()) if epoch is None else max(epoch, 0))
    return race


def reuse_twin(store: Store, run: Run) -> None:
    """Play a kept full-physics run in place of one that would be the same, if there is one."""
    if run.settings.refinement["kind"] != "constant":
        return
    twin = kept_twin(run.settings, store.runs())
    if twin is not None:
        run.play(Recording(twin, store.log(twin.id)), -1)
        words = f"Not trained again: {twin.title} is the same run, and is played. Its seconds were measured then."
        run.log.add_event(Event(1, "reused", message=words))


def play_full_physics_beside(store: Store, run: Run) -> None:
    """Show beside a run, from the beginning and whole, its matching full-physics run, if that is kept."""
    full = full_physics_for(run.settings, store.runs())
    if full is not None and run.settings.refinement["kind"] != "constant":
        recording = Recording(full, store.log(full.id))
        beside = Run(settings_from_json(full.settings), "full physics", run.race)
        run.race.runs[beside.label] = beside
        beside.play(recording, recording.last_epoch)


def _race(
    contenders: Mapping[str, RunSettings], companions: Mapping[str, Recording], pace: float | None, wake: Wake
) -> Race:
    played = {label: settings_from_json(each.kept.settings) for label, each in companions.items()}
    return Race({**contenders, **played}, checked_pace(pace), wake)


def _play(race: Race, recordings: Mapping[str, Recording], epoch: int) -> None:
    for label, recording in recordings.items():
        race.runs[label].play(recording, epoch)


def _past(log: Log, epoch: int) -> Log:
    """The beginning of a log: records and snapshots up to an epoch, and the edits that acted by then."""
    past = Log()
    past.append(log.read()[: epoch + 1])
    for event in log.events:
        if event.name == "adjust" and event.epoch <= epoch:
            past.add_event(event)
    for snapshot in log.snapshots:
        if snapshot.epoch <= epoch:
            past.add_snapshot(snapshot)
    return past


def _companions(store: Store, kept: StoredRun) -> dict[str, Recording]:
    """What a kept run is seen beside: the others of its race, or else its matching full-physics run."""
    runs = store.runs()
    beside = [run for run in runs if run.race == kept.race and run.label != kept.label]
    full = full_physics_by_run(runs).get(kept.id)
    if not beside and full is not None and full.id != kept.id:
        beside = [full]
    return _labelled(store, kept, beside)


def _labelled(store: Store, kept: StoredRun, others: Iterable[StoredRun]) -> dict[str, Recording]:
    """Recordings of other runs by labels that are not that of a run, nor each other's."""
    labelled: dict[str, Recording] = {}
    for run in others:
        known = run.label == kept.label or run.label in labelled
        labelled[f"{run.label} ({run.title})" if known else run.label] = Recording(run, store.log(run.id))
    return labelled
