"""The page that the server makes for each session."""

import panel as pn
import panel_material_ui as pmui
from panel.util import edit_readonly

from ._controls import FULL_LABEL, PRDP_LABEL
from ._explorer import Explorer
from ._session import notify


class NarrowPage(pn.custom.JSComponent):
    """Closes the drawer on a narrow page, which it would else hide when the page opens; shows nothing.

    In the browser, since only there the width is known, and what the server changes while a page is being loaded may
    not reach it.
    """

    _esm = """
    export function render({el}) {
      const anchor = document.createElement("div")
      const close = (tries) => {
        for (let root = anchor.getRootNode(); root.host; root = root.host.getRootNode()) {
          const backdrop = root.querySelector(".MuiBackdrop-root")
          if (backdrop) {
            backdrop.click()
            return
          }
        }
        if (tries > 0) {
          setTimeout(() => close(tries - 1), 100)
        }
      }
      if (window.innerWidth < 600) {
        setTimeout(() => close(100), 0)
      }
      return anchor
    }
    """


def make_page() -> pmui.Page:
    """The page of one session of the server: an explorer, its timer, and its end."""
    pn.extension(notifications=True)
    explorer = Explorer()
    _open_link(explorer)
    explorer.keep_up()
    page = pmui.Page(
        title="PRDP explorer",
        sidebar=[explorer.controls],
        sidebar_width=340,
        main=[explorer.bar, explorer.views, NarrowPage(margin=0)],
        busy_indicator=None,
    )
    with edit_readonly(page):  # untie it from what all sessions of the process do
        page.busy = False
    return page


def _open_link(explorer: Explorer) -> None:
    """Show the race that the address names, if it is still kept."""
    wanted = pn.state.session_args.get("race")
    if not wanted:
        return
    race = explorer.engine.races.get(wanted[0].decode("utf-8", "replace"))
    if race is None or set(race.runs) != {PRDP_LABEL, FULL_LABEL}:
        lost = "The race in this link is not kept any more. Press Start for a new one."
        pn.state.onload(lambda: notify(lost))  # before, there is nobody to tell
        return
    explorer.controls.copy_from(race)
    explorer.attach(race)
