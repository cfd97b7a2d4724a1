"""Reports as self-contained HTML pages that a DPO can file: they load no external resources and contain no scripts."""

from __future__ import annotations

from datetime import datetime


def report_page(template: str, **shown: object) -> str:
    """Render a template of this folder as HTML. All values are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # slow to import, and most commands render no page

    environment = Environment(
        loader=PackageLoader("app", "terminal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    return environment.get_template(template).render(**shown)


def _moment(value: datetime | None) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S UTC") if value else "never"
