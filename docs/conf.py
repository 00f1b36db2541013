"""Configuration of the documentation: ``sphinx-build -W --keep-going -b html docs docs/_build/html``."""

import os
import sys
import warnings
from pathlib import Path

import matplotlib
import sphinx_autosummary_accessors

import xforecast  # registers the accessor, which is documented as a member of xarray's classes

sys.path.insert(0, str(Path(__file__).parent))
import floors

floors.write()  # the table of floors in CONTRIBUTING.md

matplotlib.use("agg")
warnings.filterwarnings("ignore", message=".*non-interactive.*")

project = "xforecast"
author = "The xforecast developers"
copyright = "The xforecast developers"
version = release = xforecast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_autosummary_accessors",
    "numpydoc",
    "myst_parser",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/**.ipynb", "gallery/**.py", "gallery/**.md5", "gallery/**.zip"]
templates_path = ["_templates", sphinx_autosummary_accessors.templates_path]
default_role = "py:obj"

# Links into other projects need their inventories, so a build takes them only when asked to.
if os.environ.get("XFORECAST_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "xarray": ("https://docs.xarray.dev/en/stable", None),
        "dask": ("https://docs.dask.org/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

# -- reference ------------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# -- gallery --------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "ignore_repr_types": r"matplotlib",
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("xforecast",),
    "reference_url": {"xforecast": None},
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1,
    "plot_gallery": "True",
}
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 110)]
plot_rcparams = {"savefig.bbox": "tight"}

# -- pages ----------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "xforecast"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "xforecast"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
pages_without_sidebar = ("install", "concepts", "contract", "weights", "changelog", "contributing", "gallery/0*")
html_sidebars = {page: [] for page in pages_without_sidebar}
