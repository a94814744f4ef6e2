"""The demo: one whole trading day, driven and observed from outside (docs/demo.md).

It imports none of the project's Python: it starts ``manage.py`` as an operator would and otherwise
only uses HTTP, so that it measures what partners get.
"""
