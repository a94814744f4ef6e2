/* The strategy editor: add, remove, reorder, duplicate strategies and legs; show only the fields
   that a chosen kind needs; draw the pay-off. The page works as a plain form without it. */
"use strict";

(() => {
  const rowsOf = (parent, kind) => [...parent.querySelectorAll(`:scope > [data-${kind}]`)];
  const staying = (rows) => rows.filter((row) => !row.hidden);

  /** Raise a formset's TOTAL_FORMS and return the new row's index. */
  function nextIndex(prefix) {
    const total = document.getElementById(`id_${prefix}-TOTAL_FORMS`);
    const index = Number(total.value);
    total.value = String(index + 1);
    return index;
  }

  /** A copy of a <template> row with its placeholders filled in. */
  function fromTemplate(id, replacements) {
    let html = document.getElementById(id).innerHTML;
    for (const [from, to] of Object.entries(replacements)) html = html.replaceAll(from, to);
    const holder = document.createElement("div");
    holder.innerHTML = html;
    return holder.firstElementChild;
  }

  /** Copy what the author typed from one row to another; never keys, places or counters. */
  function copyValues(from, to) {
    const skip = /-(key|position|DELETE|TOTAL_FORMS|INITIAL_FORMS|MIN_NUM_FORMS|MAX_NUM_FORMS)$/;
    const rest = (name, row) => name.slice(row.dataset.prefix.length);
    for (const field of from.querySelectorAll("[name]")) {
      if (skip.test(field.name)) continue;
      const name = to.dataset.prefix + rest(field.name, from);
      for (const twin of to.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
        if (field.type === "checkbox") {
          if (twin.value === field.value) twin.checked = field.checked;
        } else twin.value = field.value;
      }
    }
  }

  function newLeg(strategy) {
    const index = nextIndex(`${strategy.dataset.prefix}-legs`);
    const number = strategy.dataset.prefix.split("-")[1];
    return fromTemplate("ql-new-leg", { __strategy__: number, __leg__: index });
  }

  function newStrategy() {
    return fromTemplate("ql-new-strategy", { __strategy__: nextIndex("strategies") });
  }

  function remove(row) {
    row.hidden = true;
    row.querySelector(`[name="${CSS.escape(row.dataset.prefix)}-DELETE"]`).checked = true;
  }

  function move(row, kind, step) {
    const rows = staying(rowsOf(row.parentElement, kind));
    const other = rows[rows.indexOf(row) + step];
    if (other && step < 0) other.before(row);
    if (other && step > 0) other.after(row);
  }

  /** Places by order on the page; the side's colour; which value fields show. */
  function refresh(editor) {
    const strategies = rowsOf(editor.querySelector("#ql-strategies"), "strategy");
    editor.classList.toggle("ql-no-strategies", staying(strategies).length === 0);
    strategies.forEach((strategy, place) => {
      strategy.querySelector(`[name="${strategy.dataset.prefix}-position"]`).value = place;
      const legs = rowsOf(strategy.querySelector("[data-legs]"), "leg");
      strategy.classList.toggle("ql-no-legs", staying(legs).length === 0);
      staying(legs).forEach((leg, number) => leg.setAttribute("aria-label", `Leg ${number + 1}`));
      legs.forEach((leg, number) => {
        leg.querySelector(`[name="${leg.dataset.prefix}-position"]`).value = number;
        leg.dataset.side = leg.querySelector(`[name="${leg.dataset.prefix}-side"]`).value;
        for (const exit of leg.querySelectorAll("[data-exit]")) {
          const kind = exit.querySelector("select").value;
          const value = exit.querySelector("input");
          exit.classList.toggle("ql-none", !kind);
          if (!kind) value.value = "";
          value.placeholder = kind === "PREMIUM_PERCENT" ? "%" : "points";
        }
      });
    });
  }

  const actions = {
    "add-strategy": (button, editor) => {
      editor.querySelector("#ql-strategies").append(newStrategy());
    },
    "duplicate-strategy": (button) => {
      const from = button.closest("[data-strategy]");
      const copy = newStrategy();
      from.after(copy);
      copyValues(from, copy);
      copy.querySelector(`[name="${copy.dataset.prefix}-name"]`).value += " (copy)";
      for (const leg of staying(rowsOf(from.querySelector("[data-legs]"), "leg"))) {
        const twin = newLeg(copy);
        copy.querySelector("[data-legs]").append(twin);
        copyValues(leg, twin);
      }
    },
    "remove-strategy": (button) => remove(button.closest("[data-strategy]")),
    "strategy-up": (button) => move(button.closest("[data-strategy]"), "strategy", -1),
    "strategy-down": (button) => move(button.closest("[data-strategy]"), "strategy", 1),
    "add-leg": (button) => {
      const strategy = button.closest("[data-strategy]");
      strategy.querySelector("[data-legs]").append(newLeg(strategy));
    },
    "duplicate-leg": (button) => {
      const from = button.closest("[data-leg]");
      const copy = newLeg(button.closest("[data-strategy]"));
      from.after(copy);
      copyValues(from, copy);
    },
    "remove-leg": (button) => remove(button.closest("[data-leg]")),
    "leg-up": (button) => move(button.closest("[data-leg]"), "leg", -1),
    "leg-down": (button) => move(button.closest("[data-leg]"), "leg", 1),
  };

  document.addEventListener("DOMContentLoaded", () => {
    const editor = document.getElementById("ql-editor");
    if (!editor) return;
    editor.classList.add("ql-scripted");
    for (const box of editor.querySelectorAll("[data-delete]:checked")) {
      box.closest("[data-leg], [data-strategy]").hidden = true;
    }
    const changed = () => {
      refresh(editor);
      editor.dispatchEvent(new CustomEvent("ql:changed"));
    };
    editor.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      if (!button) return;
      actions[button.dataset.action](button, editor);
      changed();
    });
    editor.addEventListener("input", changed);
    refresh(editor);
  });
})();
