"""The tab of kept runs in the browser: found, opened, named, deleted and brought back, compared, taken away."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from test_kept_page import finished
from ui_helpers import PATIENCE, View

pytestmark = pytest.mark.ui


def rows(view: View) -> Locator:
    return view.page.locator(".tabulator-row")


def cell(row: Locator, field: str) -> Locator:
    return row.locator(f"[tabulator-field={field}]")


def opened(view: View) -> View:
    """A race of a seed of its own, and the tab of kept runs with only its runs."""
    seed = str(time.time_ns() % 10**9)
    finished(view, Seed=seed)
    view.open_tab("Kept runs")
    view.page.get_by_role("textbox", name="Find runs").fill(f"seed {seed}")
    expect(rows(view)).to_have_count(2, timeout=PATIENCE)
    expect(rows(view).first).to_contain_text("100 of 100", timeout=PATIENCE)
    expect(rows(view).filter(has_text="finished")).to_have_count(2, timeout=PATIENCE)
    view.page.wait_for_timeout(3000)  # the table looks once a second; what is new of a run would end an edit
    return view


def button(view: View, name: str) -> Locator:
    return view.page.get_by_role("button", name=name, exact=True)


def test_runs_are_named_compared_deleted_and_brought_back(view: View):
    opened(view)
    prdp = rows(view).filter(has_text="PRDP")
    expect(cell(prdp, "saved")).to_have_text(re.compile(r"^[78]\d%$"), timeout=PATIENCE)
    cell(prdp, "name").click()
    view.page.keyboard.press("Control+A")
    view.page.keyboard.type("<b>mine</b>")
    view.page.keyboard.press("Enter")
    expect(cell(prdp, "name")).to_have_text("<b>mine</b>", timeout=PATIENCE)
    for words in ("PRDP", "full physics"):
        cell(rows(view).filter(has_text=words), "settings").click()
    expect(view.main.get_by_role("listitem").filter(has_text="<b>mine</b>")).to_be_visible(timeout=PATIENCE)
    button(view, "Delete").click()
    expect(view.main.get_by_text("Deleted 2 runs.")).to_be_visible(timeout=PATIENCE)
    expect(rows(view)).to_have_count(0)
    button(view, "Undo").last.click()  # the first is the bar's
    expect(rows(view)).to_have_count(2, timeout=PATIENCE)
    expect(cell(rows(view).filter(has_text="PRDP"), "name")).to_have_text("<b>mine</b>")


def test_a_note_is_written_by_keyboard_and_tab_leaves_the_table(view: View):
    opened(view)
    note = cell(rows(view).last, "note")
    note.focus()
    note.press("Enter")
    expect(note.locator("input")).to_be_focused(timeout=PATIENCE)
    view.page.keyboard.type("by keyboard")
    view.page.keyboard.press("Tab")
    expect(note).to_have_text("by keyboard", timeout=PATIENCE)
    expect(view.page.locator(".tabulator-row :focus, .tabulator-row:focus")).to_have_count(0)


def test_a_run_is_opened_from_the_table_and_taken_away_and_in(view: View, tmp_path: Path):
    opened(view)
    cell(rows(view).filter(has_text="PRDP"), "settings").click()
    expect(button(view, "Download")).to_be_enabled(timeout=PATIENCE)
    files: dict[str, Path] = {}
    kinds = ("Report: one web page (HTML)", "Records (CSV)", "The whole run, to import elsewhere")
    for kind in (*kinds, kinds[-1]):  # the same once more is sent once more
        view.choose("Take away", kind)
        with view.page.expect_download(timeout=3 * PATIENCE) as download:
            button(view, "Download").click()
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        files[file.suffix] = file
    assert files[".html"].read_text().startswith("<!DOCTYPE html>")
    assert len(files[".csv"].read_text().splitlines()) == 102

    button(view, "Delete").click()
    expect(rows(view)).to_have_count(1, timeout=PATIENCE)
    chooser = view.page.locator("input[type=file]")
    (tmp_path / "notes.prdp").write_text("no run at all")
    chooser.set_input_files(tmp_path / "notes.prdp")
    view.expect_alert("notes.prdp")
    chooser.set_input_files(files[".prdp"])
    view.expect_alert("already")
    button(view, "Undo").last.click()  # the first is the bar's
    expect(rows(view)).to_have_count(2, timeout=PATIENCE)

    cell(rows(view).filter(has_text="PRDP"), "settings").click()
    button(view, "Open").click()
    view.expect_state("Replay, finished")
    expect(view.log).to_be_visible()
    assert len(view.curves["PRDP"]["epoch"]) == 101
