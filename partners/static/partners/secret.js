// Copy buttons of a page that shows a secret once. Without this script the text can be selected.
"use strict";

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
  } catch {
    // no secure context, or no permission: the older way needs neither
    select(element);
    if (!document.execCommand("copy")) throw new Error("not copied");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const status = document.getElementById("copied");
  const buttons = document.querySelectorAll("[data-copy]");
  for (const button of buttons) {
    const element = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await copy(element);
        for (const other of buttons) other.textContent = "Copy";
        button.textContent = "Copied";
        status.textContent = `${button.dataset.label} is in the clipboard.`;
      } catch {
        select(element);
        status.textContent = "The browser does not let this page copy. The text is selected: press Ctrl+C.";
      }
    });
  }
});
