"use strict";
// Sorts the tables, keeps options whole, and draws each figure when it comes into view. Plotly's library is unpacked from the page itself.
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort === undefined) return null;
    const number = Number(cell.dataset.sort);
    return Number.isNaN(number) ? cell.dataset.sort : number;
  };

  const compare = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);

  // Rows without a value stay last in both directions.
  const sort = (table, column, direction) => {
    const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : direction * compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending ? 1 : -1);
      });
    });
  }

  // A line may break before an option, but not at its hyphens.
  const options = /(--[a-z][a-z-]*)/;
  for (const place of document.querySelectorAll("pre, p, li")) {
    if (place.childElementCount > 0 || !options.test(place.textContent)) continue;
    const parts = place.textContent.split(options).map((part) => {
      if (!options.test(part)) return part;
      const option = document.createElement("span");
      option.className = "option";
      option.textContent = part;
      return option;
    });
    place.replaceChildren(...parts);
  }

  const decoded = (text) => {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let place = 0; place < bytes.length; place += 1) bytes[place] = characters.charCodeAt(place);
    return bytes;
  };

  const unpack = async () => {
    const packed = new Blob([decoded(document.getElementById("library").textContent)]);
    const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const say = (places, text) => places.forEach((place) => { place.textContent = text; });

  const start = async () => {
    const places = [...document.querySelectorAll(".figure")];
    if (places.length === 0) return;
    if (typeof DecompressionStream === "undefined") {
      say(places, "This figure needs a browser of 2023 or later.");
      return;
    }
    await unpack();
    const figures = JSON.parse(document.getElementById("figures").textContent);
    const config = { responsive: true, displayModeBar: false };
    const touched = matchMedia("(pointer: coarse)").matches; // there, dragging must scroll the page
    const common = {
      margin: { l: 60, r: 20, t: 30, b: 85 }, hovermode: "closest", font: { family: "system-ui, sans-serif", size: 12 },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom" }, paper_bgcolor: "white", plot_bgcolor: "white",
      dragmode: touched ? false : "zoom",
    };
    const grid = { gridcolor: "#e6e6e6", zeroline: false };
    const slanted = { autotickangles: [0, -30, -90] }; // to the left, where no screen ends
    const draw = (place) => {
      const { data, layout } = figures[place.dataset.figure];
      const axes = { xaxis: { ...grid, ...slanted, ...layout.xaxis }, yaxis: { ...grid, ...layout.yaxis } };
      const named = layout.showlegend === false ? 0 : data.filter((trace) => trace.name).length;
      const narrow = place.clientWidth < 480; // there, a legend of three names or more takes a line for each
      const margin = { ...common.margin, b: narrow && named > 2 ? 60 + 20 * named : common.margin.b };
      Plotly.newPlot(place, data, { ...common, margin, ...layout, ...axes }, config);
    };
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "400px" });
    places.forEach((place) => seen.observe(place));
  };

  document.addEventListener("DOMContentLoaded", () => setTimeout(start)); // the text is shown before the figures
})();
