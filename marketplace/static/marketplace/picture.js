/* The pay-off picture: follows the form as it is typed. Estimates only; the server says from what. */
"use strict";

(() => {
  const PAUSE = 350; // milliseconds without typing before the server is asked
  const GAIN = "22, 163, 74";
  const LOSS = "220, 38, 38";
  const LINES = ["#0284c7", "#9333ea", "#d97706", "#0d9488", "#be185d"];
  const rupees = new Intl.NumberFormat("en-IN", { style: "currency", currency: "INR", maximumFractionDigits: 0 });
  const level = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 0 });

  const money = (value) => (value === null ? "unlimited" : rupees.format(value));

  /** A vertical line where the index stands now. */
  const spotLine = {
    id: "spotLine",
    afterDatasetsDraw(chart, args, options) {
      const { ctx, chartArea, scales } = chart;
      if (!options.spot) return;
      const x = scales.x.getPixelForValue(options.spot);
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = options.colour;
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(x, chartArea.top);
      ctx.lineTo(x, chartArea.bottom);
      ctx.stroke();
      ctx.font = "11px Inter, sans-serif";
      ctx.fillText(level.format(options.spot), Math.min(x + 6, chartArea.right - 50), chartArea.top + 12);
      ctx.restore();
    },
  };

  function figure(name, value) {
    const item = document.createElement("span");
    const strong = document.createElement("strong");
    strong.textContent = value;
    item.append(`${name} `, strong);
    return item;
  }

  /** What each strategy costs and may bring; with its name where there are others. */
  function figures(pictures, named) {
    const holder = document.getElementById("ql-figures");
    holder.replaceChildren();
    for (const picture of pictures) {
      const premium = picture.net_premium;
      const row = document.createElement("div");
      row.className = "ql-payoff-figures";
      if (named) row.append(figure("", picture.strategy));
      row.append(
        figure(premium >= 0 ? "Premium received" : "Premium paid", rupees.format(Math.abs(premium))),
        figure("Max profit", money(picture.max_profit)),
        figure("Max loss", money(picture.max_loss && Math.abs(picture.max_loss))),
        figure("Break-even", picture.break_evens.map((one) => level.format(one)).join(", ") || "none"),
      );
      holder.append(row);
    }
  }

  function draw(chart, pictures) {
    const dark = document.documentElement.classList.contains("dark");
    const grid = dark ? "rgba(255,255,255,0.08)" : "rgba(0,0,0,0.06)";
    const ink = dark ? "#9ca3af" : "#6b7280";
    chart.data.datasets = pictures.map((picture, index) => ({
      label: picture.strategy,
      data: picture.points.map(([x, y]) => ({ x, y })),
      borderColor: LINES[index % LINES.length],
      borderWidth: 2,
      pointRadius: 0,
      fill: pictures.length === 1
        ? { target: "origin", above: `rgba(${GAIN}, 0.14)`, below: `rgba(${LOSS}, 0.14)` }
        : false,
    }));
    const { scales, plugins } = chart.options;
    for (const scale of [scales.x, scales.y]) {
      scale.grid.color = grid;
      scale.ticks.color = ink;
    }
    const indices = new Set(pictures.map((picture) => picture.underlying));
    plugins.spotLine = { spot: indices.size === 1 ? pictures[0].spot : 0, colour: ink };
    plugins.legend.display = pictures.length > 1;
    plugins.legend.labels = { color: ink };
    chart.update("none");
  }

  function makeChart(canvas) {
    return new Chart(canvas, {
      type: "line",
      data: { datasets: [] },
      plugins: [spotLine],
      options: {
        animation: false,
        maintainAspectRatio: false,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: { type: "linear", bounds: "data", grid: {}, ticks: { maxTicksLimit: 9, callback: (value) => level.format(value) } },
          y: { grid: {}, ticks: { maxTicksLimit: 7, precision: 0, callback: (value) => rupees.format(value) } },
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            callbacks: {
              title: (items) => level.format(items[0].parsed.x),
              label: (item) => ` ${item.dataset.label}: ${rupees.format(item.parsed.y)}`,
            },
          },
        },
      },
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const editor = document.getElementById("ql-editor");
    const section = document.getElementById("ql-picture");
    if (!editor || !section || typeof Chart === "undefined") return;
    const note = document.getElementById("ql-picture-note");
    const canvas = section.querySelector(".ql-canvas");
    const gaps = document.getElementById("ql-picture-gaps");
    const empty = document.getElementById("ql-picture-empty");
    const chart = makeChart(document.getElementById("ql-payoff"));
    let timer = 0;
    let asked = null;
    let shown = [];

    /** The form as it stands, also where a reader may not change it. */
    function formData() {
      const locked = editor.querySelector("fieldset:disabled");
      if (locked) locked.disabled = false;
      const body = new FormData(editor.closest("form"));
      if (locked) locked.disabled = true;
      return body;
    }

    /** Pictures, what is missing in the others, or why there is nothing to see. */
    function show(pictures, notes) {
      shown = pictures;
      const about = pictures.map((one) => `${one.premium_source}; index: ${one.spot_source}; expiry ${one.expiry}`);
      note.textContent = [...new Set(about)].join(" · ");
      gaps.replaceChildren(...notes.map((text) => {
        const line = document.createElement("li");
        line.textContent = text;
        return line;
      }));
      gaps.hidden = notes.length === 0;
      empty.hidden = pictures.length > 0 || notes.length > 0;
      canvas.hidden = pictures.length === 0;
      figures(pictures, pictures.length + notes.length > 1);
      if (pictures.length) draw(chart, pictures);
    }

    async function ask() {
      asked?.abort();
      asked = new AbortController();
      try {
        const options = { method: "POST", body: formData(), signal: asked.signal };
        const response = await fetch(editor.dataset.payoffUrl, options);
        if (!response.ok) throw new Error(String(response.status));
        const answer = await response.json();
        show(answer.pictures, answer.notes);
      } catch (error) {
        if (error.name !== "AbortError") show([], ["The pay-off could not be drawn just now. Change a field to try again."]);
      }
    }

    section.hidden = false;
    editor.addEventListener("ql:changed", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, PAUSE);
    });
    new MutationObserver(() => shown.length && draw(chart, shown))
      .observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
    ask();
  });
})();
