// Before the first paint: the chosen theme, dark unless the operator chose another.
"use strict";
document.documentElement.dataset.theme = localStorage.getItem("theme") || "dark";
