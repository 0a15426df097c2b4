"""How the site is built; warnings are errors (`make docs`)."""

project = "Plumbline"
author = "The Plumbline authors"
project_copyright = "The Plumbline authors"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Plumbline"
exclude_patterns = ["_build"]
