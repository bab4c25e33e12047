// Makes a table of results sortable: each heading becomes a button. Without this file the tables stay in their order.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = table.querySelectorAll("th[data-column]");
  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, heading, headings));
    heading.append(button);
  }
}

function sort(table, heading, headings) {
  const first = heading.dataset.best === "highest" ? "descending" : "ascending"; // the best on top
  const other = first === "descending" ? "ascending" : "descending";
  const order = heading.ariaSort === first ? other : first;
  for (const each of headings) each.ariaSort = each === heading ? order : null;
  const sign = order === "descending" ? -1 : 1;
  for (const body of table.tBodies) { // what others published stays apart
    const rows = [];
    for (const row of body.querySelectorAll("tr:not(.heading)")) {
      if (row.classList.contains("published")) rows.at(-1).push(row); // stays below its row
      else rows.push([row]);
    }
    const cell = (group) => group[0].cells[heading.dataset.column] ?? group[0].lastElementChild; // it may span columns
    rows.sort((a, b) => compare(cell(a), cell(b), sign, "best" in heading.dataset));
    body.append(...rows.flat());
  }
}

// Cells without a value come last in either order.
function compare(a, b, sign, numbers) {
  if (!numbers) return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  const [x, y] = [a, b].map((cell) => cell.dataset.value);
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  return sign * (Number(x) - Number(y));
}
