"""The scenarios as cards: a picture, a title, a sentence, and what the chosen one teaches."""

import base64
import functools
from pathlib import Path

import panel as pn
import param

from ..problems import Scenario, scenarios

_PICTURES = Path(__file__).parent / "pictures"
_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@functools.cache
def picture(scenario: str) -> str:
    """The picture of a scenario as a data URI, which asks no server; empty if there is none."""
    for ending, kind in _TYPES.items():
        path = _PICTURES / f"{scenario}{ending}"
        if path.exists():
            return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return ""


def _card(scenario: Scenario) -> dict[str, str]:
    return {
        "id": scenario.id,
        "title": scenario.title,
        "summary": scenario.summary,
        "teaches": scenario.teaches,
        "picture": picture(scenario.id),
    }


class ScenarioCards(pn.custom.JSComponent):
    """A choice of scenario by cards, in the browser a group of radio buttons.

    While it is disabled only the chosen card is shown, which leaves room for what a person can change then; they may
    unfold the others, before and after.

    **Attributes:**

    - `value`: the id of the scenario chosen.
    - `disabled`: whether it cannot be changed now, for the reason that `locked` says in words.
    """

    value = param.Selector(check_on_set=True)
    disabled = param.Boolean(default=False)
    locked = param.String(default="Stop the race to choose another scenario.")
    cards = param.List(item_type=dict)

    _stylesheets = [  # noqa: RUF012 (Panel's own type)
        """
        :host { --chosen: var(--mui-palette-primary-main, var(--panel-primary-color, #0072b5)) }
        .card { display: flex; gap: 10px; position: relative; padding: 7px; margin-bottom: 6px; border-radius: 8px;
          border: 1px solid color-mix(in srgb, currentColor 28%, transparent); cursor: pointer; }
        .card:hover:has(:enabled) { background: color-mix(in srgb, currentColor 6%, transparent) }
        .card:has(:checked) { border-color: var(--chosen); box-shadow: inset 0 0 0 1px var(--chosen);
          background: color-mix(in srgb, var(--chosen) 10%, transparent) }
        .card:has(:focus-visible) { outline: 3px solid var(--chosen); outline-offset: 2px }
        .card:has(:disabled) { cursor: default }
        .card[hidden] { display: none }
        input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: inherit }
        img { width: 52px; height: 52px; flex: none; border-radius: 5px }
        .title { display: block; font-size: 13.5px; font-weight: 600; line-height: 1.3; margin-bottom: 2px }
        .summary { display: block; font-size: 12px; line-height: 1.35; opacity: .85 }
        .card:not(:has(:checked)) .summary { display: -webkit-box; -webkit-box-orient: vertical; overflow: hidden;
          -webkit-line-clamp: 2 }
        .below { display: flex; flex-wrap: wrap; gap: 2px 12px; font-size: 12px; line-height: 1.45 }
        .below > * { margin: 0 }
        button { all: unset; padding: 3px 0; cursor: pointer; text-decoration: underline; text-underline-offset: 2px }
        button:focus-visible, summary:focus-visible { outline: 3px solid var(--chosen); outline-offset: 2px;
          border-radius: 2px }
        details { flex-basis: 100%; order: -1 }
        details p { margin: 2px 0 6px; opacity: .85 }
        summary { padding: 3px 0; cursor: pointer }
        """,
    ]

    _esm = """
    export function render({model}) {
      const make = (tag, properties, ...children) => {
        const element = Object.assign(document.createElement(tag), properties)
        element.append(...children)
        return element
      }
      let folded = model.disabled
      const inputs = new Map()
      const group = make("div", {role: "radiogroup", ariaLabel: "Scenario"})
      const deal = () => {
        inputs.clear()
        group.replaceChildren(...model.cards.map(({id, title, summary, picture}) => {
          const input = make("input", {type: "radio", name: "scenario", value: id, onchange: () => model.value = id})
          input.setAttribute("aria-labelledby", `title-${id}`)
          input.setAttribute("aria-describedby", `summary-${id} locked`)
          inputs.set(id, input)
          return make("label", {className: "card", title: summary},
            input,
            ...(picture ? [make("img", {src: picture, alt: ""})] : []),
            make("span", {},
              make("span", {className: "title", id: `title-${id}`, textContent: title}),
              make("span", {className: "summary", id: `summary-${id}`, textContent: summary})),
          )
        }))
      }
      const fold = make("button", {type: "button", onclick: () => { folded = !folded; show() }})
      const locked = make("p", {id: "locked"})
      const teaches = make("p")
      const details = make("details", {}, make("summary", {textContent: "What it teaches"}), teaches)
      const show = () => {
        for (const [id, input] of inputs) {
          input.checked = id === model.value
          input.disabled = model.disabled
          input.parentElement.hidden = folded && id !== model.value
        }
        teaches.textContent = model.cards.find(({id}) => id === model.value)?.teaches ?? ""
        locked.textContent = model.disabled ? model.locked : ""
        fold.textContent = folded ? "Show all scenarios" : "Show only the chosen one"
        fold.setAttribute("aria-expanded", String(!folded))
      }
      model.on("cards", () => { deal(); show() })
      model.on("value", show)
      model.on("disabled", () => { folded ||= model.disabled; show() })
      deal()
      show()
      return make("div", {}, group, make("div", {className: "below"}, details, fold, locked))
    }
    """

    def __init__(self, **params):
        super().__init__(**params)
        self._dealt: list[Scenario] = []
        self.deal()

    def deal(self) -> None:
        """Offer the scenarios that there are by now."""
        known = scenarios()
        if list(known.values()) != self._dealt:
            self._dealt = list(known.values())
            self.param.value.objects = list(known)
            self.cards = [_card(scenario) for scenario in self._dealt]
            if self.value not in known:
                self.value = next(iter(known))
