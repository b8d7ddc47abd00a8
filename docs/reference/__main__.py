"""Write every generated page: `make reference`."""

from docs.reference.pages import PAGES, ROOT


def main() -> None:
    """Write the pages where they belong."""
    for place, make in PAGES.items():
        target = ROOT / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
