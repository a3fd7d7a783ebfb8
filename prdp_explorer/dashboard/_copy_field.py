"""Text that a person takes along: it is read-only, and a button copies it."""

from typing import ClassVar

import panel as pn
import param


class CopyField(pn.custom.JSComponent):
    """A field of text with a button that copies it.

    Where the browser keeps its clipboard from the page, as it does over plain http from another machine, the text is
    selected and copied the old way or, if that fails too, left selected for the person to copy.
    """

    label = param.String(default="", doc="What the text is.")
    text = param.String(default="", doc="What is copied; empty stands for the address of the page.")
    rows = param.Integer(default=1, doc="Lines that are seen at once.")

    _esm = """
    export function render({model}) {
      const frame = document.createElement("div")
      const label = document.createElement("label")
      const field = document.createElement("textarea")
      const button = document.createElement("button")
      field.id = "field"
      field.readOnly = true
      field.spellcheck = false
      field.wrap = "off"
      label.htmlFor = "field"
      button.type = "button"
      button.setAttribute("aria-live", "polite")
      const show = () => {
        label.textContent = model.label
        field.rows = model.rows
        field.value = model.text || window.location.href
        button.ariaLabel = `Copy ${model.label}`
        button.textContent = "Copy"
      }
      let timer = 0
      const tell = words => {
        button.textContent = words
        button.ariaLabel = `${words}: ${model.label}`
        clearTimeout(timer)
        timer = setTimeout(show, 3000)
      }
      const copyOldWay = () => {
        field.focus()
        field.select()
        return document.execCommand("copy")
      }
      button.addEventListener("click", async () => {
        show()
        try {
          await navigator.clipboard.writeText(field.value)
          tell("Copied")
        } catch {
          tell(copyOldWay() ? "Copied" : "Press Ctrl+C")
        }
      })
      for (const name of ["label", "text", "rows"]) model.on(name, show)
      show()
      frame.append(label, field, button)
      return frame
    }
    """

    _stylesheets: ClassVar[list[str]] = [
        """
        :host { color: inherit; font-size: 14px; }
        div { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 4px 8px; align-items: start; }
        label { grid-column: 1 / -1; font-size: 13px; font-weight: 600; }
        textarea, button { font: inherit; color: inherit; background: none; border-radius: 4px;
                           border: 1px solid color-mix(in srgb, currentColor 35%, transparent); padding: 6px 10px; }
        textarea { font-family: ui-monospace, monospace; font-size: 12px; line-height: 1.5; resize: none;
                   width: 100%; box-sizing: border-box; overflow: auto; }
        textarea[rows="1"] { overflow: hidden; }
        button { cursor: pointer; min-width: 84px; font-size: 13px; }
        button:hover { background: color-mix(in srgb, currentColor 8%, transparent); }
        textarea:focus-visible, button:focus-visible { outline: 2px solid currentColor; outline-offset: 1px; }
        """
    ]
