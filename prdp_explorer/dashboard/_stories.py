"""Guided stories on the page: a shelf to choose one from, and a teller that says what there is to see at each step."""

import html
from collections.abc import Callable, Sequence

import panel as pn
import panel_material_ui as pmui

from ..stories import STORIES, Step, Story
from ._session import locked
from ._theme import PRDP_COLOR, card, tab_grid

_ABOUT = (
    "Each story sets this page step by step and says what to look at. Everything in it was recorded: nothing is "
    "trained. Between two steps the page is yours; Start trains what the drawer says, and Next goes on with the story."
)
_AS_FILES = "To hand one out as a file that needs no server: <code>python -m prdp_explorer story all FOLDER</code>"


class StoryShelf(pn.viewable.Viewer):
    """The stories, each with its question and a button that begins it.

    **Arguments:**

    - `on_begin`: called with the id of a story.

    **Attributes:**

    - `begin`: the buttons, by id.
    """

    def __init__(self, on_begin: Callable[[str], None]):
        super().__init__()
        self.begin = {story.id: self._button(story, on_begin) for story in STORIES.values()}
        about = pn.pane.HTML(
            f'<p style="font-size:13.5px;line-height:1.5;margin:0">{_ABOUT}</p>'
            f'<p style="font-size:13px;line-height:1.5;margin:6px 0 0;opacity:.85">{_AS_FILES}</p>',
            sizing_mode="stretch_width",
            margin=(4, 8),
        )
        self._layout = tab_grid(
            (card(about), {}),
            *((card(_cover(story), self.begin[story.id]), {"md": 6, "lg": 4}) for story in STORIES.values()),
        )

    def __panel__(self) -> pn.Column:
        return self._layout

    @staticmethod
    def _button(story: Story, on_begin: Callable[[str], None]) -> pmui.Button:
        button = pmui.Button(
            label="Begin", icon="menu_book", variant="outlined", size="small", margin=(4, 8, 8, 8),
            description=f"Begin “{story.title}”",
        )  # fmt: skip
        button.on_click(lambda _: locked(lambda: on_begin(story.id)))
        return button


class StoryTeller(pn.viewable.Viewer):
    """A step of a story in words, with the way back and on; nothing where no story is told.

    **Arguments:**

    - `on_turn`: called with the id of the story and the number of the step to show, from 0.
    - `on_leave`: called when the story was left.

    **Attributes:**

    - `back`, `next`, `leave`: the buttons. `story`, `place`: what is told, or None, and which step, from 0.
    """

    def __init__(self, on_turn: Callable[[str, int], None], on_leave: Callable[[], None]):
        super().__init__()
        self.story: Story | None = None
        self.place = 0
        self._on_turn, self._on_leave = on_turn, on_leave
        self.back = self._button("Back", "navigate_before", lambda: self._turn(-1))
        self.next = self._button("Next", "navigate_next", lambda: self._turn(1), variant="contained")
        self.leave = self._button("Leave the story", "close", self._leave)
        self._words = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 8))
        self._layout = pmui.Paper(
            self._words,
            pmui.FlexBox(self.back, self.next, self.leave, align_items="center"),
            sizing_mode="stretch_width",
            elevation=1,
            sx={"p": 1, "borderLeft": f"4px solid {PRDP_COLOR}"},
            margin=(10, 10, 0, 10),
            visible=False,
        )

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def tell(self, story: Story, steps: Sequence[Step], place: int) -> None:
        """Say what a step says."""
        self.story, self.place = story, place
        self._words.object = _step_html(story, steps, place)
        self.back.disabled = place == 0
        self.next.disabled = place == len(steps) - 1
        self._layout.visible = True

    @staticmethod
    def _button(label: str, icon: str, act: Callable[[], None], variant: str = "outlined") -> pmui.Button:
        button = pmui.Button(label=label, icon=icon, variant=variant, size="small", margin=(4, 4))
        button.on_click(lambda _: locked(act))
        return button

    def _turn(self, by: int) -> None:
        if self.story is not None:
            self._on_turn(self.story.id, self.place + by)

    def _leave(self) -> None:
        self.story = None
        self._layout.visible = False
        self._on_leave()


def _cover(story: Story) -> pn.pane.HTML:
    return pn.pane.HTML(
        f'<h3 style="font-size:15px;margin:4px 0 2px">{html.escape(story.title)}</h3>'
        f'<p style="font-size:13.5px;line-height:1.45;margin:0;min-height:2.9em">{html.escape(story.question)}</p>'
        f'<p style="font-size:12.5px;margin:4px 0 0;opacity:.8">about {story.minutes} minutes</p>',
        sizing_mode="stretch_width",
        margin=(0, 8),
    )


def _step_html(story: Story, steps: Sequence[Step], place: int) -> str:
    step = steps[place]
    paragraphs = "".join(f'<p style="margin:0 0 5px">{html.escape(words)}</p>' for words in step.words)
    return (
        f'<div role="status" style="line-height:1.5;font-size:14.5px;max-width:70em"><p style="margin:0;font-size:13px;'
        f'opacity:.85">{html.escape(story.title)} · step {place + 1} of {len(steps)}</p>'
        f'<h2 style="font-size:17px;margin:2px 0 5px">{html.escape(step.heading)}</h2>{paragraphs}'
        '<p style="margin:0;border-left:3px solid #E69F00;padding-left:9px">'
        f"Look at: <b>{html.escape(step.look_at)}</b></p></div>"
    )
