"""Console pages that ask for confirmation, and act only on what they asked about.

What a page showed (its sentences, and on a second page the exact figures) travels back with the
answer as a signed digest, the *seal*. If the seal no longer fits, because the row changed, because
somebody typed another figure, or because nobody was asked, the page asks again.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.enums import ActionVariant

from quantleap.core.admin_columns import in_rupees
from quantleap.core.dates import day_text, moment_text
from quantleap.core.errors import DomainError
from quantleap.core.widgets import dress

if TYPE_CHECKING:

    def _action(**options: Any) -> Callable[[Any], Any]:
        """unfold's button on a detail page, untyped there."""
        raise NotImplementedError
else:
    from unfold.decorators import action as _action

#: A page that was open for longer asks again.
SEAL_SECONDS: Final = 3600
_SALT: Final = "quantleap.console.confirmation"
PAGE: Final = "console/confirm.html"

CHANGED: Final = (
    "This page has changed since you opened it: somebody was quicker, or the button was "
    "pressed twice. Read it again, and confirm if it is still what you want."
)
OTHER_FIGURES: Final = (
    "These are not the figures you were asked about. Read them, and confirm again."
)


def seal(*parts: Iterable[object]) -> str:
    """Signed digests of what a page shows, one for each part, for its hidden field ``seal``.

    A first page seals its facts, a second page its facts and its figures.
    """
    return signing.TimestampSigner(salt=_SALT).sign(".".join(map(_digest, parts)))


def sealed(posted: str, *parts: Iterable[object], expires: bool = True) -> bool:
    """Whether ``posted`` is the seal of these parts, and not older than :data:`SEAL_SECONDS`.

    Without ``expires`` the seal may have any age: for facts that do not change by themselves, when
    a lost moment is worse than an old page.
    """
    return _digests(posted, expires=expires) == [_digest(part) for part in parts]


def _digests(posted: str, *, expires: bool) -> list[str]:
    """The digests in a seal; an empty list if the seal is not ours or too old."""
    oldest = SEAL_SECONDS if expires else None
    try:
        digests = signing.TimestampSigner(salt=_SALT).unsign(posted, max_age=oldest)
    except signing.BadSignature:
        return []
    return digests.split(".")


def _digest(facts: Iterable[object]) -> str:
    text = json.dumps([str(fact) for fact in facts])
    return hashlib.sha256(text.encode()).hexdigest()


class ConfirmForm(forms.Form):
    """Fields of a confirmed action; subclasses add theirs. Posted with ``confirm=yes``.

    ``obj`` is the row in question: checks that need it belong in ``clean_<field>``, so that a wrong
    figure is refused beside its field, before the page asks for confirmation.
    """

    def __init__(self, *args: Any, obj: Any = None, **kwargs: Any) -> None:
        self.obj = obj
        super().__init__(*args, **kwargs)
        dress(self.fields.values())

    @classmethod
    def starting(cls, obj: Any) -> dict[str, Any]:
        """The fields' initial values for ``obj``."""
        return {}

    def refuse(self, error: DomainError) -> list[str]:
        """Put a service's errors beside their fields; returns the messages that belong to no
        field."""
        beside = {name: text for name, text in error.details.items() if name in self.fields}
        for name, text in beside.items():
            self.add_error(name, text)
        if beside and len(beside) == len(error.details):
            return []
        return _words(error)

    def shown(self) -> list[tuple[str, str]]:
        """Label and value of each visible field, as people read them."""
        return [
            (str(field.label), _value_words(field, self.cleaned_data.get(field.name)))
            for field in self.visible_fields()
        ]


def _value_words(field: Any, value: Any) -> str:
    choices = dict(getattr(field.field, "choices", ()) or ())
    if isinstance(value, list | tuple):
        return ", ".join(str(choices.get(choice, choice)) for choice in value) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return moment_text(value, seconds=True)
    if isinstance(value, dt.date):
        return day_text(value)
    if isinstance(value, Decimal):
        return in_rupees(value)  # no page asks about another fraction
    return "–" if value in (None, "") else str(choices.get(value, value))


def _words(error: DomainError) -> list[str]:
    """The error's own message, or its details if it has none."""
    if error.message != error.error or not error.details:
        return [error.message]
    return [f"{name}: {text}" for name, text in error.details.items()]


class Answer(enum.Enum):
    """What a posted page of :class:`FiguresPage` asks for."""

    #: Back to what was typed.
    CHANGE = enum.auto()
    #: The second page.
    ASK = enum.auto()
    #: The second page, with :data:`CHANGED`: the figures are not those that it showed.
    CHANGED = enum.auto()
    #: What it showed.
    ACT = enum.auto()


Perform = Callable[[Any, HttpRequest, Any, dict[str, Any]], "str | HttpResponse"]


def confirmed(
    *,
    description: str,
    explain: str | None = None,
    context: str | None = None,
    form: type[ConfirmForm] = ConfirmForm,
    permission: str = "change",
    icon: str | None = None,
    danger: bool = False,
    twice: bool = False,
    moving: bool = False,
    template: str = PAGE,
) -> Callable[[Perform], Any]:
    """Turn ``method(self, request, obj, data) -> message`` into a page that asks before it acts.

    GET explains (the method named by ``explain`` returns the sentences, the one named by
    ``context`` more of the template's context) and shows ``form``. POST with ``confirm=yes`` and
    the page's ``seal`` calls the method, which must call a service, and shows its message on the
    change page. A response that the method returns, such as a page with a show-once secret, is sent
    as it is. A DomainError is shown with its own message and status, beside the fields that it
    names. With ``twice`` a second page repeats the exact figures and posts ``again=yes``. Name the
    method in ``actions_detail``.

    If the sentences, a fact named ``bound`` in the context, or (with ``twice``) the figures are not
    what the page showed, it asks again (409). Sentences in ``moving`` change by themselves and are
    left out of the seal. ``permission`` is checked as ``has_<permission>_permission`` of the page.
    """

    question = _Question(
        description, explain, context, form, permission, danger, twice, moving, template
    )

    def decorate(method: Perform) -> Any:
        @functools.wraps(method)
        def page(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
            return question.page(self, request, object_id, method)

        page.asks = question  # type: ignore[attr-defined]  # a test looks which pages ask
        return _action(
            description=description,
            url_path=method.__name__.replace("_", "-"),
            permissions=[permission],
            icon=icon,
            variant=ActionVariant.DANGER if danger else ActionVariant.DEFAULT,
        )(page)

    return decorate


@dataclass(slots=True)
class _State:
    """The progress of one request: what it shows, and with which status."""

    form: ConfirmForm
    status: int = 200
    ask_again: bool = False
    errors: list[str] | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """The page of one confirmed action; see :func:`confirmed`."""

    description: str
    explain: str | None
    context: str | None
    form: type[ConfirmForm]
    permission: str
    danger: bool
    twice: bool
    moving: bool
    template: str

    def page(
        self, owner: Any, request: HttpRequest, object_id: str, method: Perform
    ) -> HttpResponse:
        """Ask for confirmation, or act and return to the change page."""
        obj = owner.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not getattr(owner, f"has_{self.permission}_permission")(request, obj):
            raise PermissionDenied
        context = self._page_context(owner, request, obj)
        facts = self._facts(request, owner, obj, method, context)
        posted = request.method == "POST" and request.POST.get("confirm") == "yes"
        back = reverse(change_page(owner), args=[obj.pk])
        if not posted:
            state = _State(self.form(initial=self.form.starting(obj), obj=obj))
        else:
            state = self._answer(request, obj, facts)
            if state.status == 200 and not state.ask_again and not _wants_change(request):
                outcome = self._act(owner, request, obj, method, state)
                if isinstance(outcome, HttpResponse):
                    return outcome
                if outcome is not None:
                    messages.success(request, outcome)
                    return HttpResponseRedirect(back)
                context = self._page_context(owner, request, obj)
                facts = self._facts(request, owner, obj, method, context)
        asked = (facts, _figures(state.form)) if state.ask_again else (facts,)
        return question_page(
            owner,
            request,
            state.form,
            title=f"{self.description}: {obj}",
            button=self.description,
            danger=self.danger,
            errors=state.errors or [],
            status=state.status,
            figures=state.form.shown() if state.ask_again else [],
            ask_again=state.ask_again,
            seal=seal(*asked),
            back=back,
            template=self.template,
            more={"original": obj, **context},
        )

    def _page_context(self, owner: Any, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """The template context that the page shows before it acts."""
        context: dict[str, Any] = {}
        if self.explain is not None:
            context["sentences"] = list(getattr(owner, self.explain)(request, obj))
        if self.context is not None:
            context |= getattr(owner, self.context)(request, obj)
        return context

    def _facts(
        self,
        request: HttpRequest,
        owner: Any,
        obj: Any,
        method: Perform,
        context: Mapping[str, Any],
    ) -> list[object]:
        """The sealed facts: who is asked to do what to which row."""
        said = () if self.moving else context.get("sentences", ())
        who = request.user.pk
        return [owner.opts.label, method.__name__, obj.pk, who, context.get("bound", ""), *said]

    def _answer(self, request: HttpRequest, obj: Any, facts: list[object]) -> _State:
        """The state that a posted form leads to; only a state of 200 that does not ask again may
        act."""
        form = self.form(request.POST, obj=obj)
        posted = request.POST.get("seal", "")
        if not form.is_valid():
            return _State(form, status=400)
        if _wants_change(request):
            return _State(form)
        if not self.twice:
            if sealed(posted, facts):
                return _State(form)
            return _State(self._as_of_now(request, obj), status=409, errors=[CHANGED])
        if request.POST.get("again") != "yes":
            return _State(form, ask_again=True)
        figures = _figures(form)
        if sealed(posted, facts, figures):
            return _State(form)
        if _digests(posted, expires=False)[1:] != [_digest(figures)]:
            return _State(form, status=409, ask_again=True, errors=[OTHER_FIGURES])
        form = self._as_of_now(request, obj)
        return _State(form, status=409, ask_again=form.is_valid(), errors=[CHANGED])

    def _as_of_now(self, request: HttpRequest, obj: Any) -> ConfirmForm:
        """The typed values, with the hidden fields of a page that is opened now.

        The hidden fields record what a person read before they decided. A person who is asked again
        reads it anew; a page that kept the old fields would be refused for ever.
        """
        typed = request.POST.copy()
        hidden = {field.name for field in self.form(obj=obj).hidden_fields()}
        for name, value in self.form.starting(obj).items():
            if name in hidden:
                typed[name] = str(value)
        return self.form(typed, obj=obj)

    def _act(
        self, owner: Any, request: HttpRequest, obj: Any, method: Perform, state: _State
    ) -> str | HttpResponse | None:
        """The action's outcome; None if it was refused, with the reason in ``state``."""
        try:
            return method(owner, request, obj, state.form.cleaned_data)
        except DomainError as error:
            state.errors, state.status = state.form.refuse(error), error.status
            return None


def question_page(
    owner: Any,
    request: HttpRequest,
    form: ConfirmForm,
    *,
    title: str,
    button: str,
    back: str,
    figures: Sequence[tuple[str, str]] = (),
    ask_again: bool | None = None,
    seal: str = "",
    errors: Sequence[str] = (),
    status: int = 200,
    danger: bool = False,
    template: str = PAGE,
    more: Mapping[str, Any] | None = None,
) -> TemplateResponse:
    """A page of ``owner``'s that asks: what is typed, or (with ``figures``) once more what was.

    ``seal`` is posted back as it is; ``more`` is the template's context beyond this, such as the
    ``sentences`` that explain and the ``again_words`` of the second page.
    """
    shown = {
        **owner.admin_site.each_context(request),
        "opts": owner.opts,
        "title": title,
        "description": button,
        "danger": danger,
        "form": form,
        "errors": errors,
        "ask_again": bool(figures) if ask_again is None else ask_again,
        "figures": figures,
        "seal": seal,
        "back": back,
        **(more or {}),
    }
    return TemplateResponse(request, template, shown, status=status)


class FiguresPage:
    """For pages that ask about something that is no row yet: first what, then its figures.

    A mixin of a page of the console. It keeps what ``confirmed`` keeps for a row: nothing is done
    but what the second page showed to the same person.
    """

    admin_site: Any
    opts: Any

    @staticmethod
    def answered(request: HttpRequest, figures: Sequence[tuple[str, str]]) -> Answer:
        """What a valid form's POST asks for, ``figures`` being what it comes to now."""
        if _wants_change(request):
            return Answer.CHANGE
        if request.POST.get("again") != "yes":
            return Answer.ASK
        if not sealed(request.POST.get("seal", ""), [request.user.pk], figures):
            return Answer.CHANGED
        return Answer.ACT

    def figures_page(
        self,
        request: HttpRequest,
        form: ConfirmForm,
        *,
        figures: Sequence[tuple[str, str]] = (),
        sentences: Sequence[str],
        again_words: str,
        **options: Any,
    ) -> TemplateResponse:
        """The first page, or with ``figures`` the second; ``options`` of :func:`question_page`."""
        return question_page(
            self,
            request,
            form,
            figures=figures,
            seal=seal([request.user.pk], figures) if figures else "",
            more={"sentences": sentences, "again_words": again_words},
            **options,
        )


def _wants_change(request: HttpRequest) -> bool:
    """Whether the person goes back from the second page to change the form."""
    return "change" in request.POST


def _figures(form: ConfirmForm) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(form.cleaned_data.items())]


def change_page(page: Any) -> str:
    """The URL name of a page's change view."""
    return f"{page.admin_site.name}:{page.opts.app_label}_{page.opts.model_name}_change"
