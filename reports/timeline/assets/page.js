const TOGETHER = 40;
const element = (id) => document.getElementById(id);

/** Where to look at a task instance: from its last sound try to what it broke. */
function race(track) {
  const first = track.violations[0].t;
  const tries = track.marks.filter((mark) => mark.kind === "try" && mark.t < first);
  const begin = tries.length ? tries[tries.length - 1].t : first;
  const firsts = new Map(track.violations.map(({ invariant, t }) => [invariant, t]).reverse());
  const last = Math.max(...firsts.values());
  const room = Math.max((last - begin) * 0.35, 0.02);
  return [Math.max(begin - room, 0), last + 1.6 * room];
}

function life(tracks) {
  const times = tracks.flatMap((track) => [
    ...track.marks.map((mark) => mark.t), ...track.spans.map((span) => span.end || span.begin)]);
  const begin = Math.min(...times);
  const end = Math.max(...times);
  const room = Math.max((end - begin) * 0.03, 0.01);
  return [Math.max(begin - room, 0), end + room];
}

/** Keep in the address what is shown, so that it can be sent on; a frame may forbid that. */
function remember(name) {
  try {
    history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  } catch (error) {
    console.info(`The address stays: ${error.message}`);
  }
}

class Page {
  constructor(facts, document_) {
    this.facts = facts;
    const parcels = document.getElementsByClassName("parcel");
    this.details = new Details(parcels, facts.parcel, facts.violations);
    this.drawing = new Drawing(document_, facts);
    this.list = new List(facts, this.details, (indices) => this.choose(indices));
    element("together").addEventListener("click", () => this.choose(this.list.matches()));
    element("filter").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.choose(this.list.matches());
    });
    element("closer").addEventListener("click", () => this.look(true));
    element("whole").addEventListener("click", () => this.look(false));
    for (const name of ["spans", "broken", "violations"]) this.link(document_, name);
  }

  /** Let a click on a span or a cross choose its task instance. */
  link(document_, name) {
    const source = document_.get_model_by_name(name);
    source.selected.properties.indices.change.connect(() => {
      const [place] = source.selected.indices;
      if (place === undefined) return;
      const index = source.data.ti[place];
      if (index >= 0 && index !== this.list.current) this.choose([index]);
    });
  }

  async choose(indices) {
    const asked = (this.asked = Symbol("asked"));
    const tracks = await Promise.all(indices.slice(0, TOGETHER).map((i) => this.details.get(i)));
    if (asked !== this.asked) return;
    this.drawing.figure.visible = tracks.length > 0;
    this.tracks = tracks;
    this.tell(indices.length);
    this.list.show(tracks.length === 1 ? tracks[0].index : -1);
    if (!tracks.length) return;
    if (tracks.length === 1) this.drawing.one(tracks[0]);
    else this.drawing.together(tracks);
    this.look(tracks.length === 1 && tracks[0].violations.length > 0);
    if (tracks.length === 1) remember(tracks[0].name);
  }

  look(closer) {
    const whole = life(this.tracks);
    this.drawing.show(...(closer ? race(this.tracks[0]) : whole), whole);
  }

  /** Say what is shown, and list the promises that the one task instance broke. */
  tell(asked) {
    const { tracks } = this;
    const one = tracks.length === 1 ? tracks[0] : null;
    const violations = one ? one.violations : [];
    const several = asked > tracks.length
      ? `The first ${tracks.length} of ${asked.toLocaleString("en")} task instances`
      : `${tracks.length} task instances`;
    const none = "No task instance chosen: the whole run";
    const cutShort = one && one.leftOut ? ` (${one.leftOut} later events left out)` : "";
    element("shown").textContent = one ? one.name + cutShort : tracks.length ? several : none;
    element("whole").hidden = !tracks.length;
    element("closer").hidden = !violations.length;
    element("here").hidden = !violations.length;
    element("broken").replaceChildren(...violations.slice(0, 20).map((v) => this.promise(v)));
  }

  promise({ t, invariant, message }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const name = document.createElement("b");
    button.type = "button";
    name.className = "cross";
    name.textContent = `${invariant} at ${seconds(t)}: `;
    button.append(name, message);
    button.addEventListener("click", () => {
      this.drawing.show(Math.max(t - 0.15, 0), t + 0.15, life(this.tracks));
    });
    item.append(button);
    return item;
  }

  async open() {
    const named_ = this.facts.names.indexOf(decodeURIComponent(location.hash.slice(1)));
    const index = named_ >= 0 ? named_ : this.facts.chosen;
    await this.choose(index >= 0 ? [index] : []);
  }
}

const VIOLATION = {
  promise: "text_color", line: "line_color", point: "line_color",
};

/** Take the page's colours, so that the figures are read in the light and in the dark. */
function dress(document_) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line, soft] = ["--ink", "--line", "--soft"].map((name) => style.getPropertyValue(name));
  for (const name of ["detail", "states", "happenings"]) {
    const figure = document_.get_model_by_name(name);
    figure.title.text_color = ink;
    for (const axis of [...figure.left, ...figure.below]) {
      axis.setv({
        axis_line_color: line, major_tick_line_color: line,
        major_label_text_color: ink, axis_label_text_color: soft,
      });
    }
    for (const grid of figure.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
  }
  const violation = style.getPropertyValue("--violation");
  for (const [name, property] of Object.entries(VIOLATION)) {
    document_.get_model_by_name(name).glyph[property] = { value: violation };
  }
}

async function begin() {
  const [item, facts] = await Promise.all(
    ["figures", "facts"].map((name) => unpack(element(`packed-${name}`).textContent)));
  await Bokeh.embed.embed_item(item);
  const [document_] = Bokeh.documents;
  dress(document_);
  const page = new Page(facts, document_);
  page.drawing.ink = getComputedStyle(document.body).color;
  await page.open();
  globalThis.timeline = page;
  document.body.dataset.drawn = "yes";
}

begin().catch((error) => {
  console.error(error);
  element("shown").textContent = `This browser cannot draw the timeline: ${error.message}`;
});
