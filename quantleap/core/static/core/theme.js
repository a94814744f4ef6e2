// The theme that was chosen in the console; without one, the system's.
(function () {
  var chosen = null;
  try {
    chosen = (localStorage.getItem("_x_adminTheme") || "").replace(/"/g, "");
  } catch (error) {
    chosen = null; // storage may be forbidden
  }
  var dark = chosen === "dark" ||
    (chosen !== "light" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark", dark);
})();
