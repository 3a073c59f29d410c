"use strict";
// Runs the report page's script without a browser: a table of one column and one figure, as little as it needs.
const fs = require("fs");

const cell = (text) => ({ dataset: text === "" ? {} : { sort: text } });
const rows = ["10", "", "2", "-1"].map((text) => ({ text, cells: [cell(text)] }));
const body = { rows, append: (...moved) => { body.rows = moved; } };
const state = {};
const head = {
  listeners: [],
  querySelector: () => ({ addEventListener: (_, heard) => head.listeners.push(heard) }),
  getAttribute: (name) => state[name],
  setAttribute: (name, value) => { state[name] = value; },
  removeAttribute: (name) => { delete state[name]; },
};
const table = { tHead: { rows: [{ cells: [head] }] }, tBodies: [body] };
const place = { dataset: { figure: "plain" } };
const files = { library: "library.txt", figures: "figures.json" };
const answer = { drawn: [] };
let start;

globalThis.document = {
  querySelectorAll: (chosen) => (chosen === ".figure" ? [place] : [table]),
  getElementById: (id) => ({ textContent: fs.readFileSync(files[id], "utf8") }),
  createElement: () => ({}),
  head: { append: (script) => { answer.library = script.textContent.slice(0, 60); } },
  addEventListener: (_, heard) => { start = heard; },
};
globalThis.matchMedia = () => ({ matches: false });
globalThis.Plotly = { newPlot: (at) => answer.drawn.push(at.dataset.figure) };
globalThis.IntersectionObserver = class {
  constructor(heard) { this.heard = heard; }
  observe(target) { this.heard([{ isIntersecting: true, target }]); }
  unobserve() {}
};

require("vm").runInThisContext(fs.readFileSync("page.js", "utf8"));
for (const direction of ["ascending", "descending"]) {
  head.listeners[0]();
  answer[direction] = body.rows.map((row) => row.text);
}
answer.sorted = state["aria-sort"];
start();
process.on("exit", () => console.log(JSON.stringify(answer)));
