"""List every link of the site that leads out of it, with the pages it stands on: `python tools/links.py [_site]`.

Nothing is fetched: whether an address still answers is for a person, or for a link checker, to see.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]


def external(site: Path) -> dict[str, list[str]]:
    """Address -> the pages that link to it, in both languages."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(site.glob("[ez][nh]/*.html")):
        article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find("article")
        for link in article.find_all("a", href=True) if article else []:
            address = str(link["href"])
            if urlsplit(address).scheme in ("http", "https"):
                found[address].add(path.relative_to(site).with_suffix("").as_posix())
    return {address: sorted(found[address]) for address in sorted(found, key=lambda a: (urlsplit(a).netloc, a))}


def main() -> None:
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_site"
    if not (site / "en").is_dir():
        raise SystemExit(f"links: no site in {site}; `make site` builds it")
    links = external(site)
    for address, pages in links.items():
        print(f"{address}  ({', '.join(pages)})")
    print(f"{len(links)} addresses on {len({urlsplit(address).netloc for address in links})} servers")


if __name__ == "__main__":
    main()
