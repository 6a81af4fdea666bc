const LISTED = 200;

/** The list of task instances: a filter, and the violating ones first. */
class List {
  constructor(facts, details, choose) {
    this.names = facts.names;
    this.lower = facts.names.map((name) => name.toLowerCase());
    this.details = details;
    this.choose = choose;
    this.filter = document.getElementById("filter");
    this.only = document.getElementById("only");
    this.all = document.getElementById("all");
    const violating = [...details.violations.keys()].some((index) => index >= 0);
    (violating ? this.only : this.all).checked = true;
    this.only.disabled = !violating;
    this.filter.addEventListener("input", () => this.show());
    this.only.addEventListener("change", () => this.show());
    this.all.addEventListener("change", () => this.show());
  }

  /** Return the indices that match the filter, the violating ones first. */
  matches() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (let index = 0; index < this.lower.length; index += 1) {
      if (this.only.checked && !this.details.violations.has(index)) continue;
      if (words.every((word) => this.lower[index].includes(word))) found.push(index);
    }
    return found;
  }

  show(current = this.current) {
    this.current = current;
    const found = this.matches();
    const rows = found.slice(0, LISTED).map((index) => this.row(index));
    document.getElementById("list").replaceChildren(...rows);
    const of = `${found.length.toLocaleString("en")} of ${this.names.length.toLocaleString("en")}`;
    const more = found.length > LISTED ? `, the first ${LISTED} listed` : "";
    document.getElementById("count").textContent = `${of} task instances${more}`;
  }

  row(index) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const broken = new Set((this.details.violations.get(index) || []).map((one) => one.invariant));
    button.type = "button";
    button.append(this.names[index]);
    button.title = [...broken].join(", ");
    if (broken.size) {
      const cross = document.createElement("b");
      cross.className = "cross";
      cross.textContent = "✖ ";
      button.prepend(cross);
    }
    button.setAttribute("aria-current", String(index === this.current));
    button.addEventListener("click", () => this.choose([index]));
    item.append(button);
    return item;
  }
}
