"""Files that a person asks for, on their way to the browser."""

import asyncio
import io
from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from ._session import locked, notify


class Download(pn.viewable.Viewer):
    """Sends files that are made outside the server's loop, so that nobody else waits for them; shows nothing."""

    def __init__(self):
        super().__init__()
        # Sends a file as soon as it has one; the button that is seen makes it first.
        self._file = pmui.FileDownload(
            callback=io.BytesIO, filename="file", label="file", auto=True, sx={"display": "none"}
        )

    def __panel__(self) -> pmui.FileDownload:
        return self._file

    async def send(self, button: pmui.Button, make: Callable[[], bytes], filename: str) -> None:
        """Make a file and send it; the button that asked for it shows that there is something to wait for.

        A `ValueError` of `make` is told to the person.
        """
        button.loading = True
        self._file.data = None  # the same file once more is sent once more
        try:
            content = await asyncio.to_thread(make)
        except ValueError as error:
            notify(str(error))
        else:
            self._file.param.update(callback=lambda: io.BytesIO(content), filename=filename)
            locked(lambda: self._file.transfer(download=True))
        finally:
            button.loading = False
