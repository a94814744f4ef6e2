/* What every page of the console does: go to the first field that is wrong, and name Django's
   tooltips, which have a label but no role. */
"use strict";

(() => {
  const WRONG = '[aria-invalid="true"]:not([type="hidden"])';
  const seen = (field) => field.getClientRects().length > 0;

  /** Open the tab of a form in which a field stands. */
  function openTab(field) {
    const pane = field.closest(".tab-wrapper");
    if (!pane) return;
    const panes = [...pane.parentElement.querySelectorAll(":scope > .tab-wrapper")];
    const tabs = pane.parentElement.querySelectorAll(":scope > div > nav > a");
    tabs[panes.indexOf(pane)]?.click();
  }

  function goToFirstError() {
    const wrong = [...document.querySelectorAll(WRONG)];
    const first = wrong.find(seen) || wrong[0];
    if (!first) return;
    if (!seen(first)) openTab(first);
    requestAnimationFrame(() => {
      first.focus({ preventScroll: true });
      first.scrollIntoView({ block: "center" });
    });
  }

  function nameTooltips() {
    for (const tip of document.querySelectorAll(".help-tooltip[aria-label]")) {
      tip.setAttribute("role", "img");
    }
  }

  window.addEventListener("load", () => {
    goToFirstError();
    setTimeout(nameTooltips); // Django's choosers are made at "load" too, after this
  });
})();
