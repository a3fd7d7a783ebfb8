"""The command line's part on stories: listed, and written as pages that need no server."""

import argparse
from pathlib import Path

from ._output import check_writable, tell
from .stories import STORIES, story_named

ALL = "all"


def story(options: argparse.Namespace) -> int:
    check_writable(options.json)
    if options.id is None:
        told = [
            {"id": each.id, "title": each.title, "question": each.question, "minutes": each.minutes}
            for each in STORIES.values()
        ]
        words = "{id}: {title}\n  {question} About {minutes} minutes."
        return tell(options, told, "\n".join(words.format(**each) for each in told))
    wanted = list(STORIES.values()) if options.id == ALL else [story_named(options.id)]
    files = [_story_file(options, each.id) for each in wanted]
    from .dashboard import write_story  # takes seconds, which the others need not wait

    for each, file in zip(wanted, files, strict=True):
        write_story(each, file)
    told = [{"id": each.id, "file": str(file), "format": "html"} for each, file in zip(wanted, files, strict=True)]
    return tell(options, told, "\n".join(f"{each['id']} is in {each['file']}." for each in told))


def _story_file(options: argparse.Namespace, id: str) -> Path:
    """The file to write a story to, refused before the work rather than after it."""
    if options.id == ALL:
        folder = Path(options.file or "")
        if options.file is None or not folder.is_dir():
            raise ValueError(f"PLACE must be an existing folder for all stories; got {options.file!r}.")
        return folder / f"{id}.html"
    if options.file is None or Path(options.file).suffix.lower() != ".html":
        raise ValueError(f"PLACE must be a file that ends in .html; got {options.file!r}.")
    check_writable(options.file, "PLACE")
    return Path(options.file)
