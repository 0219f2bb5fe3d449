"use strict";
(() => {
  // Listening: all systems of an utterance run together and one is heard, so that switching never moves the position.
  const page = document.getElementById("listen"), list = document.getElementById("rows");
  if (!list) return;
  const clips = JSON.parse(document.getElementById("clips").textContent);
  const FADE_S = 0.008, RATE = 16000, WINDOW = 512, FLOOR_DB = -80;
  const OWN_SPACE = "[type=checkbox], button:not([aria-pressed=true])";  // where space already does something
  let context = null;

  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const decoded = new Map();
  const decode = (clip) => {
    if (!decoded.has(clip)) {  // an offline context decodes before anybody has clicked
      decoded.set(clip, new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytesOf(clips[clip])));
    }
    return decoded.get(clip);
  };

  // Spectrograms: one FFT size, one level scale for the whole row, drawn when the row comes into sight.
  const fft = (re, im) => {
    const n = re.length;
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
    }
    for (let size = 2; size <= n; size <<= 1) {
      for (let start = 0; start < n; start += size) {
        for (let k = 0; k < size / 2; k++) {
          const angle = -2 * Math.PI * k / size, c = Math.cos(angle), s = Math.sin(angle);
          const a = start + k, b = a + size / 2;
          const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
          re[b] = re[a] - x; im[b] = im[a] - y; re[a] += x; im[a] += y;
        }
      }
    }
  };
  const spectrogram = (samples, columns, seconds) => {
    const bins = WINDOW / 2, levels = new Float32Array(columns * bins).fill(-200);
    for (let column = 0; column < columns; column++) {
      const first = Math.round((column + 0.5) / columns * seconds * RATE) - WINDOW / 2;
      const re = new Float32Array(WINDOW), im = new Float32Array(WINDOW);
      for (let i = 0; i < WINDOW; i++) re[i] = (samples[first + i] || 0) * (0.5 - 0.5 * Math.cos(2 * Math.PI * i / WINDOW));
      fft(re, im);
      for (let bin = 0; bin < bins; bin++) levels[column * bins + bin] = 10 * Math.log10(re[bin] ** 2 + im[bin] ** 2 + 1e-20);
    }
    return levels;
  };
  const STOPS = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];  // magma
  const colour = (level) => {
    const at = Math.min(0.9999, Math.max(0, level)) * (STOPS.length - 1), low = Math.floor(at), part = at - low;
    return STOPS[low].map((value, i) => value + part * (STOPS[low + 1][i] - value));
  };
  const paint = (canvas, levels, loudest) => {
    const bins = WINDOW / 2, picture = new ImageData(canvas.width, canvas.height);
    for (let x = 0; x < canvas.width; x++) {
      for (let y = 0; y < canvas.height; y++) {
        const bin = Math.floor((canvas.height - 1 - y) / canvas.height * bins);
        const rgb = colour((levels[x * bins + bin] - loudest - FLOOR_DB) / -FLOOR_DB);
        picture.data.set([...rgb, 255], 4 * (y * canvas.width + x));
      }
    }
    canvas.picture = picture;
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };

  class Row {
    constructor(section) {
      this.section = section;
      this.players = [...section.querySelectorAll(".player")];
      this.playable = this.players.filter((player) => player.dataset.clip !== undefined);
      this.chosen = this.playable[0];
      this.offset = 0;
      this.sources = null;
      this.seconds = 0;
      this.ready = null;
      const on = (selector, event, action) => section.querySelector(selector).addEventListener(event, action);
      on(".play", "click", () => this.toggle());
      on(".seek", "input", (event) => this.seek(event.target.value * this.seconds));
      for (const player of this.playable) {
        player.querySelector(".pick").addEventListener("click", () => this.pick(player));
        player.querySelector("canvas").addEventListener("click", (event) => {
          this.pick(player);
          this.load().then(() => this.seek(event.offsetX / event.target.clientWidth * this.seconds));
        });
        player.querySelector(".score").addEventListener("input", (event) => {
          player.dataset.score = event.target.value;
          player.dataset.shown = player.querySelector(".name").textContent;
          player.querySelector("output").textContent = event.target.value;
        });
      }
      section.addEventListener("keydown", (event) => {  // a click on a spectrogram focuses the section itself
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        const shown = [...section.querySelectorAll(".player[data-clip]:not([hidden])")];
        if (/^[1-9]$/.test(event.key) && shown[event.key - 1]) this.pick(shown[event.key - 1]);
        else if (event.key === " " && !event.target.matches(OWN_SPACE)) this.toggle();
        else return;
        event.preventDefault();
      });
      this.pick(this.chosen);
      new IntersectionObserver((entries, observer) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        this.load().then(() => this.draw());
      }).observe(section);
    }

    load() {
      this.ready ??= Promise.all(this.playable.map((player) => decode(player.dataset.clip))).then((buffers) => {
        this.buffers = buffers;
        this.seconds = Math.max(...buffers.map((buffer) => buffer.duration));
        this.tell();
      });
      return this.ready;
    }

    draw() {
      const all = this.buffers.map((buffer, i) => spectrogram(buffer.getChannelData(0), this.playable[i].querySelector("canvas").width, this.seconds));
      const loudest = all[0].reduce((a, b) => Math.max(a, b), -200);
      all.forEach((levels, i) => paint(this.playable[i].querySelector("canvas"), levels, loudest));
      this.section.dataset.drawn = all.length;
    }

    get at() {
      return this.sources ? Math.min(this.seconds, this.offset + context.currentTime - this.started) : this.offset;
    }

    gain(player) {
      if (player !== this.chosen) return 0;
      return document.getElementById("matched").checked ? 10 ** (player.dataset.gain / 20) : 1;
    }

    pick(player) {
      this.chosen = player;
      for (const other of this.players) {
        other.classList.toggle("heard", other === player);
        other.querySelector(".pick").setAttribute("aria-pressed", other === player);
      }
      this.section.dataset.heard = player ? player.dataset.system : "";
      this.level();
    }

    level() {
      if (!this.sources) return;
      this.sources.forEach(({ gain }, i) => {
        gain.gain.cancelScheduledValues(context.currentTime);
        gain.gain.setTargetAtTime(this.gain(this.playable[i]), context.currentTime, FADE_S);
      });
    }

    async toggle() {
      if (this.sources) { this.pause(); return; }
      for (const row of rows) row.pause();
      context ??= new AudioContext();
      await Promise.all([context.resume(), this.load()]);
      if (!this.sources) this.start(this.at >= this.seconds - 0.01 ? 0 : this.at);
    }

    start(offset) {
      this.offset = offset;
      this.started = context.currentTime + 0.02;
      this.sources = this.buffers.map((buffer, i) => {
        const source = context.createBufferSource(), gain = context.createGain();
        source.buffer = buffer;
        gain.gain.value = this.gain(this.playable[i]);
        source.connect(gain).connect(context.destination);
        source.start(this.started, Math.min(offset, buffer.duration));
        return { source, gain };
      });
      this.section.querySelector(".play").textContent = "pause";
      this.section.dataset.playing = "yes";
      this.follow();
    }

    pause() {
      if (!this.sources) return;
      this.offset = this.at;
      for (const { source } of this.sources) source.stop();
      this.sources = null;
      this.section.querySelector(".play").textContent = "play";
      this.section.dataset.playing = "no";
      this.tell();
    }

    seek(seconds) {
      const playing = this.sources;
      this.pause();
      this.offset = Math.max(0, Math.min(seconds, this.seconds));
      if (playing) this.start(this.offset);
      this.tell();
    }

    follow() {
      if (!this.sources) return;
      if (this.at >= this.seconds) {
        this.pause();
        this.offset = 0;
        if (this.section.querySelector(".loop").checked) { this.start(0); return; }
      }
      this.tell();
      requestAnimationFrame(() => this.follow());
    }

    tell() {
      const at = this.at;
      this.section.dataset.at = at.toFixed(3);
      this.section.querySelector(".clock").textContent = `${at.toFixed(1)} of ${this.seconds.toFixed(1)} s`;
      this.section.querySelector(".seek").value = this.seconds ? at / this.seconds : 0;
      for (const player of this.playable) {
        const canvas = player.querySelector("canvas");
        if (!canvas.picture) continue;
        const draw = canvas.getContext("2d");
        draw.putImageData(canvas.picture, 0, 0);
        draw.fillStyle = "#ffffff";
        draw.fillRect(at / this.seconds * canvas.width, 0, 2, canvas.height);
      }
    }
  }
  const rows = [...list.querySelectorAll(".utterance")].map((section) => new Row(section));
  document.getElementById("matched").addEventListener("change", () => rows.forEach((row) => row.level()));

  // Which utterances lose most, in the metric of one's choice.
  const select = document.getElementById("rank-by");
  select.addEventListener("change", () => {
    const lossOf = (row) => JSON.parse(row.section.dataset.losses)[select.value] ?? -Infinity;
    for (const row of [...rows].sort((a, b) => lossOf(b) - lossOf(a))) {
      row.section.querySelector(".why").textContent = JSON.parse(row.section.dataset.whys)[select.value] ?? "no score";
      list.append(row.section);
    }
  });

  // Which systems are shown.
  const boxes = document.querySelectorAll("input.which");
  for (const box of boxes) {
    box.addEventListener("change", () => {
      for (const row of rows) for (const player of row.players) if (player.dataset.system === box.value) player.hidden = !box.checked;
    });
  }

  // Blind mode: a new ballot, with other letters and another order in every row; names come back when it ends. The order
  // is that of the document, since it is also what the tab key and screen readers follow.
  const names = new Map(rows.flatMap((row) => row.players).map((player) => [player, player.querySelector(".name").textContent]));
  const shuffled = (items) => {
    const order = [...items];
    for (let i = order.length - 1; i > 0; i--) {
      const j = crypto.getRandomValues(new Uint32Array(1))[0] % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };
  const forget = (player) => {
    delete player.dataset.score;
    player.querySelector(".score").value = 50;
    player.querySelector("output").textContent = "not rated";
  };
  const ballot = document.getElementById("ballot");
  document.getElementById("blind").addEventListener("change", (event) => {
    const blind = event.target.checked;
    page.classList.toggle("blind", blind);
    for (const box of boxes) box.disabled = blind;  // hiding a system would tell its letter
    if (blind) ballot.hidden = true;
    for (const row of rows) {
      const order = blind ? shuffled(row.playable.filter((player) => !player.hidden)) : row.players;
      order.forEach((player, place) => {
        player.querySelector(".name").textContent = blind ? String.fromCharCode(65 + place) : names.get(player);
        player.parentElement.append(player);
      });
      if (!blind) continue;
      row.playable.forEach(forget);
      row.pick(order[0]);
    }
  });

  // Votes: downloaded where the frame allows it, and shown to be copied; what is shown does not end the blindness.
  const cell = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;  // a spreadsheet must not take a name for a formula
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  document.getElementById("votes").addEventListener("click", () => {
    const rated = (row) => row.playable.filter((player) => player.dataset.score !== undefined)
      .sort((a, b) => a.dataset.shown.localeCompare(b.dataset.shown));  // any other order would tell who is who
    const csv = (hidden) => rows.flatMap((row) => rated(row).map((player) => [
      row.section.dataset.name, hidden ? "(blind)" : names.get(player), player.dataset.shown, player.dataset.score,
    ])).reduce((text, vote) => text + vote.map(cell).join(",") + "\n", "utterance,system,shown_as,score\n");
    ballot.hidden = false;
    ballot.value = csv(page.classList.contains("blind"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(false)], { type: "text/csv" }));
    link.download = "votes.csv";
    link.click();
  });
})();
