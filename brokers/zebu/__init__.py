"""Zebu MYNT, a Noren order system (https://zebumyntapi.web.app/OAuth)."""
