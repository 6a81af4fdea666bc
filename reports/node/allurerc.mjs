// Allure's configuration: what does not change is here, the rest comes from reports/allure/.
import { readFileSync } from "node:fs";

// Allure 3.18's quality gate calls Iterator.prototype.toArray, which Node.js 20 does not have.
const iterator = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
iterator.toArray ??= function toArray() {
  return [...this];
};

const settings = JSON.parse(readFileSync(process.env.HA_CHAOS_ALLURE, "utf8"));

const labelOf = (labels, name) => labels.find((label) => label.name === name)?.value;

const finding = (pattern) => ({ labels: { finding: pattern } });

// A rule set of the gate: Allure's rules, for the results that `statuses` and `findings` let in.
const ruleSet = ({ id, rules, statuses, findings }) => ({
  id,
  ...rules,
  filter: ({ status, labels }) =>
    (!statuses || statuses.includes(status)) &&
    (!findings || new RegExp(findings).test(labelOf(labels, "finding") ?? "")),
});

const charts = [
  { type: "currentStatus", title: "The present: newest result of every test in every environment" },
  { type: "statusDynamics", title: "Trend: results of each session", limit: 15 },
  { type: "testResultSeverities", title: "Results by severity", includeUnset: false },
];

export default {
  name: settings.title,
  output: settings.output,
  historyPath: settings.history,
  appendHistory: false,
  hideLabels: ["parentSuite"],
  environments: Object.fromEntries(
    settings.places.map(({ id, name, label }) => [
      id,
      { name, matcher: ({ labels }) => labelOf(labels, "environment") === label },
    ]),
  ),
  categories: settings.categories.map(({ name, pattern }) => ({
    name,
    matchers: finding(pattern),
    groupBy: ["environment"],
    groupByMessage: false,
    groupEnvironments: false,
    expand: true,
  })),
  ...(settings.gate.length ? { qualityGate: { rules: settings.gate.map(ruleSet) } } : {}),
  plugins: {
    awesome: {
      options: {
        reportName: settings.title,
        groupBy: ["suite"],
        charts,
        sections: ["charts"],
        defaultSortBy: "status,asc",
      },
    },
    dashboard: { options: { reportName: `${settings.title}: trends`, layout: charts } },
    csv: { options: { fileName: "tests.csv" } },
  },
};
