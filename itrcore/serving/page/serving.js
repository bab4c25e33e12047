// The search page: asks the API, and shows what it answers. Everything from outside is put in as text, never as markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const DARK = 0.66; // as in the report: how much light is taken away where no region is
const byId = (id) => document.getElementById(id);
const masks = { made: 0 };
let latest = 0; // searches: an answer that another search has overtaken is not shown

async function ask(path, body, type) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": type }, body };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ? said.error.charAt(0).toUpperCase() + said.error.slice(1) : `Error ${answer.status}`);
  return said;
}

function tell(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

function begin(what) {
  tell(what);
  for (const id of ["asked", "captions", "found"]) byId(id).hidden = true;
  return ++latest;
}

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(milliseconds < 100 ? 3 : 2)} s`;

async function searchText(text) {
  const own = begin("Searching …");
  history.replaceState(null, "", `?q=${encodeURIComponent(text)}`);
  try {
    const answer = await ask("api/search", JSON.stringify({ text }), "application/json");
    if (own !== latest) return;
    showPictures("Pictures found", answer.results, text);
    tell(`${answer.results.length} best pictures, in ${seconds(answer.milliseconds)}`);
  } catch (error) {
    if (own === latest) tell(error.message, true);
  }
}

async function searchPicture(file) {
  const own = begin("Searching with your picture …");
  const picture = byId("asked").querySelector("img");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  byId("asked").hidden = false;
  history.replaceState(null, "", location.pathname);
  try {
    const most = Number(document.body.dataset.upload);
    if (file.size > most) throw new Error(`The file has ${(file.size / 1e6).toFixed(1)} MB; at most ${most / 1e6} MB are taken.`);
    const answer = await ask("api/search/picture", file, file.type);
    if (own !== latest) return;
    const list = byId("captions").querySelector("ol");
    list.replaceChildren(...answer.captions.map(captionFound));
    byId("captions").hidden = !answer.captions.length;
    if (answer.similar.length) showPictures("Similar pictures", answer.similar, null);
    tell(`Searched in ${seconds(answer.milliseconds)}`);
  } catch (error) {
    if (own !== latest) return;
    byId("asked").hidden = true; // the browser may not be able to show it either
    tell(error.message, true);
  }
}

function captionFound(found) {
  const row = document.createElement("li");
  const button = element("button", found.caption);
  button.type = "button";
  button.title = "Search pictures for this caption";
  button.addEventListener("click", () => {
    byId("text").value = found.caption;
    searchText(found.caption);
  });
  const tail = element("span", "", "tail");
  tail.append(element("span", found.score.toFixed(3), "score"));
  row.append(button, tail);
  return row;
}

function showPictures(title, results, text) {
  byId("found").querySelector("h2").textContent = title;
  byId("found").querySelector("ol").replaceChildren(...results.map((found, place) => card(found, place + 1, text)));
  byId("found").hidden = false;
}

function card(found, place, text) {
  const row = byId("card").content.cloneNode(true).firstElementChild;
  const caption = found.captions[0] ?? "";
  const picture = row.querySelector("img");
  picture.alt = caption || found.name || `picture ${found.item}`;
  load(picture, found.picture, () => {
    const absent = element("div", "", "absent");
    absent.append(element("span", "no picture"), element("b", found.name ?? `picture ${found.item}`));
    picture.replaceWith(absent);
  });
  row.querySelector(".caption").textContent = caption;
  row.querySelector(".place").textContent = `${place}.`;
  row.querySelector(".name").textContent = found.name ?? `picture ${found.item}`;
  row.querySelector(".name").title = found.name ?? "";
  row.querySelector(".score").textContent = found.score.toFixed(3);
  const why = row.querySelector(".why");
  if (text === null) why?.remove();
  else why?.addEventListener("click", () => toggle(row, why, found, text));
  return row;
}

// A busy server refuses pictures too; twice they are asked for again.
function load(picture, path, failed, tries = 2) {
  picture.onerror = () => {
    if (tries) setTimeout(() => load(picture, `${path}?again=${tries}`, failed, tries - 1), 1200);
    else failed();
  };
  picture.src = path;
}

async function toggle(row, button, found, text) {
  const open = row.nextElementSibling;
  if (open?.classList.contains("looks")) {
    open.remove();
    button.setAttribute("aria-expanded", "false");
    return;
  }
  button.disabled = true;
  const place = element("li", "", "looks");
  try {
    const answer = await ask("api/why", JSON.stringify({ text, item: found.item }), "application/json");
    place.append(element("h4", "Where the words look"), tinted(answer), panels(answer));
    const note = "Tint and %: how much of its attention a word gives its strongest region (even: none stands out). ";
    place.append(element("p", note + answer.note, "quiet small"));
  } catch (error) {
    place.append(element("p", error.message));
  }
  button.disabled = false;
  button.setAttribute("aria-expanded", "true");
  row.after(place);
  button.focus();
}

function tinted(answer) {
  const line = element("p", "", "tinted");
  answer.words.forEach((word, number) => {
    if (number && !word.attached) line.append(" ");
    const span = element("span", word.text);
    span.style.setProperty("--look", word.tint.toFixed(3));
    line.append(span);
  });
  return line;
}

function panels(answer) {
  const all = element("div", "", "panels");
  all.append(panel(answer, "all regions", String(answer.regions.length), answer.regions, false));
  for (const word of answer.words.filter((one) => one.pictured)) all.append(panel(answer, word.text, word.strength, word.regions, true));
  return all;
}

// One picture: the regions lit where they are a word's, else all drawn alike.
function panel(answer, title, note, regions, lit) {
  const size = { width: answer.width, height: answer.height };
  const drawing = svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img" });
  const said = regions.length ? regions.map((each) => `region ${each.region}`).join(", ") : "no region stands out";
  drawing.setAttribute("aria-label", `${title}: ${said}`);
  drawing.append(svg("image", { href: answer.picture, preserveAspectRatio: "none", ...size }));
  if (lit) {
    const id = `mask-${++masks.made}`;
    const mask = svg("mask", { id, maskUnits: "userSpaceOnUse", x: 0, y: 0, ...size });
    mask.append(svg("rect", { fill: "#fff", ...size }));
    for (const each of regions) mask.append(svg("rect", { "fill-opacity": each.share.toFixed(3), ...box(each) }));
    drawing.append(mask, svg("rect", { "fill-opacity": DARK, mask: `url(#${id})`, ...size }));
    for (const each of [...regions].reverse()) {
      const group = svg("g", {});
      const name = svg("title", {});
      name.textContent = `region ${each.region}: ${(100 * each.weight).toFixed(0)} %`;
      const lines = ["under", "box"].map((kind) => svg("rect", { class: kind, ...box(each) }));
      for (const line of lines) line.style.setProperty("--thick", `${1 + 2 * each.share}px`);
      group.append(name, ...lines);
      drawing.append(group);
    }
  } else {
    drawing.append(svg("rect", { "fill-opacity": DARK / 2, ...size }));
    for (const each of regions) drawing.append(svg("rect", { class: "box thin", ...box(each) }));
  }
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.append(element("b", title), element("span", note, "score"));
  figure.append(drawing, caption);
  return figure;
}

const box = (each) => ({ x: each.x, y: each.y, width: each.width, height: each.height });

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function element(name, text, kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (text) searchText(text);
});

const drop = byId("drop");
if (drop) {
  byId("file").addEventListener("change", (event) => {
    if (event.target.files[0]) searchPicture(event.target.files[0]);
  });
  // The whole page takes it: whoever misses the box would make the browser leave the page.
  for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file) searchPicture(file);
    else tell("That was no file. Save the picture first, then drop its file.", true);
  });
}

const asked = new URLSearchParams(location.search).get("q");
if (asked) {
  byId("text").value = asked;
  searchText(asked);
}
