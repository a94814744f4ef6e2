/* Keeps a page of the trading day fresh: reads it again and replaces the parts that say so.

   A part is an element with an id and data-live. Charts keep their canvas and take new figures.
   The page asks again only after an answer, never while it is hidden or somebody types in it. */
"use strict";

(() => {
  const EVERY = 3000;
  const root = document.querySelector("[data-live-page]");
  if (!root) return;

  const wait = () => setTimeout(refresh, EVERY);

  const colour = (value) => {
    const found = /^var\((.*?)\)$/.exec(value || "");
    return found ? getComputedStyle(document.documentElement).getPropertyValue(found[1]).trim() : value;
  };

  const redraw = (canvas, value) => {
    const chart = window.Chart && window.Chart.getChart(canvas);
    if (!chart || canvas.dataset.value === value) return;
    canvas.dataset.value = value;
    const fresh = JSON.parse(value);
    chart.data.labels = fresh.labels;
    fresh.datasets.forEach((dataset, index) => {
      Object.assign(chart.data.datasets[index], dataset, {
        borderColor: colour(dataset.borderColor),
        backgroundColor: colour(dataset.backgroundColor),
      });
    });
    chart.update("none");
  };

  const replace = (old, fresh) => {
    const canvases = [...old.querySelectorAll("canvas.chart")];
    const figures = [...fresh.querySelectorAll("canvas.chart")];
    if (canvases.length && canvases.length === figures.length) {
      canvases.forEach((canvas, index) => redraw(canvas, figures[index].dataset.value));
    } else if (figures.length) {
      location.reload(); // the first figures: let the page draw its charts
    } else if (old.innerHTML !== fresh.innerHTML) {
      old.innerHTML = fresh.innerHTML;
    }
  };

  const busy = () => document.hidden || root.contains(document.activeElement?.closest("select, input, textarea"));

  async function refresh() {
    if (busy()) return wait();
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return wait();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(old.id);
        if (fresh) replace(old, fresh);
      }
      if (!page.querySelector("[data-live-page]")) return;
    } catch {
      /* the server is away for a moment: ask again */
    }
    wait();
  }

  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-submit-on-change]");
    if (form) form.submit();
  });
  wait();
})();
