"""How Sphinx makes a site of these pages: `make docs`."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "anirank"
version = release = version_of("anirank")
root_doc = "README"  # what a git host shows of the folder; `index.html` is the same
exclude_patterns = ["site"]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "docs.site.docstrings",
    "docs.site.generated",
    "docs.site.navigation",
    "docs.site.sources",
]

myst_heading_anchors = 4  # links name headings as git hosts do

# What does not lead anywhere is a warning, and `make docs` makes errors of warnings.
nitpicky = True
nitpick_ignore_regex = [
    # The inventories of other packages are on the network.
    (
        r"py:.*",
        r"(collections|enum|numpy|os|pathlib|types|typing|grpc)\..*|np\..*|NDArray|builtins\..*",
    ),
    # Words between backticks in a docstring: most are code, some are names that this site has.
    (r"py:obj", r".*"),
]
smartquotes = False  # "--" is an option's beginning
default_role = "py:obj"
add_module_names = False
autoclass_content = "both"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"  # its fonts are the reader's own: a page loads nothing from elsewhere
html_title = f"anirank {version}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["site/static"]
html_css_files = ["site.css"]
pygments_style = "friendly"
pygments_dark_style = "github-dark"
