"""What mkdocs calls while it builds the site."""

import equations
import excerpts
import links
import parameters
import readme
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ALWAYS = ["reports/study.md", "reports/busi/study.md", "CONTRIBUTING.md", "CHANGELOG.md"]  # the navigation's


def _source(page: Page) -> str:
    """The repository's file that a page is made of."""
    uri = page.file.src_uri
    return uri.removeprefix("repo/") if uri.startswith("repo/") else f"docs/{uri}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in what the pages lead to outside of docs/."""
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for target in sorted({*ALWAYS, *links.outside([*pages, *ALWAYS])}):
        place = links.place(target)
        if place == f"repo/{target}":
            files.append(File.generated(config, place, abs_src_path=str(links.ROOT / target)))
        else:
            files.append(File.generated(config, place, content=links.text_of(target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is generated, and turn the links to where the site has their ends."""
    source = _source(page)
    if not (links.ROOT / source).is_file():  # the text of a program: its brackets are no links
        page.meta["search"] = {"exclude": True}
        return markdown
    for mark, made in ((parameters.MARK, parameters.page), (readme.MARK, readme.table)):
        if f"\n{mark}\n" in markdown:
            markdown = markdown.replace(mark, made())
    return links.moved(source, excerpts.included(markdown))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw the formulas."""
    return equations.drawn(html)
