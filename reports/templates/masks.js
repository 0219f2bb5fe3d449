// Masks over training: one slider for all arms; each shows its latest snapshot up to that step, gate by gate, and one
// place of it enlarged with the grid of the pruning tile.
(() => {
  const root = document.getElementById("history");
  if (!root) return;
  const arms = JSON.parse(document.getElementById("masks").textContent);
  const steps = [...new Set(arms.flatMap((arm) => arm.steps))].sort((a, b) => a - b);
  const slider = root.querySelector(".step"), told = root.querySelector("output"), play = root.querySelector(".walk");
  const CORNER = 48;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (share) => `${(100 * share).toFixed(1)} % kept`;

  const views = arms.map((arm, number) => {
    const element = root.querySelectorAll(".matrix")[number];
    return { arm, element, maps: [...element.querySelectorAll(".gate canvas")], zoom: element.querySelector(".zoom canvas"),
             images: arm.images.map((text) => { const i = new Image(); i.src = `data:image/png;base64,${text}`; return i; }),
             corner: { gate: 0, row: 0, col: 0 }, place: arm.steps.length - 1 };
  });

  const paint = (canvas, image, x, y, width, height) => {
    const pen = canvas.getContext("2d");
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, x, y, width, height, 0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-in";  // the image is black: give it the page's colour
    pen.fillStyle = colour("--kept");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-over";
    return pen;
  };

  const enlarge = ({ arm, zoom, images, corner, place, element }) => {
    const rows = Math.min(CORNER, arm.rows), cols = Math.min(CORNER, arm.cols), unit = zoom.width / cols;
    zoom.height = Math.round(unit * rows);
    const pen = paint(zoom, images[place], corner.col, corner.gate * arm.rows + corner.row, cols, rows);
    pen.strokeStyle = colour("--soft");
    pen.lineWidth = 0.7;
    pen.beginPath();
    const first = (start, size) => (size - (start % size)) % size;
    for (let y = first(corner.row, arm.tileRows); y <= rows; y += arm.tileRows) { pen.moveTo(0, y * unit); pen.lineTo(zoom.width, y * unit); }
    for (let x = first(corner.col, arm.tileCols); x <= cols; x += arm.tileCols) { pen.moveTo(x * unit, 0); pen.lineTo(x * unit, zoom.height); }
    pen.stroke();
    const gate = arm.gates[corner.gate];
    element.querySelector(".zoom figcaption").textContent =
      `${gate ? `gate ${gate}, ` : ""}rows ${corner.row} to ${corner.row + rows - 1}, columns ${corner.col} to ${corner.col + cols - 1}`;
  };

  // Histograms: the dense start as an area, the snapshot as a line, counts on a log axis.
  const outline = (counts, top) => counts.flatMap((count, bin) => {
    const y = 100 - 96 * Math.log1p(count) / top;
    return [`${bin},${y.toFixed(1)}`, `${bin + 1},${y.toFixed(1)}`];
  }).join(" ");

  const draw = (view) => {
    const { arm, maps, images, place, element } = view;
    images[place].decode().then(() => {
      if (view.place !== place) return;  // the slider has moved on
      maps.forEach((map, gate) => {
        paint(map, images[place], 0, gate * arm.rows, arm.cols, arm.rows);
        map.parentElement.querySelector("figcaption span").textContent = percent(arm.kept[place][gate]);
      });
      enlarge(view);
      element.dataset.shown = arm.steps[place];
    });
    const bins = arm.counts[0].length, top = Math.log1p(Math.max(...arm.counts.flat()));
    element.querySelector(".start").setAttribute("points", `0,100 ${outline(arm.counts[0], top)} ${bins},100`);
    element.querySelector(".now").setAttribute("points", outline(arm.counts[place], top));
    const all = arm.zeros[place] + arm.counts[place].reduce((a, b) => a + b, 0);
    element.querySelector(".zeros").textContent =
      `step ${arm.steps[place]}: ${arm.zeros[place].toLocaleString("en")} of ${all.toLocaleString("en")} weights are zero (${(100 * arm.zeros[place] / all).toFixed(1)} %)`;
  };

  const show = () => {
    const step = steps[Number(slider.value)];
    told.textContent = `step ${step} of ${steps.at(-1)}`;
    slider.setAttribute("aria-valuetext", told.textContent);
    for (const view of views) {
      view.place = view.arm.steps.findLastIndex((mine) => mine <= step);
      draw(view);
    }
  };

  for (const view of views) {
    const { arm, corner } = view;
    const move = (gate, row, col) => {
      corner.gate = gate;
      corner.row = Math.max(0, Math.min(row, arm.rows - Math.min(CORNER, arm.rows)));
      corner.col = Math.max(0, Math.min(col, arm.cols - Math.min(CORNER, arm.cols)));
      enlarge(view);
    };
    view.maps.forEach((map, gate) => {
      map.addEventListener("click", (event) => {
        const box = map.getBoundingClientRect();
        move(gate, Math.floor((event.clientY - box.top) / box.height * arm.rows) - CORNER / 2,
             Math.floor((event.clientX - box.left) / box.width * arm.cols) - CORNER / 2);
      });
      map.addEventListener("keydown", (event) => {
        const by = { ArrowUp: [-16, 0], ArrowDown: [16, 0], ArrowLeft: [0, -16], ArrowRight: [0, 16] }[event.key];
        if (!by) return;
        event.preventDefault();
        move(gate, (corner.gate === gate ? corner.row : 0) + by[0], (corner.gate === gate ? corner.col : 0) + by[1]);
      });
    });
  }

  let walking = 0;
  play.addEventListener("click", () => {
    const going = !walking;
    clearInterval(walking);
    walking = going ? setInterval(() => { slider.value = (Number(slider.value) + 1) % steps.length; show(); }, 700) : 0;
    play.textContent = going ? "pause" : "play";
  });
  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  slider.addEventListener("input", show);
  document.getElementById("theme").addEventListener("click", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  new IntersectionObserver((seen, self) => { if (seen.some((e) => e.isIntersecting)) { self.disconnect(); show(); } }, { rootMargin: "600px" }).observe(root);
})();
