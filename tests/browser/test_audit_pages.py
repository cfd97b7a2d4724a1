"""The auditor's form and pages in Chromium, on a desk, a phone and paper: nothing clipped, no barrier found by axe."""

import re
from dataclasses import replace

import pytest

from app.reports.certificate import certificate_page
from app.reports.deliveries import deliveries_page
from app.reports.exposure import exposure_page
from app.reports.retention import retention_page
from app.reports.words import LANGUAGES
from app.runtime.settings import Settings
from tests.acceptance.people import ok, send
from tests.acceptance.service import until
from tests.browser.reader import Reader
from tests.unit.reports.test_pages import CERTIFICATE, DELIVERIES, EXPOSURE, ID, NOW, RETENTION

REPORTS = ["retention", "checkpoint", "exposure", "deliveries", "consistency", "certificate"]
SCREENS = {"desk": (1280, 800), "phone": (390, 844), "small": (320, 600)}
A4 = (688, 1017)
"""Pixels of a sheet within its margins of 14 mm, at 96 to the inch."""

CLIPPED = """() => [...document.querySelectorAll('h1, p, td, th, pre, input, button, fieldset, legend')].filter(it => {
  const box = it.getBoundingClientRect();
  const hidden = it.closest('thead') && getComputedStyle(it.closest('thead')).position === 'absolute';
  const outside = box.right > innerWidth + 0.5 || box.left < -0.5;
  return !hidden && (outside || it.clientWidth > 0 && it.scrollWidth > it.clientWidth + 1);
}).map(it => it.outerHTML.slice(0, 120))"""

LONG = "Agence régionale de santé d’Île-de-France, à l’attention de Mme Durand-Delacroix-Montmorency"
SETTINGS = Settings(
    organisation="Centre hospitalier universitaire des Essais et Vérifications", contact="x@example.org"
)


def everything(language):
    """Pages with long names, large numbers and every table."""
    million = [
        replace(each, recipient=name, bytes=10**12, shares=10**5, downloads=10**6)
        for each, name in zip(DELIVERIES.by_recipient, (LONG, None), strict=True)
    ]
    unfetched = [replace(each, recipients=[LONG, "B"], depositor=LONG) for each in DELIVERIES.never_fetched]
    receipt = "\n".join(
        ["c2sp.org/tlog-proof@v1", f"extra {'e' * 600}", "index 1", *["h" * 44] * 27, "", "c" * 60, "— x y"]
    )
    certificate = replace(CERTIFICATE, receipt=receipt, public_key="caducee.log/" + "k" * 90)
    return {
        "certificate": certificate_page(certificate, SETTINGS, language),
        "deliveries": deliveries_page(
            replace(DELIVERIES, by_recipient=million, never_fetched=unfetched), SETTINGS, language
        ),
        "exposure": exposure_page(EXPOSURE, SETTINGS, language),
        "retention": retention_page(RETENTION, SETTINGS, language),
    }


@pytest.fixture(scope="module")
def shared(site):
    """An auditor's token, a kept checkpoint, and a transfer whose deletion is verified and signed."""
    transfer = send(site.staff, recipient=LONG).transfer_id
    send(site.staff, recipient=LONG)
    ok(site.staff.delete(f"/api/v1/transfers/{transfer}"), 204)
    until(lambda: site.staff.get(f"/api/v1/transfers/{transfer}/receipt").status_code == 200, what="a receipt")
    note = site.installation.run("audit", "checkpoint", "--json").json["note"]
    return {"token": site.installation.token("auditor"), "kept": note, "transfer": transfer}


@pytest.mark.parametrize(
    ("language", "screen"),
    [
        ("fr", "phone"),
        ("en", "desk"),
        pytest.param("fr", "desk", marks=pytest.mark.external),
        pytest.param("en", "phone", marks=pytest.mark.external),
    ],
)
def test_an_auditor_gets_every_report_from_the_form(site, browser, axe, shared, language, screen):
    width, height = SCREENS[screen]
    scheme = "dark" if (language, screen) in {("fr", "desk"), ("en", "phone")} else "light"
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    form = Reader.in_tab_of(context, axe)
    form.page.goto(f"{site.road.origin}/audit?lang={language}")
    assert form.barriers() == []
    for name, value in {**shared, "from": "2020-01-01"}.items():
        form.page.fill(f"[name={name}]", value)
    for report in REPORTS:
        with context.expect_page() as opened:
            form.page.click(f'[formaction="/audit/{report}"]')
        page = opened.value
        page.wait_for_load_state()
        assert page.evaluate("document.documentElement.lang") == language
        assert shared["token"] not in page.url + page.content()
        assert page.evaluate(CLIPPED) == [], report
        copy = Reader.in_tab_of(context, axe)  # the page itself runs no script, so axe's timers would never fire
        copy.page.set_content(page.content())
        assert copy.barriers() == [], report
        copy.page.close()
        page.close()
    assert context.cookies() == []
    assert form.page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
    context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_clipped_on_any_screen_or_sheet(browser, language):
    page = browser.new_page()
    for name, html in everything(language).items():
        for width, height in (*SCREENS.values(), A4):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(media="print" if (width, height) == A4 else "screen")
            page.set_content(html)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (name, width)
            assert page.evaluate(CLIPPED) == [], (name, width)
    page.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_certificate_is_one_sheet(browser, language):
    """Also with a receipt from a log of a hundred million entries."""
    page = browser.new_page()
    page.set_content(everything(language)["certificate"])
    assert re.findall(rb"/Count (\d+)", page.pdf(prefer_css_page_size=True)) == [b"1"]
    page.close()


def test_a_page_shows_what_the_test_has_put_there(browser):
    """The fixtures above are really shown: an empty page clips nothing."""
    page = browser.new_page()
    page.set_content(everything("fr")["deliveries"])
    assert page.get_by_text(LONG).count() >= 3
    assert page.get_by_text(ID).count() >= 2
    assert str(NOW.year) in page.content()
    page.close()
