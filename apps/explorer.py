"""What `panel serve apps/explorer.py` opens."""

from prdp_explorer.dashboard import make_page

# Without Panel's own location, which fails on queries that are no values of Python; see `AddressBar`.
make_page().servable(location=False)
