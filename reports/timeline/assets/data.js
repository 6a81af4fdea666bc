/** Unpack what Python packed: base64, gzip, JSON. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const SPAN = ["lane", "kind", "label", "begin", "end", "note"];
const MARK = ["lane", "kind", "t", "who", "what", "more"];
const KEPT_PARCELS = 20;

function named(names, values) {
  return Object.fromEntries(names.map((name, place) => [name, values[place]]));
}

/** The details of task instances, unpacked a parcel at a time when they are asked for. */
class Details {
  constructor(parcels, size, violations) {
    this.parcels = parcels;
    this.size = size;
    this.unpacked = new Map();
    this.violations = new Map();
    for (const [t, index, invariant, message] of violations) {
      if (!this.violations.has(index)) this.violations.set(index, []);
      this.violations.get(index).push({ t, invariant, message, index });
    }
  }

  async get(index) {
    const place = Math.floor(index / this.size);
    if (!this.unpacked.has(place)) {
      if (this.unpacked.size >= KEPT_PARCELS) {
        this.unpacked.delete(this.unpacked.keys().next().value);
      }
      this.unpacked.set(place, unpack(this.parcels[place].textContent));
    }
    const track = (await this.unpacked.get(place))[index % this.size];
    return {
      index,
      name: track.name,
      pods: track.pods,
      spans: track.spans.map((values) => named(SPAN, values)),
      marks: track.marks.map((values) => named(MARK, values)),
      leftOut: track.left_out,
      violations: this.violations.get(index) || [],
    };
  }
}

function seconds(t) {
  return `${t.toFixed(3)} s`;
}
