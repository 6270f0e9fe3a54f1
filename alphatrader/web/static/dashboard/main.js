// The page: one connection, one store of values by path, panels that redraw when what they show has changed.

import { Board } from "./board.js";
import { Chart } from "./chart.js";
import { bindControls } from "./control.js";
import { headerPanels } from "./header.js";
import { marketPanels } from "./market.js";
import { Microstructure } from "./microstructure.js";
import { operationPanels } from "./operations.js";
import { tradingPanels } from "./trading.js";

const board = new Board();
const chart = new Chart(document.getElementById("chart"), board);
const micro = new Microstructure(board);
const select = document.getElementById("symbol");

const panels = [...headerPanels(board), ...marketPanels(board, choose), ...micro.panels(), ...tradingPanels(board), ...operationPanels(board)];

function draw(changed) {
  for (const panel of panels) {
    if (changed === null || panel.needs.some((prefix) => changed.some((path) => path.startsWith(prefix)))) panel.draw();
  }
  chart.update(changed);
}

function choose(symbol) {
  select.value = symbol;
  localStorage.setItem("symbol", symbol);
  for (const node of document.querySelectorAll("[data-symbol]")) node.textContent = symbol;
  board.choose(symbol);
  chart.load(symbol);
  micro.load(symbol);
}

const show = () => delete document.documentElement.dataset.pending;
board.onchange = (changed) => {
  draw(changed);
  if (board.values.size) show();
};
setTimeout(show, 2000);
select.addEventListener("change", () => choose(select.value));
bindControls(board);
const remembered = localStorage.getItem("symbol");
choose([...select.options].some((option) => option.value === remembered) ? remembered : select.options[0].value);
board.connect();
setInterval(() => {
  for (const panel of panels) if (panel.tick) panel.tick();
}, 500);
draw(null);
