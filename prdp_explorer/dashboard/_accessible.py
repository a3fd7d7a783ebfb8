"""What the page's toolkits leave without the roles, names and keys by which it is read aloud and worked with."""

import panel as pn


class Readable(pn.custom.JSComponent):
    """Mends the page for those who have it read aloud or have a keyboard only; shows nothing.

    In the browser and again and again, since widgets come and go and their shadow roots tell nobody of changes.
    """

    _esm = """
    const REMEDIES = [
      // The page's busy indicator, which is never busy here and cannot be seen.
      [".MuiAppBar-root > .MuiLinearProgress-root", {"aria-hidden": "true"}],
      [".MuiLinearProgress-root", {"aria-label": "Progress of the race"}],
      // The buttons of a number's field, a minus and a plus.
      ["button:has(> svg > path[d='M19 13H5v-2h14z'])", {"aria-label": "Less"}],
      ["button:has(> svg > path[d^='M19 13h-6v6h-2v-6'])", {"aria-label": "More"}],
      // Empty headings that keep a space below the header.
      [".MuiToolbar-root > h5", {"aria-hidden": "true"}],
      ["h3.title", {role: "heading", "aria-level": "1"}],
      // What the icon beside a label tells: a name without a role.
      ["span[aria-label]:empty", {role: "img"}],
      ["[aria-label='Resize sidebar']", {role: "separator"}],
      [".MuiDrawer-paper[role=dialog]", {"aria-label": "Settings"}],
    ]
    const SELECTOR = REMEDIES.map(([selector]) => selector).join()

    function mend(root) {
      for (const element of root.querySelectorAll("*")) {
        if (element.matches(SELECTOR)) {
          for (const [selector, attributes] of REMEDIES) {
            if (element.matches(selector)) {
              Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value))
            }
          }
        }
        if (element.shadowRoot) {
          mend(element.shadowRoot)
        }
      }
    }

    // A cell of a table that can be edited has the focus, but only a click begins an edit; see `_runs_table`.
    function enter(event) {
      const [focused] = event.composedPath()
      if (event.key === "Enter" && focused.matches?.(".tabulator-cell[tabindex]")) {
        event.preventDefault()
        focused.click()
      }
    }

    export function render({model}) {
      mend(document)
      const timer = setInterval(() => mend(document), 1000)
      document.addEventListener("keydown", enter)
      model.on("remove", () => {
        clearInterval(timer)
        document.removeEventListener("keydown", enter)
      })
      return document.createElement("div")
    }
    """
