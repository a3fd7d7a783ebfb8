"""The address bar of the browser."""

import panel as pn
import param


class AddressBar(pn.custom.JSComponent):
    """Keeps the query of the page's address at `query`; shows nothing.

    In place of Panel's own location, which adds an entry to the browser's history at each change, so that one could
    hardly go back, loses what it is told before the page is there, and has no page at all for some hostile queries.
    """

    query = param.String(default="", doc="With its question mark; empty leaves the address as it is.")

    _esm = """
    export function render({model}) {
      const show = () => {
        if (model.query && model.query !== window.location.search) {
          const {pathname, hash} = window.location
          window.history.replaceState(window.history.state, "", pathname + model.query + hash)
        }
      }
      model.on("query", show)
      show()
      return document.createElement("div")
    }
    """
