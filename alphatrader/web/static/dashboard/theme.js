// Before the first paint: the chosen theme, else the system's; and nothing is shown that will jump when the first values come.
"use strict";
{
  const root = document.documentElement;
  const light = matchMedia("(prefers-color-scheme: light)");
  const follow = () => {
    root.dataset.theme = localStorage.getItem("theme") || (light.matches ? "light" : "dark");
    window.dispatchEvent(new Event("themechange"));
  };
  light.addEventListener("change", follow);
  follow();
  root.dataset.pending = "";
}
