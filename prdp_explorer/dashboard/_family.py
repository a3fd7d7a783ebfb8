"""What a run was forked from and what was forked from it, as a tree."""

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..engine import Store, StoredRun
from ._run_words import fork_words, status_words
from ._session import locked
from ._theme import card


class Family(pn.viewable.Viewer):
    """The family of one run; hidden for a run that has none.

    **Arguments:**

    - `store`: where the runs are kept.
    - `choose`: called with the id of the run that a person clicked on.
    """

    def __init__(self, store: Store, choose: Callable[[str], None]):
        super().__init__()
        self._store, self._choose = store, choose
        self._chosen = ""
        self._tree = pmui.Tree(multi_select=False, sizing_mode="stretch_width", margin=0, sx={"maxWidth": "none"})
        self._tree.param.watch(lambda _: locked(self._click), "active")
        self._lost = pmui.Typography("", variant="body2", sizing_mode="stretch_width", margin=(2, 12), visible=False)
        self._layout = card(
            pn.pane.HTML('<h2 style="font-size:14px;margin:4px 12px">Family of the selected run</h2>', margin=0),
            self._lost,
            self._tree,
        )
        self._layout.visible = False

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, chosen: StoredRun | None, runs: Mapping[str, StoredRun]) -> None:
        """Show the family of a run among all runs by id, the newest first, the run itself marked.

        **Raises:** `StoreError`; what was shown stays then.
        """
        root = None if chosen is None else _eldest(chosen, runs)
        children: dict[str, list[StoredRun]] = {}
        for run in reversed(list(runs.values())):
            if run.parent is not None:
                children.setdefault(run.parent, []).append(run)
        if chosen is None or root is None or (root.parent is None and root.id not in children):
            self._layout.visible = False
            return
        items, paths = self._items(root, children)
        self._chosen = chosen.id
        if items != self._tree.items:
            self._tree.items = items
        self._tree.active = [paths[chosen.id]]
        lost = root.parent is not None and f"Its parent {root.parent} is not in this store: deleted, or elsewhere."
        self._lost.param.update(object=lost or "", visible=bool(lost))
        self._layout.visible = True

    def _items(
        self, root: StoredRun, children: Mapping[str, list[StoredRun]]
    ) -> tuple[list[dict[str, Any]], dict[str, tuple[int, ...]]]:
        """The tree below a run, and the way to each run in it. Without recursion: a chain of forks may be long."""
        items: list[dict[str, Any]] = []
        paths: dict[str, tuple[int, ...]] = {}
        waiting = [(root, (), items)]
        while waiting:
            run, path, siblings = waiting.pop()
            paths[run.id] = (*path, len(siblings))
            fork = "" if run.parent is None else fork_words(run, self._store.events(run.id))
            item = {
                "id": run.id,
                "label": run.title,
                "secondary": " · ".join(filter(None, [fork, status_words(run)])),
                "icon": "fork_right" if run.parent is not None else "play_circle",
                "open": True,
                "items": [],
            }
            siblings.append(item)
            waiting += [(child, paths[run.id], item["items"]) for child in reversed(children.get(run.id, ()))
                        if child.id not in paths]  # fmt: skip
        return items, paths

    def _click(self) -> None:
        clicked = [item["id"] for item in self._tree.value if item]
        if clicked and clicked != [self._chosen]:
            self._choose(clicked[0])


def _eldest(run: StoredRun, runs: Mapping[str, StoredRun]) -> StoredRun:
    """The first known of a run's forebears, or itself. What claims to be its own forebear has none."""
    seen = {run.id}
    while run.parent is not None and run.parent in runs and run.parent not in seen:
        run = runs[run.parent]
        seen.add(run.id)
    return run
