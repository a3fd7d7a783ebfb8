"""A story as one page that needs no server and no network: recorded runs, plots that zoom, steps to click."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.embed import components
from bokeh.models import WheelZoomTool
from bokeh.plotting import figure
from bokeh.resources import Resources

from ..engine import Engine, Race, as_records, written_whole
from ..stories import Recorded, Step, Story, recorded
from ._costs import Costs
from ._curves import Curves
from ._fields import Fields
from ._gradient_figures import ByCount
from ._report_page import document, text
from ._shown import Contender, Shown
from ._solver_figure import SolverFigure
from ._source import RunSource
from ._theme import LOOKS, round_up
from ._why_figures import WhyFigures
from ._why_words import decision_html, figure_words, values_at

_WIDE = "wide"
"""Of a part that takes the whole width."""


def story_page(story: Story) -> str:
    """One HTML page that tells a story.

    Everything that it needs is in it, and its own policy forbids it to ask any network.

    **Raises:** `ValueError` in words if the recording of the story is not there or damaged.
    """
    runs = recorded(story)
    steps = story.tell(runs)
    parts, scripts = [], []
    with contextlib.closing(Engine()) as engine:
        for place, step in enumerate(steps):
            markup, script = _drawn(_views(race_of_step(engine, runs, step), runs, step))
            parts.append(_step_html(place, step, markup))
            scripts.append(f"steps[{place}] = () => {{ {script} }}")
    contents = "".join(
        f'<li><a href="#step-{place + 1}">{text(step.heading)}</a></li>' for place, step in enumerate(steps)
    )
    body = _BODY.format(
        title=text(story.title),
        question=text(story.question),
        minutes=story.minutes,
        contents=contents,
        steps="".join(parts),
    )
    bokeh = Resources(mode="inline", components=["bokeh"]).js_raw
    return document(story.title, body, [*bokeh, "const steps = []", *scripts, _TURN], _STYLE)


def write_story(story: Story, file: str | Path) -> None:
    """Write what `story_page` makes to a file, in one step when all went well.

    **Raises:** `ValueError` in words if it cannot be written, or the recording cannot be read.
    """
    page = story_page(story)
    with written_whole(file) as part:
        part.write_text(page, encoding="utf-8")


def race_of_step(engine: Engine, runs: Recorded, step: Step) -> Race:
    """The runs that a step shows, played up to its epoch."""
    first, *others = (runs[label].kept.id for label in step.runs)
    return engine.replay(first, step.epoch, beside=others, store=runs.store)


def zoom(figures: Curves | WhyFigures, step: Step, epochs: int) -> None:
    """Let figures of so many epochs show those of a step alone: what is early would be a small corner of them all."""
    if step.epoch and step.axis == "epoch":
        figures.zoom(min(int(round_up(1.1 * step.epoch)), epochs))


def _views(race: Race, runs: Recorded, step: Step) -> Iterator[tuple[str, list[Any]]]:
    """What a step shows, as parts of the page: how wide each is, and its figures and markup in order."""
    shown = Shown(race, kept=False)
    first = next(each for each in shown.contenders if each.label == step.runs[0])
    if step.tab == "Race":
        yield from _race_views(shown, step)
    elif step.tab == "Why":
        yield from _why_views(first, step)
    elif step.tab == "Fields":
        fields = Fields(_no_rollout)
        fields.look_at(shown)
        fields.update()
        yield _WIDE, _contents(fields.body)
    else:
        found = runs[first.label].findings(step.epoch)
        gradients, system = ByCount(), SolverFigure()
        gradients.show(found.gradients, first.run.settings.differentiation)
        for each in gradients.cards:
            yield "", _contents(each)
        system.show(found.system, first)
        yield _WIDE, _contents(pn.Column(*system.parts))


def _no_rollout(*_: Any, **__: Any) -> Any:
    """A page by itself computes nothing."""
    raise ValueError("A page by itself makes no rollouts.")


def _race_views(shown: Shown, step: Step) -> Iterator[tuple[str, list[Any]]]:
    sources = [RunSource() for _ in LOOKS]
    for place, source in enumerate(sources):
        source.follow(shown.at(place))
        source.update()
    curves, costs = Curves(*sources), Costs(*sources)
    curves.set_extent(shown.epochs, shown.largest_iterations)
    curves.draw_over(step.axis)
    zoom(curves, step, shown.epochs)
    for view in (curves, costs):
        view.name(*shown.names)
        view.update()
    for each in (curves.error, curves.iterations, costs.view):
        yield "", _contents(each)


def _why_views(contender: Contender, step: Step) -> Iterator[tuple[str, list[Any]]]:
    log = contender.run.log.read()
    values = values_at(contender.run, len(log) - 1)
    (record,) = as_records(log[-1:])
    heading = f"<h2>{text(contender.label)}, after epoch {record.epoch}: what was decided?</h2>"
    yield _WIDE, [heading + decision_html(record, log, values)]
    figures = WhyFigures()
    figures.look_at(contender)
    figures.update()
    zoom(figures, step, contender.run.settings.epochs)
    figures.mark(record.epoch, int(values.get("window", 0)))
    words = figure_words(contender.label, log, values, None)
    for each, told in zip((figures.metric, figures.plateau, figures.checkpoint, figures.levels), words, strict=True):
        each.summary.tell(told, at_once=True)
        yield "", _contents(each.view)


def _contents(view: Any) -> list[Any]:
    """The figures and the markup of a view, in order."""
    panes = view.select(lambda each: isinstance(each, pn.pane.Bokeh | pn.pane.HTML))
    return [pane.object for pane in panes if pane.object]


def _drawn(views: Iterator[tuple[str, list[Any]]]) -> tuple[str, str]:
    """The markup of a step's views, and the script that draws their figures."""
    cards = list(views)
    figures = [each for _, contents in cards for each in contents if isinstance(each, figure)]
    for each in figures:
        each.add_tools(WheelZoomTool())
    script, places = components(tuple(figures), wrap_script=False)
    left = iter(places)
    markup = []
    for kind, contents in cards:
        markup.append(f'<figure class="card {kind}">')
        for images, group in itertools.groupby(contents, _is_image):
            placed = "".join(next(left) if isinstance(each, figure) else each for each in group)
            markup.append(f'<div class="images">{placed}</div>' if images else placed)
        markup.append("</figure>")
    return "".join(markup), script


def _is_image(content: Any) -> bool:
    return isinstance(content, figure) and content.aspect_ratio == 1


def _step_html(place: int, step: Step, markup: str) -> str:
    paragraphs = "".join(f"<p>{text(words)}</p>" for words in step.words)
    hidden = " hidden" if place else ""
    return (
        f'<section class="step" id="step-{place + 1}" aria-labelledby="heading-{place + 1}"{hidden}>'
        f'<div class="card words"><h2 id="heading-{place + 1}" tabindex="-1">{place + 1}. {text(step.heading)}</h2>'
        f'{paragraphs}<p class="look">{text(step.look_at)}</p></div>'
        f'<div class="grid plots">{markup}</div></section>'
    )


_BODY = """<header>
<h1>{title}</h1>
<p class="headline">{question}</p>
<p class="name">About {minutes} minutes. Everything shown was recorded; nothing is trained, and nothing is asked \
of any network.</p>
</header>
<nav aria-label="Steps">
<ol>{contents}</ol>
<p><button type="button" id="back">Back</button> <button type="button" id="next">Next</button>
<span id="where" role="status"></span> <span class="hint">or with the arrow keys, or Page Up and Page Down</span></p>
</nav>
{steps}
"""

_STYLE = """
nav { position: sticky; top: 0; z-index: 2; background: #f4f5f7; padding: 8px 0; margin: 8px 0 4px }
nav ol { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 0 0 6px; padding-left: 18px; font-size: 13.5px }
nav ol li { padding-right: 14px }
nav a { color: #005a8f } nav a[aria-current] { color: #1c2126; font-weight: 600; text-decoration: none }
button { font: inherit; padding: 5px 16px; border: 1px solid #005a8f; border-radius: 6px; background: #fff;
  color: #005a8f; cursor: pointer }
#next { background: #005a8f; color: #fff }
button:disabled { opacity: .45; cursor: default }
#where { margin: 0 8px }
.words { margin-bottom: 16px; font-size: 16px }
.words h2 { font-size: 18px } .words h2:focus { outline: none }
.words p { max-width: 62em; margin-bottom: 8px }
.look { border-left: 3px solid #E69F00; padding-left: 10px; font-weight: 600 }
.look::before { content: "Look at: "; color: #5a636e; font-weight: 400 }
.card.wide { grid-column: 1 / -1 }
.images { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(46%, 200px), 1fr)) }
.plots h2 { margin: 4px 8px }
.step .plots > :last-child:not(.wide) { grid-column: auto }
@media (min-width: 1100px) {
  .plots:has(> :nth-child(3):last-child:not(.wide)) { grid-template-columns: repeat(3, minmax(0, 1fr)) }
}
@media (min-width: 761px) and (max-width: 1099px) {
  .step .plots:has(> :nth-child(3):last-child) > :last-child { grid-column: 1 / -1 }
}
@media (max-width: 760px) { nav { position: static } nav ol { display: none } }
@media print { nav { display: none } .step[hidden] { display: block } }
"""

_TURN = """
const all = [...document.querySelectorAll(".step")], links = [...document.querySelectorAll("nav ol a")]
const back = document.getElementById("back"), next = document.getElementById("next")
const drawn = new Set()
let now = -1
const asked = () => {
  const number = /^#step-([0-9]+)$/.exec(location.hash)
  return number ? Math.min(Math.max(Number(number[1]) - 1, 0), all.length - 1) : 0
}
const show = (place) => {
  if (place === now) { return }
  const first = now < 0
  now = place
  all.forEach((step, each) => { step.hidden = each !== place })
  links.forEach((link, each) => each === place ? link.setAttribute("aria-current", "step")
                                               : link.removeAttribute("aria-current"))
  back.disabled = place === 0
  next.disabled = place === all.length - 1
  document.getElementById("where").textContent = `Step ${place + 1} of ${all.length}`
  if (!drawn.has(place)) { drawn.add(place); steps[place]() }
  if (!first) { scrollTo(0, 0); all[place].querySelector("h2").focus({preventScroll: true}) }
}
const turn = (by) => {
  const place = Math.min(Math.max(now + by, 0), all.length - 1)
  history.replaceState(null, "", `#step-${place + 1}`)
  show(place)
}
back.onclick = () => turn(-1)
next.onclick = () => turn(1)
addEventListener("hashchange", () => show(asked()))
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) { return }
  const by = {ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1}[event.key]
  if (by) { event.preventDefault(); turn(by) }
})
show(asked())
"""
