"""A plug-in of `panel serve`: the address /inspect tells the browser tests what goes on inside the server."""

import json
import threading
from typing import Any, cast

from bokeh.server.tornado import BokehTornado
from tornado.web import RequestHandler

from prdp_explorer.dashboard._explorer import shared_engine
from prdp_explorer.engine import Run


class Inspect(RequestHandler):
    """Sessions and what belongs to them, threads, and races."""

    def get(self) -> None:  # pyrefly: ignore[bad-override-mutable-attribute]
        bokeh = cast(BokehTornado, self.application)
        sessions = [session for path in bokeh.app_paths for session in bokeh.get_sessions(path)]
        told = {
            "sessions": len(sessions),
            "callbacks": sum(len(session.document.session_callbacks) for session in sessions),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "races": {
                race.id: {
                    "paused": race.paused,
                    "pace": race.pace,
                    "watchers": race.watchers,
                    "runs": {label: _tell(run) for label, run in race.runs.items()},
                }
                for race in shared_engine().races.values()
            },
        }
        self.write(json.dumps(told))


def _tell(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "state": run.state,
        "epoch": run.epoch,
        "settings": run.settings.to_json(),
        "iterations": run.log.read()["iterations"].tolist(),
        "tau_step": [None if value != value else value for value in run.log.read()["tau_step"].tolist()],
    }


ROUTES = [("/inspect", Inspect, {})]
