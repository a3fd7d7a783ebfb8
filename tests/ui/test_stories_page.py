"""Each story, gone through from its first step to its last: on the live page, and as a file without any network."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from ui_helpers import PATIENCE, Server, View

from prdp_explorer.dashboard import story_page
from prdp_explorer.stories import STORIES, Story, recorded

pytestmark = pytest.mark.ui

EVERY = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)

DRAWN = """canvas => {
    const copy = new OffscreenCanvas(90, 60).getContext("2d", {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0, 90, 60)
    return new Set(new Uint32Array(copy.getImageData(0, 0, 90, 60).data.buffer)).size > 5
}"""

END_OF_EPOCHS = """() => [...Bokeh.documents[0].all_models].find(
    model => model.type === "Figure" && model.title.text.startsWith("How much physics")).x_range.end"""

EARLY = {
    ("coarse-suffices", 0): 30,
    ("coarse-is-not-enough", 0): 6,
    ("thresholds", 0): 25,
    ("diverging-start", 0): 20,
    ("navier-stokes", 1): 12,
}
"""Of steps, from 0, that show the first epochs of a race: how far its axes go."""

FIGURES = {"Race": 4, "Why": 4, "Fields": 3, "Labs": 3}
"""How many figures there are to be seen at least."""


def expect_drawn(page: Page, place: str, at_least: int) -> None:
    """Wait until figures are there, and look at what is drawn."""
    plots = page.locator(f"{place} .bk-Figure:visible")
    expect(plots.nth(at_least - 1)).to_be_visible(timeout=PATIENCE)
    for number in range(at_least):
        canvas = plots.nth(number).locator("canvas").first.element_handle(timeout=PATIENCE)
        page.wait_for_function(DRAWN, arg=canvas, timeout=PATIENCE)


@EVERY
def test_live(story: Story, view: View):
    page = view.page
    view.open_tab("Stories")
    page.get_by_role("button", name=f"Begin “{story.title}”").click()
    runs = recorded(story)
    steps = story.tell(runs)
    for place, step in enumerate(steps):
        if place:
            page.get_by_role("button", name="Next", exact=True).click()
        expect(page.get_by_text(f"{story.title} · step {place + 1} of {len(steps)}")).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_role("heading", name=step.heading, exact=True)).to_be_visible()
        expect(page.get_by_role("tab", name=step.tab, exact=True)).to_have_attribute("aria-selected", "true")
        expect_drawn(page, "main", 1)
        if step.tab == "Race" and step.axis == "epoch":
            epochs = max(runs[label].kept.epochs_requested for label in step.runs)
            if step.epoch:
                assert step.epoch < epochs
                epochs = EARLY[story.id, place]
            page.wait_for_function(f"epochs => ({END_OF_EPOCHS})() === epochs", arg=epochs, timeout=PATIENCE)
        expect(page.locator("main .bk-Figure:visible").nth(FIGURES[step.tab] - 1)).to_be_attached(timeout=PATIENCE)
        page.wait_for_function(f"() => location.search.endsWith('story={story.id}&story_step={place + 1}')")
    expect(page.get_by_role("button", name="Next", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Leave the story").click()
    expect(page.get_by_role("heading", name=steps[-1].heading, exact=True)).to_be_hidden()


@EVERY
def test_as_a_file(story: Story, browser: Browser, tmp_path: Path):
    file = tmp_path / "story.html"
    file.write_text(story_page(story), encoding="utf-8")
    steps = story.tell(recorded(story))
    for width in (1440, 390) if story is next(iter(STORIES.values())) else (1440,):  # each costs seconds
        complaints: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 1000}, offline=True)
        page = context.new_page()
        page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)  # noqa: B023
        page.on("pageerror", lambda error: complaints.append(str(error)))  # noqa: B023
        page.on("request", lambda asked: complaints.append(asked.url[:200]) if asked.url != file.as_uri() else None)  # noqa: B023
        page.goto(file.as_uri())
        for place, step in enumerate(steps):
            expect(page.get_by_role("status").first).to_have_text(f"Step {place + 1} of {len(steps)}")
            expect(page.get_by_role("heading", name=f"{place + 1}. {step.heading}", exact=True)).to_be_visible()
            expect(page.locator(".step:visible .look")).to_have_text(step.look_at)
            expect_drawn(page, ".step:visible", FIGURES[step.tab])
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            page.keyboard.press("PageDown" if place % 2 else "ArrowRight")
        expect(page.get_by_role("button", name="Next")).to_be_disabled()
        page.keyboard.press("ArrowLeft")
        assert page.url.endswith(f"#step-{len(steps) - 1}")
        if width == 390:
            page.reload()  # costs seconds, too
        expect(page.get_by_role("status").first).to_have_text(f"Step {len(steps) - 1} of {len(steps)}")
        page.get_by_role("button", name="Back").click()
        expect(page.get_by_role("status").first).to_have_text(f"Step {len(steps) - 2} of {len(steps)}")
        context.close()
        assert [each for each in complaints if not each.startswith(file.as_uri())] == []


def test_a_link_opens_a_step(page: Page, server: Server):
    View(page, server).open(server.address(query="?story=thresholds&story_step=2"))
    expect(page.get_by_role("heading", name="Too eager", exact=True)).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Leave the story").click()
    expect(page.get_by_role("heading", name="Too eager", exact=True)).to_be_hidden()
