"""What `panel serve apps/explorer.py` opens."""

from prdp_explorer.dashboard import make_page

make_page().servable()
