"use strict";
// Sorts tables, copies commands and draws figures. It asks for nothing that the sandbox of MLflow's artifact
// viewer (allow-scripts only) forbids: no storage, no links, no network.
const live = document.getElementById("status");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const short = (number) => (number === null ? "–" : String(Number(number.toPrecision(4))));
const mean = (values) => {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
};
const deviation = (values) => {
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
};

// Tables.

function compareCells(a, b) {
  const [x, y] = [a, b].map((cell) => cell.dataset.value);
  const [p, q] = [Number(x), Number(y)];
  if (Number.isNaN(p) || Number.isNaN(q)) {
    const words = ["nan", "inf"];
    const [late, later] = [words.includes(x), words.includes(y)];
    if (late || later) return late - later;
    return x.localeCompare(y);
  }
  return p - q;
}

for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const falling = heading.ariaSort === "ascending";
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => (falling ? -1 : 1) * compareCells(a.cells[column], b.cells[column]));
      table.tBodies[0].append(...rows);
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const order = table.caption.querySelector(".order");
      order.textContent = `, sorted by ${heading.textContent.trim()}${falling ? ", descending" : ""}`;
      live.textContent = `Sorted by ${heading.textContent.trim()}, ${falling ? "descending" : "ascending"}.`;
    });
  });
}

// Commands. The newer clipboard interface is closed to sandboxed frames.

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(button.parentElement.querySelector("code"));
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    const done = document.execCommand("copy");
    button.textContent = done ? "Copied" : "Selected";
    live.textContent = done ? "Copied." : "Selected; copy it with your keyboard.";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// Colours of losses, moved until they stand out from the card by 3 to 1.

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((each) => (each / 255 <= 0.04045 ? each / 3294.6 : ((each / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
function visible(hex) {
  const card = luminance(channels(css("--card")));
  const goal = card > 0.5 ? 0 : 255;
  for (let share = 0; share < 1; share += 0.05) {
    const rgb = channels(hex).map((each) => Math.round(each + share * (goal - each)));
    const [low, high] = [luminance(rgb), card].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) >= 3) return `rgb(${rgb.join(" ")})`;
  }
  return css("--text");
}

// Controls.

function addSelect(figure, label, entries, draw) {
  const outer = document.createElement("label");
  const select = document.createElement("select");
  entries.forEach(([value, title]) => select.add(new Option(title, value)));
  select.addEventListener("change", draw);
  outer.append(label, select);
  figure.querySelector(".controls").append(outer);
  return select;
}

function addSwitch(figure, label, on, draw) {
  const outer = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = on;
  box.addEventListener("change", draw);
  outer.append(box, label);
  figure.querySelector(".controls").append(outer);
  return box;
}

function swatch(colour) {
  const square = document.createElement("span");
  square.className = "swatch";
  square.style.background = colour;
  return square;
}

// Figures. Each function sets its controls up and returns a function that describes the chart for Chart.js.

const axis = (title, more = {}) => ({
  title: { display: Boolean(title), text: title, color: css("--muted") },
  ticks: { color: css("--muted"), ...more.ticks },
  grid: { color: css("--grid"), ...more.grid },
  border: { display: false },
  ...more.scale,
});

const spreads = {
  id: "spreads",
  // Means as numbers; with several seeds a dot a seed and the standard deviation on both sides.
  afterDatasetsDraw(chart) {
    const { ctx, scales: { x } } = chart;
    chart.data.datasets.forEach((dataset, at) => chart.getDatasetMeta(at).data.forEach((bar, row) => {
      const values = dataset.seeds[row].filter((value) => value !== null);
      if (!values.length) return;
      const middle = mean(values);
      let end = Math.max(x.getPixelForValue(middle), x.getPixelForValue(Math.max(0, middle)));
      if (values.length > 1) {
        const spread = deviation(values);
        const [from, to] = [middle - spread, middle + spread].map((value) => x.getPixelForValue(value));
        ctx.strokeStyle = ctx.fillStyle = css("--text");
        ctx.lineWidth = 1.5;
        ctx.beginPath();
        ctx.moveTo(from, bar.y); ctx.lineTo(to, bar.y);
        [from, to].forEach((edge) => { ctx.moveTo(edge, bar.y - 4); ctx.lineTo(edge, bar.y + 4); });
        ctx.stroke();
        values.forEach((value) => {
          const place = x.getPixelForValue(value);
          end = Math.max(end, place);
          ctx.beginPath();
          ctx.arc(place, bar.y, 3.5, 0, 7);
          ctx.fillStyle = css("--card"); ctx.fill(); ctx.stroke();
        });
        end = Math.max(end, to);
      }
      ctx.fillStyle = css("--text");
      ctx.font = "12px system-ui, sans-serif";
      ctx.textBaseline = "middle";
      ctx.fillText(short(middle), end + 7, bar.y);
    }));
  },
};

// A long name in two lines, broken at its middle underscore, where there is little room.
const fold = (name) => {
  const breaks = [...name].flatMap((letter, at) => (letter === "_" ? [at] : []));
  if (name.length <= 16 || !breaks.length) return name;
  const off = (at) => Math.abs(at - name.length / 2);
  const middle = breaks.reduce((a, b) => (off(b) < off(a) ? b : a));
  return [name.slice(0, middle), name.slice(middle)];
};

function bars(figure, data, draw) {
  const select = addSelect(figure, "Metric", data.metrics.map((each) => [each.key, each.title]), draw);
  const several = data.groups.length > 1;
  const colours = () => [css("--muted"), css("--accent")];
  const legend = document.createElement("span");
  figure.querySelector(".controls").append(legend);
  figure.querySelector(".plot").style.height = `${70 + data.losses.length * (several ? 46 : 32)}px`;
  return () => {
    const metric = data.metrics.find((each) => each.key === select.value);
    legend.replaceChildren(...(several ? data.groups.map((group, at) => {
      const entry = document.createElement("span");
      entry.className = "legend";
      entry.append(swatch(colours()[at]), group.name);
      return entry;
    }) : []));
    return {
      type: "bar",
      plugins: [spreads],
      data: {
        labels: data.losses.map((each) => (figure.clientWidth < 560 ? fold(each.name) : each.name)),
        datasets: data.groups.map((group, at) => ({
          label: group.name || metric.title,
          seeds: group.values[metric.key],
          data: group.values[metric.key].map(mean),
          backgroundColor: several ? colours()[at] : data.losses.map((each) => visible(each.colour)),
          borderRadius: 3,
          barPercentage: 0.82,
          categoryPercentage: 0.85,
        })),
      },
      options: {
        indexAxis: "y",
        layout: { padding: { right: 52 } },
        scales: {
          // In two lines where one would be squeezed.
          x: axis(figure.clientWidth < 560 ? [metric.title, metric.unit] : `${metric.title} (${metric.unit})`, { ticks: { maxTicksLimit: 7 } }),
          y: axis("", { ticks: { color: css("--text"), autoSkip: false, font: { size: 13 } }, grid: { display: false } }),
        },
        plugins: { tooltip: { callbacks: { title: ([item]) => data.losses[item.dataIndex].name, label: (item) => {
          const values = item.dataset.seeds[item.dataIndex];
          const spread = values.length > 1 ? ` ± ${short(deviation(values))} (seeds: ${values.map(short).join(", ")})` : "";
          return `${item.dataset.label}: ${short(mean(values))}${spread}`;
        } } } },
      },
    };
  };
}

function lines(figure, data, draw) {
  const all = data.lines.flatMap((line) => line.points.map((point) => point[1]));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const wide = low > 0 && high > 3 * low;
  const logarithmic = low > 0 ? addSwitch(figure, "logarithmic", wide, draw) : { checked: false };
  const hidden = new Set();
  data.lines.forEach((line) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const shown = button.ariaPressed === "true";
      button.setAttribute("aria-pressed", String(!shown));
      if (shown) hidden.add(line.name); else hidden.delete(line.name);
      draw();
    });
    line.button = button;
    figure.querySelector(".controls").append(button);
  });
  figure.querySelector(".plot").style.height = "380px";
  return () => {
    data.lines.forEach((line) => line.button.replaceChildren(swatch(visible(line.colour)), line.name));
    return {
      type: "line",
      data: {
        datasets: data.lines.map((line) => ({
          label: line.name,
          data: line.points.map(([x, y]) => ({ x, y })),
          hidden: hidden.has(line.name),
          borderColor: visible(line.colour),
          backgroundColor: visible(line.colour),
          borderDash: / tuned$/.test(line.name) ? [6, 3] : [],
          borderWidth: 2,
          pointRadius: 0,
          pointHoverRadius: 4,
        })),
      },
      options: {
        interaction: { mode: "index", axis: "x", intersect: false },
        scales: {
          x: axis(data.x, { scale: { type: "linear", bounds: "data" }, ticks: { precision: 0, maxTicksLimit: 10 }, grid: { display: false } }),
          y: axis(data.y, { scale: { type: logarithmic.checked ? "logarithmic" : "linear" }, ticks: { callback: short, maxTicksLimit: 8 } }),
        },
        plugins: { tooltip: {
          itemSort: (a, b) => a.parsed.y - b.parsed.y,
          callbacks: {
            title: (items) => (items.length ? `${data.x} ${items[0].parsed.x}` : ""),
            label: (item) => ` ${item.dataset.label}: ${short(item.parsed.y)}`,
          },
        } },
      },
    };
  };
}

function points(figure, data, draw) {
  const entries = [["", "trial"], ...data.names.map((name) => [name, name])];
  const select = addSelect(figure, "Over", entries, draw);
  const low = Math.min(...data.points.map((point) => point.y));
  const logarithmic = low > 0 ? addSwitch(figure, "logarithmic", false, draw) : { checked: false };
  figure.querySelector(".plot").style.height = "340px";
  return () => {
    const over = select.value;
    const place = (point) => (over ? point.values[over] : point.trial);
    const shown = data.points.filter((point) => place(point) !== undefined);
    let best = Infinity;
    const path = shown.map((point) => ({ x: point.trial, y: (best = Math.min(best, point.y)) }));
    return {
      type: "scatter",
      data: { datasets: [
        {
          label: "trial",
          data: shown.map((point) => ({ x: place(point), y: point.y, point })),
          pointRadius: shown.map((point) => (point.trial === data.best ? 8 : 4.5)),
          pointHoverRadius: 8,
          pointBackgroundColor: shown.map((point) => (point.trial === data.best ? css("--accent") : css("--muted"))),
          pointBorderColor: css("--card"),
          pointBorderWidth: 1.5,
        },
        ...(over ? [] : [{
          label: "best so far", data: path, showLine: true, stepped: "before", pointRadius: 0, pointHitRadius: 0,
          borderColor: css("--accent"), borderWidth: 1.5, order: 1,
        }]),
      ] },
      options: {
        scales: {
          x: axis(over || "trial", { ticks: { precision: over ? undefined : 0, maxTicksLimit: 10 }, grid: { display: false } }),
          y: axis(data.y, { scale: { type: logarithmic.checked ? "logarithmic" : "linear", grace: "5%" }, ticks: { callback: short } }),
        },
        plugins: { tooltip: { filter: (item) => item.raw.point, callbacks: { label: ({ raw: { point } }) => [
          `trial ${point.trial}${point.trial === data.best ? ", the best" : ""}: ${short(point.y)}`,
          ...Object.entries(point.values).map(([name, value]) => `${name}=${short(value)}`),
        ] } } },
      },
    };
  };
}

const kinds = { bars, lines, points };
Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.font.family = "system-ui, sans-serif";
Chart.defaults.plugins.legend.display = false;

const redraws = [...document.querySelectorAll("figure")].map((figure) => {
  let chart = null;
  const draw = () => {
    const config = describe();
    chart?.destroy();
    chart = new Chart(figure.querySelector("canvas"), config);
  };
  const data = JSON.parse(figure.querySelector("script").textContent);
  const describe = kinds[figure.dataset.kind](figure, data, draw);
  draw();
  figure.dataset.drawn = "";
  return draw;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((draw) => draw()));
