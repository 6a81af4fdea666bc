/** Lay out one task instance: everybody who had to do with it, from cause to effect. */
function lanesOf(track, facts) {
  const lanes = [];
  const add = (id, label, height = 1) => lanes.push({ id, label, height });
  for (const [, label] of disturbanceLanes(facts)) add(label, label, 0.8);
  const processes = new Set(facts.schedulers);
  for (const mark of track.marks) if (!mark.lane.includes(":")) processes.add(mark.lane);
  for (const process of processes) add(process, process);
  add("row", "database row", 1.2);
  const used = new Set([...track.spans, ...track.marks].map((one) => one.lane));
  for (const [pod, letter] of Object.entries(track.pods)) {
    if (used.has(`pod:${pod}`)) add(`pod:${pod}`, `pod ${letter}`);
    if (used.has(`worker:${pod}`)) add(`worker:${pod}`, `worker ${letter}`);
    if (used.has(`code:${pod}`)) add(`code:${pod}`, `user code ${letter}`);
  }
  return stacked(lanes, promisesOf(track.violations));
}

/** Lay out several task instances: a lane each, its row above, its pods below. */
function lanesTogether(tracks, facts) {
  const lanes = [];
  for (const [, label] of disturbanceLanes(facts)) lanes.push({ id: label, label, height: 0.8 });
  const short = shortNames(tracks.map((track) => track.name));
  tracks.forEach((track, place) => {
    lanes.push({ id: `track:${track.index}`, label: short[place], height: 1 });
  });
  return stacked(lanes, []);
}

function disturbanceLanes(facts) {
  const found = new Map();
  for (const [kind, name] of facts.bars) {
    const of = kind === "fault" ? "fault" : "hold";
    found.set(`${of} ${name}`, `${of} ${name}`);
  }
  return [...found].slice(0, 8);
}

/** Violations at one moment are told in one line; each moment has a line of its own. */
function promisesOf(violations) {
  const moments = new Map();
  for (const { t, invariant, message } of violations) {
    const promise = `${invariant}: ${message.split(", but ")[0]}`;
    if (!moments.has(t)) moments.set(t, new Map());
    if (!moments.get(t).has(invariant)) moments.get(t).set(invariant, promise);
  }
  return [...moments].map(([t, promises]) => ({ t, texts: [...promises.values()] }));
}

/** Give every lane its place, from the top down; the promises stand above all. */
function stacked(lanes, promises) {
  const lines = Math.min(promises.flatMap((one) => one.texts).length, 5);
  const height = lanes.reduce((sum, lane) => sum + lane.height, 0) + 0.75 * lines;
  let y = height - 0.75 * lines;
  const places = new Map();
  for (const lane of lanes) {
    places.set(lane.id, { ...lane, top: y, y: y - lane.height / 2 });
    y -= lane.height;
  }
  return { places, height, promises, lines };
}

/** Shorten names as far as they stay apart: the task, and if need be the end of its run. */
function shortNames(names) {
  const parts = names.map((name) => name.split(" @ "));
  const several = new Set(parts.map(([, run]) => run)).size > 1;
  return parts.map(([task, run]) => {
    const own = task.slice(task.indexOf(".") + 1);
    return cut(several && run ? `${own} @${run.slice(-6)}` : own);
  });
}

/** Cut the middle out of a long name: its end is where the names of pods differ. */
function cut(label, most = 22, end = 6) {
  return label.length <= most ? label : `${label.slice(0, most - end - 1)}…${label.slice(-end)}`;
}
