// Buttons that tick the permissions of a usual set. Without this script they are ticked by hand.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const bar of document.querySelectorAll("[data-presets]")) {
    const boxes = bar.nextElementSibling.querySelectorAll("input[type=checkbox]");
    bar.hidden = false;
    for (const button of bar.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        const wanted = new Set(button.dataset.permissions.split(" "));
        for (const box of boxes) box.checked = wanted.has(box.value);
      });
    }
  }
});
