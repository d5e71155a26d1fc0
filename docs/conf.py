"""How the documentation is built: ``python -m sphinx -W -n docs build/docs``.

The site needs no network, neither to be built nor to be read: system fonts, no analytics, and no
script but those that Sphinx and its theme bring along.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from billblend_async import __version__  # noqa: E402 - found by the path above

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "billblend_async"
version = release = __version__
language = "en"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_ext", "_build"]
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist", "tasklist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 76
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Without a network nobody knows where other people's types are documented; ours must all be found.
nitpick_ignore_regex = [(r"py:.*", r"(?!billblend_async\.).*")]

html_theme = "furo"
html_title = f"billblend_async {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
pygments_style = "tango"
pygments_dark_style = "github-dark"


def setup(app: "Sphinx") -> dict[str, bool]:
    """Tell Sphinx that pages may be read side by side."""
    del app
    return {"parallel_read_safe": True, "parallel_write_safe": True}
