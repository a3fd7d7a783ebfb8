"""Records the stories anew: trains their runs and looks into them in the labs (for `make stories`).

python docs/record_stories.py [STORY …]      # two minutes on 2 cores
"""

import sys

from prdp_explorer.stories import STORIES, record, story_named


def main() -> int:
    for story in map(story_named, sys.argv[1:] or STORIES):
        record(story)
        print(f"{story.id}: recorded", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
