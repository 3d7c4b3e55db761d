const tip = document.getElementById("tip");
const rows = [...document.querySelectorAll("#table tbody tr")];
const views = (window.views = []);

/* A tooltip's values are texts: nothing of it is read as HTML. */
function showTip(handler, event, item, value) {
  tip.replaceChildren();
  if (!value || typeof value !== "object") { tip.hidden = true; return; }
  for (const [name, text] of Object.entries(value)) {
    const line = document.createElement(name ? "div" : "b");
    line.textContent = name ? `${name}: ${text}` : text;
    tip.append(line);
  }
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const { clientX: x, clientY: y } = event.touches ? event.touches[0] : event;
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 4))}px`;
  tip.style.top = `${y + 14 + box.height > innerHeight ? Math.max(4, y - 14 - box.height) : y + 14}px`;
}

function pick(row) {
  for (const [view, device] of views) {
    const variant = row && row.dataset.device === device ? row.dataset.variant : "";
    if (view.signal("picked") !== variant) view.signal("picked", variant).runAsync();
  }
}

/* One row is in the order of the Tab key: the arrows go on from there. */
let here = rows[0];
for (const row of rows) row.tabIndex = row === here ? 0 : -1;
function go(row) {
  here.tabIndex = -1;
  here = row;
  here.tabIndex = 0;
  here.focus();
}

async function draw(figure) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const device = figure.dataset.device;
  const options = { mode: "vega", renderer: "svg", actions: false, defaultStyle: false, tooltip: showTip };
  const { view } = await window.vegaEmbed(figure.querySelector(".plot"), spec, options);
  view.addEventListener("click", (event, item) => {
    const variant = item && item.datum && item.datum.variant;
    const row = rows.find((one) => !one.hidden && one.dataset.variant === variant && one.dataset.device === device);
    if (row) go(row);
  });
  const plot = figure.querySelector(".plot");
  if (plot.scrollHeight > plot.clientHeight) plot.tabIndex = 0;
  views.push([view, device]);
  figure.dataset.drawn = "yes";
}
document.querySelectorAll("figure[data-device]").forEach(draw);

function number(text) {
  const found = text.replace(/,/g, "").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/);
  return found ? Number(found[0]) : NaN;
}

function sort(head, index) {
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const numeric = head.classList.contains("n");
  const keyed = rows.map((row) => {
    const text = row.cells[index].textContent;
    const key = numeric ? number(text) : text;
    return { row, key, absent: numeric ? Number.isNaN(key) : text === "–" };
  });
  keyed.sort((a, b) => a.absent - b.absent || (up ? 1 : -1) * (numeric ? a.key - b.key : a.key.localeCompare(b.key)));
  document.querySelector("#table tbody").append(...keyed.map((one) => one.row));
}

[...document.querySelectorAll("#table thead th")].forEach((head, index) => {
  head.querySelector("button").addEventListener("click", () => sort(head, index));
});

const filter = document.getElementById("filter");
const count = document.getElementById("count");
function filterRows() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = `${row.dataset.variant} ${row.textContent}`.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  count.textContent = `${shown} of ${rows.length} rows`;
}
filter.addEventListener("input", filterRows);
filterRows();

const body = document.querySelector("#table tbody");
body.addEventListener("focusin", (event) => pick(event.target.closest("tr")));
body.addEventListener("focusout", () => pick(null));
body.addEventListener("pointerover", (event) => pick(event.target.closest("tr")));
body.addEventListener("pointerleave", () => pick(body.contains(document.activeElement) ? document.activeElement : null));
body.addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) go(row); });
body.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const shown = [...body.rows].filter((row) => !row.hidden);
  const next = shown[shown.indexOf(document.activeElement) + step];
  if (next) go(next);
});
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
