// Above a data set's tables: a box that filters their rows, and which protocol's table is shown. Without this file all are.
"use strict";

const KINDS = { single: "Single models", ensemble: "Ensembles", reference: "Published by others" };

for (const section of document.querySelectorAll(".boards")) {
  const rows = [...section.querySelectorAll("tr[data-kind]")];
  const tables = [...section.querySelectorAll("[data-protocol]")];
  const text = document.createElement("input");
  text.type = "search";
  const kinds = Object.keys(KINDS).filter((kind) => rows.some((row) => row.dataset.kind === kind));
  const kind = choice([["", "All"], ...kinds.map((name) => [name, KINDS[name]])]);
  const protocol = choice(tables.map((table, number) => [String(number), table.dataset.protocol]));
  const count = document.createElement("output");

  const show = () => {
    const words = text.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const said = row.textContent.toLowerCase();
      row.hidden = (kind.value && row.dataset.kind !== kind.value) || !words.every((word) => said.includes(word));
      const below = row.nextElementSibling;
      if (below?.classList.contains("published")) below.hidden = row.hidden;
    }
    for (const body of section.querySelectorAll(".references")) body.hidden = ![...body.rows].some((row) => row.dataset.kind && !row.hidden);
    tables.forEach((table, number) => { table.hidden = tables.length > 1 && String(number) !== protocol.value; });
    const shown = tables[protocol.value].querySelectorAll("tr[data-kind]");
    count.value = `${[...shown].filter((row) => !row.hidden).length} of ${shown.length} rows`;
  };

  const bar = document.createElement("div");
  bar.className = "filter";
  bar.setAttribute("role", "search");
  bar.setAttribute("aria-label", `Rows of ${section.querySelector("h2").firstChild.textContent.trim()}`);
  bar.append(labelled("Filter rows", text));
  if (kinds.length > 1) bar.append(labelled("Kind", kind));
  if (tables.length > 1) bar.append(labelled("Protocol", protocol));
  bar.append(count);
  bar.addEventListener("input", show);
  tables[0].before(bar);
  show();
}

function choice(options) {
  const select = document.createElement("select");
  for (const [value, name] of options) select.add(new Option(name, value));
  return select;
}

function labelled(name, control) {
  const label = document.createElement("label");
  label.append(name, " ", control);
  return label;
}
