"""The page that the server makes for each session."""

from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
from panel.util import edit_readonly

from ..problems import troubles
from ._accessible import Readable
from ._address import LINKS, setting_in, step_in
from ._explorer import Explorer
from ._session import notify

THEME = {
    "light": {"palette": {"text": {"disabled": "rgba(0, 0, 0, 0.56)"}}},
    "dark": {"palette": {"text": {"disabled": "rgba(255, 255, 255, 0.56)"}}},
}
"""Material UI's, with settings that stay readable while they are locked."""


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
    known = pn.state.session_args.get("theme", [b"default"])[0] in (b"default", b"dark")
    # Asked for a theme that is no text, Panel fails unless it is told another.
    pn.extension("tabulator", notifications=True, **({} if known else {"theme": "default"}))
    explorer = Explorer()
    _open_link(explorer)
    explorer.keep_up()
    page = pmui.Page(
        title="PRDP explorer",
        sidebar=[explorer.controls],
        sidebar_width=340,
        main=[
            explorer.bar,
            explorer.teller,
            explorer.tabs,
            NarrowPage(margin=0),
            Readable(margin=0),
            explorer.beat,
            explorer.address,
        ],
        busy_indicator=None,
        theme_config=THEME,
    )
    with edit_readonly(page):  # untie it from what all sessions of the process do
        page.busy = False
    return page


def _open_link(explorer: Explorer) -> None:
    """Show the race or the kept run that the address names, and the setting that it holds: all of it or nothing."""
    for trouble in troubles():
        _tell_once_open(trouble)
    arguments = pn.state.session_args
    wanted = {name: values[0].decode("utf-8", "replace") for name in LINKS if (values := arguments.get(name))}
    setting = None
    try:
        setting = setting_in(urlencode([(name, value) for name, values in arguments.items() for value in values]))
    except ValueError as error:
        _tell_once_open(f"The setting in this link is not used. {error}")
    try:
        if "story" in wanted:
            explorer.tell_story(wanted["story"], step_in(wanted.get("story_step", "1")) - 1)
            return
        if "run" in wanted:
            explorer.open_run(wanted["run"])
        elif "race" in wanted:
            _open_race(explorer, wanted["race"])
    except ValueError as error:
        _tell_once_open(str(error))
    if setting is not None:
        explorer.show_setting(setting)


def _tell_once_open(message: str) -> None:
    """Tell a person when the page is there: before, there is nobody to tell."""
    pn.state.onload(lambda: notify(message))


def _open_race(explorer: Explorer, race_id: str) -> None:
    """Show a race under way or, if it is over, what is kept of it."""
    engine = explorer.engine
    race = engine.races.get(race_id)
    if race is not None:
        explorer.show_race(race, {"race": race_id})
        return
    kept = [] if engine.recorder is None else [run for run in engine.store.runs() if run.race == race_id]
    if not kept:
        raise ValueError("The race in this link is not kept any more. Press Start for a new one.")
    explorer.open_run(kept[-1].id)
