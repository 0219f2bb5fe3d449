"use strict";
(() => {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // Sorting: references stay below the arms, missing values at the end.
  const valueOf = (row, column) => {
    const cell = row.children[column];
    return cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const groups = a.classList.contains("reference") - b.classList.contains("reference");
        if (groups) return groups;
        const x = valueOf(a, column), y = valueOf(b, column);
        if (typeof x === "string") return up ? x.localeCompare(y) : y.localeCompare(x);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return up ? x - y : y - x;
      });
      body.append(...rows);
    }));
  }

  // The main table's filter: every word has to occur in an arm's name or setting.
  const main = document.querySelector("table.sortable");
  const search = document.getElementById("filter"), shown = document.getElementById("shown");
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of main.tBodies[0].rows) {
      const text = (row.cells[0].title + " " + row.cells[0].textContent).toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = words.length ? `${count} of ${main.tBodies[0].rows.length}` : "";
  });
  document.getElementById("every").addEventListener("change", (event) => main.classList.toggle("every", event.target.checked));

  // Points of the figures: the arm's full configuration, and its row in the table.
  const arms = JSON.parse(document.getElementById("arms").textContent);
  const tip = document.getElementById("tip");
  const hide = () => {
    tip.hidden = true;
    for (const row of document.querySelectorAll("tr.pointed")) row.classList.remove("pointed");
  };
  const show = (point, x, y) => {
    hide();
    tip.textContent = arms[point.dataset.arm];
    tip.classList.toggle("long", tip.textContent.split("\n").length > 24);
    tip.style.left = tip.style.top = "0";  // where it stood must not narrow it while it is measured
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - box.height - 8))}px`;
    main.querySelector(`tr[data-arm="${point.dataset.arm}"]`)?.classList.add("pointed");
  };
  for (const svg of document.querySelectorAll("figure svg")) {
    const points = svg.querySelectorAll(".point");
    svg.addEventListener("pointerover", (event) => {
      const point = event.target.closest(".point");
      if (point) show(point, event.clientX, event.clientY);
    });
    svg.addEventListener("pointerout", hide);
    points.forEach((point, place) => {  // one stop for the tab key, the arrow keys go from point to point
      point.setAttribute("tabindex", place ? "-1" : "0");
      point.addEventListener("focus", () => {
        const box = point.getBoundingClientRect();
        show(point, box.right, box.bottom);
      });
      point.addEventListener("blur", hide);
      point.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        const next = points[(place + by + points.length) % points.length];
        point.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
    });
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
