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

  // One player at a time; a second one of the same utterance goes on where the first was.
  let current = null;
  for (const audio of document.querySelectorAll("audio")) {
    audio.addEventListener("play", () => {
      if (current && current !== audio) {
        const same = current.closest(".utterance") === audio.closest(".utterance");
        if (same && !current.ended && !current.paused) audio.currentTime = current.currentTime;
        current.pause();
      }
      current = audio;
      audio.parentElement.classList.add("playing");
    });
    for (const event of ["pause", "ended"]) {
      audio.addEventListener(event, () => audio.parentElement.classList.remove("playing"));
    }
  }
})();
