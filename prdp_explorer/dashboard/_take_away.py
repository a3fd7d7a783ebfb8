"""What a person takes away of a kept run, and brings: files of several kinds, and runs from elsewhere."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import panel as pn
import panel_material_ui as pmui

from ..engine import Store, import_runs
from ._download import Download
from ._exports import EXPORTS
from ._session import locked, notify
from ._theme import card

KINDS = {
    "Report: one web page (HTML)": ".html",
    "Figure (PNG)": ".png",
    "Figure (SVG)": ".svg",
    "Records (CSV)": ".csv",
    "Fields (NetCDF)": ".nc",
    "Python that trains it again": ".py",
    "The whole run, to import elsewhere": ".prdp",
}
"""What there is to take away, for people, and how the file's name ends."""

LARGEST_IMPORT = 512 * 2**20
"""Bytes that a person may bring at once: the largest run takes a fifth of it."""


class TakeAway(pn.viewable.Viewer):
    """Downloads of the run that is selected, and the way for runs to come in.

    **Arguments:**

    - `store`: where the runs are kept.
    - `on_import`: called with the ids of the runs that came in.
    """

    def __init__(self, store: Store, on_import: Callable[[list[str]], None]):
        super().__init__()
        self._store, self._on_import = store, on_import
        self._run_id: str | None = None
        self.kind = pmui.Select(label="Take away", options=KINDS, size="small", width=300, margin=(8, 8))
        self.download = pmui.Button(
            label="Download", icon="download", variant="outlined", size="small", margin=(8, 4), disabled=True
        )
        self.download.on_click(self._make)
        self.bring = pmui.FileInput(
            label="Import a run", accept=".prdp", variant="outlined", size="small", margin=(8, 8),
            max_file_size=LARGEST_IMPORT,
        )  # fmt: skip
        self.bring.param.watch(self._take_in, "value")
        self._hint = pn.pane.HTML(margin=(8, 8), align="center")
        self._file = Download()
        self._layout = card(
            pmui.FlexBox(self.kind, self.download, self.bring, self._hint, self._file, align_items="center")
        )
        self.look_at([])

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, run_ids: list[str]) -> None:
        """Offer the files of a run, which must be the only one selected."""
        self._run_id = run_ids[0] if len(run_ids) == 1 else None
        self.download.disabled = self._run_id is None
        hint = "" if self._run_id else "Select one run to take it away."
        self._hint.object = f'<span style="font-size:12px;opacity:.75">{hint}</span>'

    async def _make(self, _event: object) -> None:
        """Make the file that was asked for, and send it."""
        run_id, ending = self._run_id, self.kind.value
        if run_id is None:
            return
        await self._file.send(self.download, lambda: self._written(run_id, ending), f"{run_id}{ending}")

    def _written(self, run_id: str, ending: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix="prdp-export-") as folder:
            file = Path(folder) / f"run{ending}"
            EXPORTS[ending](self._store, run_id, str(file))
            return file.read_bytes()

    async def _take_in(self, event: object) -> None:
        """Take in the runs of a file that a person brought."""
        content, name = self.bring.value, Path(str(self.bring.filename or "import")).name
        if not content:
            return
        self.bring.param.update(value=None, filename=None)
        try:
            ids = await asyncio.to_thread(self._imported, content, name)
        except ValueError as error:
            notify(str(error))
        else:
            locked(lambda: self._on_import(ids))

    def _imported(self, content: bytes, name: str) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="prdp-import-") as folder:
            file = Path(folder) / "brought.prdp"
            file.write_bytes(content)
            try:
                return import_runs(self._store, file)
            except ValueError as error:
                raise ValueError(str(error).replace(str(file), name)) from None
