// Build what the page shows. Names come from a bucket: they are only ever set as text.

const COUNTS = new Intl.NumberFormat("en");
const AGES = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

export const count = (number) => COUNTS.format(number);
export const countImages = (number) => `${count(number)} ${number === 1 ? "image" : "images"}`;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function split(name) {
  const slash = name.replace(/\/+$/, "").lastIndexOf("/") + 1;
  return [name.slice(0, slash), name.slice(slash)];
}

function thumbnail(source) {
  const image = element("img", { src: source, alt: "", draggable: "false", decoding: "async", loading: "lazy" });
  image.addEventListener("load", () => image.classList.add("there"));
  return image;
}

export function tile(image, href) {
  const [folder, file] = split(image.name);
  const told = image.distance === undefined ? null : image.distance.toFixed(3);
  const caption = element("span", { class: "caption" }, element("span", { class: "name" }, file));
  caption.append(element("span", { class: "folder" }, folder || "\u00a0"));
  if (told !== null) caption.append(element("span", { class: "distance", title: "L2 distance" }, told));
  const label = told === null ? image.name : `${image.name}, distance ${told}`;
  const frame = element("span", { class: "frame" }, thumbnail(image.thumbnail));
  const link = element("a", { class: "tile", href, title: image.name, "aria-label": label }, frame, caption);
  link.dataset.uri = image.uri;
  return element("li", {}, link);
}

export function skeleton() {
  const frame = element("span", { class: "frame" });
  return element("li", { class: "blank", "aria-hidden": "true" }, frame, element("span", { class: "line" }));
}

// What stands below the heading of a question that was asked with a picture.
export function askedDetails(asked, back) {
  if (!asked) return [back];
  const link = { href: asked.link, target: "_blank", rel: "noreferrer noopener" };
  return [element("code", {}, asked.uri), back, element("a", link, "Open the object")];
}

export function notice(sentence, button) {
  return element("div", { class: "notice" }, element("div", {}, sentence), ...(button ? [button] : []));
}

export function chip(label, href, current) {
  return element("a", { class: "chip", href, "aria-current": current ? "true" : null }, label);
}

// What stands behind the chips where not every folder has one: the filter finds the others.
export function restOfFolders(more, exact) {
  const hint = { class: "rest", title: "Begin a name in “Filter by prefix” to see them" };
  if (!more) return element("span", hint, "and perhaps more");
  return element("span", hint, `and ${exact ? "" : "at least "}${count(more)} more`);
}

export function age(moment) {
  const seconds = (Date.parse(moment) - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? ["second", 1];
  return AGES.format(Math.round(seconds / length), unit);
}

export function syncList(syncs) {
  const heading = element("h2", {}, "Last sync");
  if (!syncs.length) return [heading, "No sync has ended yet."];
  const lines = syncs.slice(0, 5).map((sync) => {
    const time = element("time", { datetime: sync.synced_at }, age(sync.synced_at));
    time.title = new Date(sync.synced_at).toLocaleString();
    return element("li", {}, `${sync.source}, `, time);
  });
  const others = syncs.length - lines.length;
  if (others) lines.push(element("li", {}, `and ${others} earlier`));
  return [heading, element("ul", { role: "list" }, ...lines)];
}

export function spaceTable(index, spaces) {
  const columns = ["space", "model", "dimensions", "images", "recall", "status"];
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)));
  const rows = spaces.map((space) => {
    const recall = space.recall === null ? "exact" : space.recall.toFixed(3);
    const status = space.status === "active" ? "shown" : space.status;
    const cells = [space.id, space.model, space.dimension, count(space.images), recall, status];
    const shown = space.status === "active" ? "shown" : null;
    return element("tr", { class: shown }, ...cells.map((cell) => element("td", {}, String(cell))));
  });
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Spaces" }, table);
  return [element("h2", {}, `Spaces of ${index}`), scroll];
}
