"""What a person gives to others: the link, lines that train what is shown, and its figure."""

import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui

from ..engine import RunSettings, command_line, edits_in, race_lines
from ._address import Setting
from ._copy_field import CopyField
from ._download import Download
from ._figure import make_race_figure
from ._session import locked, notify
from ._shown import Contender, Shown


class Shared(NamedTuple):
    """What there is to share.

    **Attributes:**

    - `contenders`: by label what each was started with, and the edits since, each after the epoch from which it acts.
    - `drawn`: what a figure can be made of; nothing before the first race.
    """

    contenders: Mapping[str, tuple[RunSettings, Sequence[tuple[int, Mapping[str, Any]]]]]
    drawn: Sequence[Contender]

    @classmethod
    def of(cls, shown: Shown, setting: Callable[[], Setting]) -> "Shared":
        """The race that is shown, or before there is one what the next would be.

        **Raises:** `ValueError` in words if what is set does not fit together.
        """
        if shown.race is None:
            return cls({label: (settings, []) for label, settings in setting().contenders.items()}, [])
        # Of a replay all edits, also those that the epoch shown has yet to come to.
        recordings = shown.race.recordings or {}
        logs = {
            each.label: recordings[each.label].log if each.label in recordings else each.run.log
            for each in shown.contenders
        }
        contenders = {each.label: (each.run.started_with, edits_in(logs[each.label])) for each in shown.contenders}
        return cls(contenders, shown.contenders)


class Share(pn.viewable.Viewer):
    """A button that opens a dialog with what there is to share.

    **Arguments:**

    - `get`: says what that is; may raise `ValueError` in words.
    """

    def __init__(self, get: Callable[[], Shared]):
        super().__init__()
        self._get = get
        self._drawn: Sequence[Contender] = []
        self.button = pmui.Button(label="Share", icon="share", variant="outlined", size="small", margin=(5, 4))
        self.button.on_click(lambda _: locked(self.open))
        self.link = CopyField(label="Link", **_FIELD)
        self.python = CopyField(label="Python", rows=8, **_FIELD)
        self.command = CopyField(label="Command line", rows=2, **_FIELD)
        self._file = Download()
        self.figures = {kind: self._figure_button(kind) for kind in ("PNG", "SVG")}
        self._link_note, self._about, self._command_note, self._figure_note = (
            pn.pane.HTML(margin=(0, 10), sizing_mode="stretch_width") for _ in range(4)
        )
        self.dialog = pmui.Dialog(
            self.link,
            self._link_note,
            self.python,
            self._about,
            self.command,
            self._command_note,
            pmui.FlexBox(*self.figures.values(), self._figure_note, self._file, align_items="center", margin=(4, 6)),
            title="Share",
            title_variant="h6",
            width_option="md",
            sizing_mode="stretch_width",
            close_on_click=True,
            show_close_button=True,
        )
        # The dialog gives the focus back to what Bokeh has around the button, which cannot have it.
        self.dialog.param.watch(lambda event: event.new or locked(self.button.focus), "open")
        self._layout = pmui.Row(self.button, self.dialog, margin=0)

    def __panel__(self) -> pmui.Row:
        return self._layout

    def open(self) -> None:
        """Show what there is to share now."""
        try:
            shared = self._get()
        except ValueError as error:
            notify(str(error))
            return
        self._drawn = shared.drawn
        race = " and, as long as it is kept, this race" if shared.drawn else ""
        self._link_note.object = _note_html(f"It opens the page with this setting{race}.")
        what = "what is set" if not shared.drawn else "the race that is shown"
        edited = any(edits for _, edits in shared.contenders.values())
        with_edits = ", with the edits that were made on the way" if edited else ""
        self._about.object = _note_html(f"It trains {what}{with_edits}.")
        try:
            self.python.text = race_lines(shared.contenders)
        except ValueError as error:
            self.python.text = f"# {error}"
        lines, missing = [], []
        for label, (settings, _) in shared.contenders.items():
            try:
                lines.append(command_line(settings))
            except ValueError as error:
                missing.append(f"{label}: {error}")
        if edited:
            missing.append("Edits are not part of it.")
        self.command.text = "\n".join(lines) or "# none"
        self._command_note.object = _note_html(" ".join(["A line for each contender.", *missing]))
        for button in self.figures.values():
            button.disabled = not shared.drawn
        self._figure_note.object = _note_html(
            "Error, K and cost of the race as far as it is." if shared.drawn else "There is a figure once a race began."
        )
        self.dialog.open = True

    def _figure_button(self, kind: str) -> pmui.Button:
        button = pmui.Button(
            label=f"Save figure ({kind})", icon="download", variant="outlined", size="small", margin=(8, 4)
        )

        async def save(_event: object) -> None:
            drawn = self._drawn
            if drawn:
                race = drawn[0].run.race
                await self._file.send(button, lambda: _figure(drawn, kind.lower()), f"{race.id}.{kind.lower()}")

        button.on_click(save)
        return button


def _figure(drawn: Sequence[Contender], kind: str) -> bytes:
    file = io.BytesIO()
    make_race_figure(drawn).savefig(file, format=kind, dpi=200)
    return file.getvalue()


_FIELD: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": (8, 10, 2, 10)}


def _note_html(text: str) -> str:
    return f'<span style="font-size:12px;opacity:.75">{html.escape(text)}</span>'
