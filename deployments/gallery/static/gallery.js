// The page: every view is an address, shown by asking the gallery for what the address says.

import { addressOf, isQuestion, keepPicture, readFolders, readIndexes, readStatus, readView, viewOf } from "./client.js";
import { askedPanel, chip, count, element, notice, skeleton, spaceTable, syncList, tile } from "./drawing.js";
import { walk } from "./keyboard.js";

const AGAIN_MILLISECONDS = 4000;
const TYPING_MILLISECONDS = 300;
const SKELETON_MILLISECONDS = 120;
const SKELETONS = 24;

const at = (id) => document.getElementById(id);
const [grid, heading, summary, main] = ["grid", "heading", "summary", "main"].map(at);
let view = viewOf(location);
let indexes = [];
let reading = new AbortController();
let againTimer;
let foldersOf;

history.scrollRestoration = "manual";

// --- going from view to view

function go(changes, { replace = false } = {}) {
  const there = addressOf({ ...view, after: "", before: "", ...changes });
  remember();
  const depth = (history.state?.depth ?? 0) + (replace ? 0 : 1);
  history[replace ? "replaceState" : "pushState"]({ depth }, "", there);
  return show({ moved: true });
}

function remember() {
  const focused = document.activeElement?.dataset?.uri;
  history.replaceState({ ...history.state, focused, scroll: scrollY }, "");
}

function goBack() {
  if (history.state?.depth) history.back();
  else if (addressOf(view) !== addressOf(home())) go(home());
}

const home = () => ({ index: view.index, text: "", image: "", picture: "", prefix: "", after: "", before: "" });
const nothingAsked = { text: "", image: "", picture: "" };

// --- showing one

async function show({ moved = false, returned = null } = {}) {
  view = viewOf(location);
  clearTimeout(againTimer);
  reading.abort();
  reading = new AbortController();
  const { signal } = reading;
  main.setAttribute("aria-busy", "true");
  fillControls();
  const blank = setTimeout(showSkeletons, SKELETON_MILLISECONDS);
  try {
    const answer = await readView(view, signal);
    clearTimeout(blank);
    at("notice").replaceChildren();
    paint(answer);
    settle(moved, returned);
    readSurroundings(answer.index);
  } catch (error) {
    clearTimeout(blank);
    if (error.name === "AbortError") return;
    fail(error);
  }
  main.setAttribute("aria-busy", "false");
}

function fillControls() {
  if (document.activeElement !== at("text") || view.text) at("text").value = view.text;
  if (document.activeElement !== at("prefix")) at("prefix").value = view.prefix;
  at("home").href = addressOf({ index: view.index });
  at("index").value = view.index || indexes[0]?.name || "";
}

function showSkeletons() {
  clear();
  heading.textContent = view.text ? `“${view.text}”` : "Looking …";
  grid.replaceChildren(...Array.from({ length: SKELETONS }, skeleton));
}

function clear() {
  for (const part of [grid, at("pager"), at("asked"), summary]) part.replaceChildren();
  at("asked").hidden = true;
}

function paint(answer) {
  clear();
  const { images } = answer;
  const open = (image) => addressOf({ index: view.index, prefix: view.prefix, image: image.uri });
  grid.replaceChildren(...images.map((image) => tile(image, open(image))));
  const told = isQuestion(view) ? paintQuestion(answer) : paintPage(answer);
  summary.textContent = told;
  at("status").textContent = `${heading.textContent}: ${told}`;
  document.title = `${heading.textContent} · birdwalk`;
  for (const warning of answer.warnings ?? []) at("notice").append(notice("Please note", warning));
}

function paintQuestion(answer) {
  const { images, asked } = answer;
  const source = answer.picture;
  if (asked || source) {
    const back = element("a", { href: addressOf({ index: view.index }), id: "back" }, "Back");
    at("asked").replaceChildren(...askedPanel(asked, source, back));
    at("asked").hidden = false;
  }
  heading.textContent = view.text ? `“${view.text}”` : asked ? `Nearest to ${asked.name}` : "Nearest to your picture";
  if (!images.length) return `No image begins with ${view.prefix}`;
  const within = view.prefix ? ` in ${view.prefix}` : "";
  return `${count(images.length)} images${within}, the most alike first, with their distance`;
}

function paintPage({ images, before, after }) {
  heading.textContent = view.prefix || "All pictures";
  const place = { index: view.index, prefix: view.prefix };
  if (before || after) {
    at("pager").append(pageLink("← Previous", before && { ...place, before }), pageLink("Next →", after && { ...place, after }));
  }
  if (!images.length) return view.prefix ? "No image's name begins so" : "No images here";
  const total = indexes.find((each) => each.name === (view.index || indexes[0]?.name))?.images;
  if (!before && !after) return `${count(images.length)} images`;
  const all = !view.prefix && total ? ` of ${count(total)}` : "";
  return `${count(images.length)}${all} images, from ${images[0].name}`;
}

function pageLink(label, there) {
  if (!there) return element("a", { class: "button", "aria-disabled": "true", role: "link" }, label);
  return element("a", { class: "button", href: addressOf(there) }, label);
}

function settle(moved, returned) {
  if (returned) {
    const tiles = [...grid.querySelectorAll("a.tile")];
    tiles.find((each) => each.dataset.uri === returned.focused)?.focus({ preventScroll: true });
    scrollTo(0, returned.scroll ?? 0);
  } else if (moved) {
    scrollTo(0, 0);
    if (document.activeElement !== at("prefix")) heading.focus({ preventScroll: true });
  }
}

function fail(error) {
  clear();
  heading.textContent = error.passing ? "The index cannot be shown right now" : "That did not work";
  const again = element("button", { type: "button" }, "Try again");
  again.addEventListener("click", () => show());
  const more = error.passing ? " This page tries again by itself." : "";
  at("notice").replaceChildren(notice("", error.message + more, again));
  document.title = `${heading.textContent} · birdwalk`;
  if (error.passing) againTimer = setTimeout(() => show(), AGAIN_MILLISECONDS);
}

// --- what stands around the pictures

async function readSurroundings(index) {
  const quiet = (promise) => promise.catch(() => null);
  const [status, known] = await Promise.all([quiet(readStatus(index)), quiet(readIndexes()), showFolders(index)]);
  if (status) {
    at("syncs").replaceChildren(...syncList(status.syncs));
    at("spaces").replaceChildren(...spaceTable(status.index, status.spaces));
  }
  if (!known) return;
  const first = !indexes.length;
  indexes = known;
  at("index").replaceChildren(...known.map((each) => element("option", { value: each.name }, `${each.name} (${count(each.images)})`)));
  at("index").value = index;
  at("index-field").hidden = known.length < 2;
  const total = known.find((each) => each.name === index)?.images;
  if (first && !isQuestion(view) && !view.prefix && at("pager").children.length && total) {
    summary.textContent = summary.textContent.replace(" images", ` of ${count(total)} images`);
  }
}

async function showFolders(index) {
  const { prefix } = view;
  const wanted = JSON.stringify([index, prefix]);
  if (foldersOf !== wanted) {
    const parent = prefix.replace(/[^/]*\/?$/, "");
    const levels = prefix.endsWith("/") ? [parent, prefix] : [prefix ? prefix.replace(/[^/]*$/, "") : ""];
    const found = await Promise.all(levels.map((level) => readFolders(index, level).catch(() => [])));
    if (view.prefix !== prefix) return;
    foldersOf = wanted;
    const above = levels[0].split("/").slice(0, -1).map((_, depth, parts) => `${parts.slice(0, depth + 1).join("/")}/`);
    at("folders").dataset.folders = JSON.stringify([...new Set([...above, ...found.flat()])]);
  }
  const folders = JSON.parse(at("folders").dataset.folders ?? "[]");
  const kept = { index: view.index, text: view.text, image: view.image, picture: view.picture };
  const all = chip("All", addressOf(kept), !prefix);
  const chips = folders.map((folder) => chip(folder, addressOf({ ...kept, prefix: folder }), folder === prefix));
  at("folders").replaceChildren(...(folders.length ? [all, ...chips] : []));
}

// --- what a visitor does

async function askWithPicture(file) {
  at("notice").replaceChildren();
  if (!file) return;
  heading.textContent = "Looking at your picture …";
  main.setAttribute("aria-busy", "true");
  at("status").textContent = heading.textContent;
  try {
    const picture = await keepPicture(view.index, file);
    await go({ ...nothingAsked, picture });
  } catch (error) {
    fail(error);
    main.setAttribute("aria-busy", "false");
  }
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  at("text").blur();
  if (text !== view.text || view.image || view.picture) go({ ...nothingAsked, text });
});

let typing;
at("prefix").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    // One step back leads out of the filter, not through the letters of it.
    if (at("prefix").value !== view.prefix) go({ prefix: at("prefix").value }, { replace: Boolean(view.prefix) });
  }, TYPING_MILLISECONDS);
});

at("index").addEventListener("change", () => go({ ...home(), index: at("index").value }));
at("file").addEventListener("change", () => {
  askWithPicture(at("file").files[0]);
  at("file").value = "";
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (link.target || link.origin !== location.origin || link.pathname !== "/" || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  if (link.id === "back") goBack();
  else go({ ...viewOf(link) });
});

document.addEventListener("keydown", (event) => {
  const inField = event.target.closest?.("input:not([type=file]), select");
  if (event.key === "Escape") {
    if (inField) event.target.blur();
    else goBack();
  } else if (event.key === "/" && !inField && !event.ctrlKey && !event.metaKey) {
    at("text").focus();
    at("text").select();
  } else if (!walk(grid, event)) return;
  event.preventDefault();
});

addEventListener("popstate", (event) => show({ returned: event.state ?? {} }));
addEventListener("pagehide", remember);

const bringsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragover", (event) => {
  if (!bringsFile(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  at("drop").hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").hidden = true;
});
addEventListener("drop", (event) => {
  if (!bringsFile(event)) return;
  event.preventDefault();
  at("drop").hidden = true;
  askWithPicture(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => askWithPicture(event.clipboardData?.files[0]));

show({ returned: history.state?.scroll ? history.state : null });
