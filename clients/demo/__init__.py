"""The demo: one whole trading day, told from outside (docs/demo.md).

Nothing of the project's Python is imported here: the demo starts ``manage.py`` as an operator
would and otherwise only speaks HTTP, so that what it measures is what partners get.
"""
