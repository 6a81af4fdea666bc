const MARKERS = {
  try: ["diamond", "#0072B2", 19], row: ["circle", "#3D4F66", 11], run: ["hex", "#7F868E"],
  pod: ["square", "#3D4F66"], start: ["triangle", "#00704F"], exit: ["square_x", "#3D4F66"],
  refused: ["inverted_triangle", "#D55E00"], code: ["star", "#1F5A36"],
};
const LANE = 27;

/** Fills the figure of the details: lanes, spans, marks, disturbances and violations. */
class Drawing {
  constructor(document_, facts) {
    this.facts = facts;
    this.figure = document_.get_model_by_name("detail");
    this.axis = document_.get_model_by_name("lanes");
    this.source = (name) => document_.get_model_by_name(name);
    this.ink = "#14181d";
    this.labels = [];
    this.promises = [];
    const refresh = () => this.refreshSoon();
    this.figure.x_range.properties.start.change.connect(refresh);
    this.figure.x_range.properties.end.change.connect(refresh);
  }

  /** Draw one task instance with all who had to do with it. */
  one(track) {
    const layout = lanesOf(track, this.facts);
    this.layOut(layout);
    const columns = { spans: [], marks: [], bars: this.bars(layout), broken: [] };
    for (const span of track.spans) {
      const place = layout.places.get(span.lane);
      if (place) columns.spans.push(this.span(span, place.y, place.height * 0.36, track));
    }
    for (const mark of track.marks) {
      const place = layout.places.get(mark.lane);
      const [marker, color, size = 12] = MARKERS[mark.kind] || MARKERS.row;
      if (place) columns.marks.push({ x: mark.t, y: place.y, marker, color, size, ...told(mark) });
    }
    columns.marks.sort((one, other) => one.size - other.size);
    const row = layout.places.get("row");
    for (const violation of track.violations) columns.broken.push(broken(violation, row.y));
    this.fill(columns, layout);
  }

  /** Draw several, a lane each; who did it is told by pointing at a span. */
  together(tracks) {
    const layout = lanesTogether(tracks, this.facts);
    this.layOut(layout);
    const columns = { spans: [], marks: [], bars: this.bars(layout), broken: [] };
    for (const track of tracks) {
      const place = layout.places.get(`track:${track.index}`);
      for (const span of track.spans) {
        if (span.kind === "row") {
          columns.spans.push(this.span(span, place.y + 0.14, 0.26, track));
        } else if (span.kind === "pod") {
          columns.spans.push(this.span(span, place.y - 0.27, 0.1, track, false));
        }
      }
      for (const violation of track.violations) {
        columns.broken.push(broken(violation, place.y + 0.14));
      }
    }
    this.fill(columns, layout);
  }

  layOut(layout) {
    const lanes = [...layout.places.values()];
    this.axis.major_label_overrides = new Map(lanes.map((lane) => [lane.y, cut(lane.label)]));
    this.source("ticker").ticks = lanes.map((lane) => lane.y);
    this.figure.y_range.setv({ start: 0, end: layout.height });
    this.figure.height = Math.round(layout.height * LANE) + 75;
    this.labels = [];
  }

  span(span, y, half, track, labelled = true) {
    const right = span.end === null ? this.facts.end : span.end;
    const [color, ink] = this.colour(span.kind, span.label);
    const lasted = `for ${seconds(right - span.begin)}${span.end === null ? " (to the end)" : ""}`;
    const of = track.pods[span.lane.split(":")[1]];
    const who = of ? `${span.kind === "code" ? "" : span.kind} ${of}`.trim() : "row";
    if (labelled) {
      const tries = span.kind === "row" ? span.note.match(/^try \d+/) : null;
      const texts = tries ? [`${span.label}, ${tries[0]}`, span.label] : [span.label];
      this.labels.push({ x: span.begin, right, y, texts, color: ink });
    }
    return {
      left: span.begin, right, top: y + half, bottom: y - half, color, edge: "#00000055",
      who, what: `${span.label} ${lasted}`, when: `${seconds(span.begin)} to ${seconds(right)},`,
      more: span.note, ti: track.index,
    };
  }

  bars(layout) {
    const found = [];
    for (const [kind, name, process, text, begin, end] of this.facts.bars) {
      const [color] = this.colour(kind, "");
      const right = end === null ? this.facts.end : end;
      const when = `${seconds(begin)} to ${end === null ? "the end" : seconds(end)}`;
      const bar = { left: begin, right, color, who: kind, what: text, when, more: "" };
      const lanes = [`${kind === "fault" ? "fault" : "hold"} ${name}`];
      if (kind !== "hold") lanes.push(process);
      for (const lane of lanes) {
        const place = layout.places.get(lane);
        const half = kind === "hold" ? 0.18 : 0.3;
        if (!place) continue;
        found.push({ ...bar, top: place.y + half, bottom: place.y - half });
        const texts = { held: [`held at ${name}`, "held"], fault: [name] };
        if (lane === process) this.labels.push({ x: begin, right, y: place.y, texts: texts[kind], color: this.ink });
      }
    }
    return found;
  }

  fill(columns, layout) {
    const moments = [...new Set(columns.broken.map((one) => one.x))];
    const single = layout.lines > 0;
    const y1 = layout.height;
    columns.lines = single ? moments.map((x) => ({ x, y0: 0, y1 })) : [];
    this.promises = layout.promises.flatMap(({ t, texts }) => texts.map((text) => ({ t, text })));
    this.promises = this.promises.slice(0, layout.lines).map((one, place) => (
      { ...one, y: layout.height - 0.75 * (place + 0.5) }));
    for (const [name, rows] of Object.entries(columns)) this.set(name, rows);
    this.refresh();
  }

  set(name, rows) {
    const source = this.source(name);
    const names = Object.keys(source.data);
    source.selected.indices = [];
    source.data = Object.fromEntries(names.map((one) => [one, rows.map((row) => row[one])]));
  }

  refreshSoon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.refresh(); });
  }

  /** Write a span's label where it fits, and a promise on the side where there is room. */
  refresh() {
    const { start, end } = this.figure.x_range;
    const width = Math.max(this.figure.inner_width || 600, 100);
    const perPixel = (end - start) / width;
    this.set("labels", this.labels.flatMap(({ x, right, y, texts, color }) => {
      const left = Math.max(x, start);
      const room = (Math.min(right, end) - left) / perPixel - 14;
      const text = texts.find((one) => one.length * 7 < room);
      return text ? [{ x: left, y, text, color }] : [];
    }));
    const most = Math.floor(width / 7.2);
    this.set("promises", this.promises.map(({ t, y, text }) => {
      const place = (t - start) / (end - start);
      const room = Math.floor(Math.max(place, 1 - place) * most) - 2;
      const short = text.length <= room ? text : `${text.slice(0, Math.max(room - 1, 1))}…`;
      const onRight = place <= 0.5;
      return { x: t, y, text: short, align: onRight ? "left" : "right", offset: onRight ? 8 : -8 };
    }));
  }

  colour(kind, label) {
    const colours = this.facts.colours[kind];
    return colours[label] || colours[""];
  }

  show(begin, end, whole) {
    const range = this.figure.x_range;
    const [first, last] = whole;
    range.setv({ start: begin, end, reset_start: first, reset_end: last });
  }
}

function told({ t, who, what, more }) {
  return { who, what, when: seconds(t), more };
}

function broken({ t, invariant, message, index }, y) {
  return { x: t, y, who: `✖ ${invariant}:`, what: message, when: seconds(t), more: "", ti: index };
}
