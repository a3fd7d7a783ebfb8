"""The address holds the setting, and what a person gives to others."""

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import FASTEST, PATIENCE, Server, View

pytestmark = pytest.mark.ui

WIDGETS = """() => {
    const found = []
    const walk = root => root.querySelectorAll('*').forEach(element => {
        if (element.matches('input, [role=combobox], [aria-pressed=true]') && element.checkVisibility())
            found.push(`${element.closest('label')?.innerText ?? element.ariaLabel ?? ''}|`
                + `${element.value}|${element.checked}|${element.innerText}`)
        if (element.shadowRoot) walk(element.shadowRoot)
    })
    walk(document)
    return found
}"""
"""What a person sees in all widgets of the page."""


def expect_address(view: View, **values: str) -> None:
    """Wait until the address holds these values."""
    wanted = [f"{name}={re.escape(value)}" for name, value in values.items()]
    expect(view.page).to_have_url(re.compile("".join(f"(?=.*[?&]{each}(&|$))" for each in wanted)), timeout=PATIENCE)


def test_a_link_brings_the_setting_back_exactly(view: View, server: Server, new_page: Callable[..., Page]):
    view.choose_scenario("Heat 2D emulator")
    expect_address(view, scenario="heat-2d", tau_step="0.9")
    steps = view.page.evaluate("history.length")
    view.choose("Inner solver", "gmres")
    view.choose("Differentiation mode", "one-step")
    slider = view.slider("τ_step")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    view.enter("Learning rate", "0.00123456789")
    view.enter("Seed", "4294967295")
    view.page.get_by_role("button", name="Add constant K").click()
    view.page.get_by_role("button", name="seconds", exact=True).click()
    view.page.get_by_role("button", name="equal time", exact=True).click()
    expect_address(
        view, solver="gmres", differentiation="one-step", tau_step="0.885", learning_rate="0.00123456789",
        seed="4294967295", axis="seconds", fairness="time",
    )  # fmt: skip
    expect(view.page).to_have_url(re.compile("contender=constant,solver:gmres,differentiation:one-step,iterations:5"))
    assert view.page.evaluate("history.length") == steps  # Back leaves the page, as it did

    address, shown = view.page.url, view.page.evaluate(WIDGETS)
    assert len(shown) > 20
    second = View(new_page(), server).open(address)
    expect(second.field("Seed")).to_have_value("4294967295", timeout=PATIENCE)
    for again in (False, True):
        if again:
            second.page.reload()
        second.page.wait_for_function(
            f"shown => JSON.stringify(({WIDGETS})()) === JSON.stringify(shown)", arg=shown, timeout=PATIENCE
        )
        assert second.page.url == address


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?race=%3Cscript%3Ealert(1)%3C/script%3E&a=b?c&theme=%ff", ("not kept any more", "'a' is no setting")),
        ("?run=%3Cscript%3Ealert(1)%3C/script%3E&k=1", ("There is no run", "'k' is no setting")),
        ("?story=%3Cscript%3E&tau_step=0.5&solver=<script>alert(1)</script>", ("no story", "`solver` must be one of")),
    ],
)
def test_a_bad_link_leaves_the_defaults_and_says_why(page: Page, server: Server, query: str, words: tuple[str, ...]):
    view = View(page, server).open(server.address(query=query))
    for each in words:
        expect(view.alerts.filter(has_text=each)).to_be_visible(timeout=PATIENCE)
    expect(view.field("Seed")).to_have_value("0")
    expect(view.field("τ_step")).to_have_value("0.98")
    expect_address(view, scenario="heat-1d", tau_step="0.98", seed="0")
    assert set(parse_qs(urlsplit(page.url).query)).isdisjoint({"race", "run", "story", "k", "a", "theme"})
    view.close_alerts()
    view.choose("Speed", FASTEST)
    view.enter("Epochs", "20")
    view.start.click()
    view.expect_state("Finished")
    assert view.race in server.inspect()["races"]


def test_what_is_shared_of_a_race_is_copied_and_saved(view: View):
    context = view.page.context
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.choose("Speed", FASTEST)
    view.enter("Epochs", "20")
    view.start.click()
    view.expect_state("Finished")
    share = view.page.get_by_role("button", name="Share", exact=True)
    share.click()
    dialog = view.page.get_by_role("dialog")
    for name, begin in (
        ("Link", view.page.url),
        ("Python", "from prdp_explorer import"),
        ("Command line", "python -m"),
    ):
        text = dialog.get_by_role("textbox", name=name)
        expect(text).to_have_value(re.compile(f"^{re.escape(begin)}"), timeout=PATIENCE)
        expect(text).not_to_be_editable()
        dialog.get_by_role("button", name=f"Copy {name}").click()
        expect(dialog.get_by_role("button", name=f"Copied: {name}")).to_be_visible(timeout=PATIENCE)
        assert view.page.evaluate("navigator.clipboard.readText()") == text.input_value()
    assert f"race={view.race}" in dialog.get_by_role("textbox", name="Link").input_value()
    for kind, start in (("PNG", b"\x89PNG"), ("SVG", b"<?xml")):
        with view.page.expect_download(timeout=PATIENCE) as download:
            dialog.get_by_role("button", name=f"Save figure ({kind})").click()
        assert download.value.suggested_filename == f"{view.race}.{kind.lower()}"
        assert download.value.path().read_bytes().startswith(start)

    # Over plain http from another machine there is no clipboard for the page, and the old way of copying is left.
    view.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true})")
    dialog.get_by_role("button", name=re.compile("Link$")).click()
    expect(dialog.get_by_role("button", name="Copied: Link")).to_be_visible(timeout=PATIENCE)
    view.page.evaluate("delete navigator.clipboard")
    assert view.page.evaluate("navigator.clipboard.readText()") == view.page.url
    view.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(share).to_be_focused()
