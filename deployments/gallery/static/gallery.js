// The page: every view is an address, shown by asking the gallery for what the address says.

import { welcomePictures } from "./bringing.js";
import { addressOf, isQuestion, keepPicture, readView, viewOf } from "./client.js";
import { askedDetails, count, countImages, element, notice, skeleton, tile } from "./drawing.js";
import { walk } from "./keyboard.js";
import { defaultIndex, imagesOf, showFolders, showFoot, showIndexes } from "./surroundings.js";

const AGAIN_MILLISECONDS = 4000;
const TYPING_MILLISECONDS = 300;
const SKELETON_MILLISECONDS = 120;
const SKELETONS = 24;
const NOTHING_ASKED = { text: "", image: "", picture: "" };
const ANYWHERE = { prefix: "", after: "", before: "" };

const at = (id) => document.getElementById(id);
const [grid, heading, summary] = ["grid", "heading", "summary"].map(at);
let view = viewOf(location);
let reading = new AbortController();
let askAgain;
let againTimer;
let typingTimer;

history.scrollRestoration = "manual";

// --- going from view to view

function go(changes, { replace = false } = {}) {
  const there = addressOf({ ...view, after: "", before: "", ...changes });
  // Half a filter that was being typed is no part of the new view.
  clearTimeout(typingTimer);
  remember();
  const depth = (history.state?.depth ?? 0) + (replace ? 0 : 1);
  history[replace ? "replaceState" : "pushState"]({ depth }, "", there);
  return show({ moved: true });
}

// Where the visitor is on this view, for when the way back leads here.
function remember() {
  const focused = document.activeElement?.dataset?.uri;
  history.replaceState({ ...history.state, focused, scroll: scrollY }, "");
}

function goBack() {
  if (history.state?.depth) history.back();
  else if (isQuestion(view) || view.prefix || view.after || view.before) goHome();
}

const goHome = () => go({ ...NOTHING_ASKED, ...ANYWHERE });

// --- showing one

// End what the view before still waits for; return the signal that this one is over.
function begin() {
  clearTimeout(againTimer);
  reading.abort();
  reading = new AbortController();
  grid.setAttribute("aria-busy", "true");
  return reading.signal;
}

async function show({ moved = false, returned = null } = {}) {
  view = viewOf(location);
  const signal = begin();
  fillControls(moved || returned);
  const blank = setTimeout(showSkeletons, SKELETON_MILLISECONDS);
  try {
    const answer = await readView(view, signal);
    clearTimeout(blank);
    if (signal.aborted) return;
    const focused = at("notice").contains(document.activeElement);
    at("notice").replaceChildren();
    paint(answer);
    settle(moved || focused, returned);
    showSurroundings(answer, signal);
  } catch (error) {
    clearTimeout(blank);
    if (signal.aborted) return;
    fail(error, error.again ? show : goHome);
  }
  grid.setAttribute("aria-busy", "false");
}

// What is being typed is replaced by another view only, not when the page asks for the same again.
function fillControls(changed) {
  for (const name of ["text", "prefix"]) {
    if (changed || document.activeElement !== at(name)) at(name).value = view[name];
  }
  at("home").href = addressOf({ index: view.index });
}

function clear() {
  for (const part of [grid, at("pager"), at("more"), summary]) part.replaceChildren();
  at("asked").hidden = true;
}

function showSkeletons() {
  clear();
  heading.textContent = view.text ? `“${view.text}”` : "Looking …";
  grid.replaceChildren(...Array.from({ length: SKELETONS }, skeleton));
}

function paint(answer) {
  clear();
  const open = (image) => addressOf({ index: view.index, prefix: view.prefix, image: image.uri });
  grid.replaceChildren(...answer.images.map((image) => tile(image, open(image))));
  summary.textContent = isQuestion(view) ? paintQuestion(answer) : paintPage(answer);
  at("status").textContent = `${heading.textContent}: ${summary.textContent}`;
  document.title = `${heading.textContent} · birdwalk`;
  for (const warning of answer.warnings ?? []) at("notice").append(notice(warning));
}

function paintQuestion({ images, asked, picture }) {
  const source = asked ? asked.picture : picture;
  if (source) {
    at("asked").src = source;
    at("asked").alt = asked ? asked.name : "Your picture";
    at("asked").hidden = false;
  }
  const back = element("a", { href: addressOf({ index: view.index }), id: "back" }, "Back");
  at("more").replaceChildren(...askedDetails(asked, back));
  if (view.text) heading.textContent = `“${view.text}”`;
  else heading.textContent = asked ? `Like ${asked.name.split("/").pop()}` : "Like your picture";
  const within = view.prefix ? ` in ${view.prefix}` : "";
  if (!images.length) return `No image${within}`;
  return `${countImages(images.length)}${within}, the nearest first`;
}

function paintPage({ index, images, before, after }) {
  heading.textContent = view.prefix || "All pictures";
  if (before || after) {
    const link = (label, there) => {
      const href = there && addressOf({ index: view.index, prefix: view.prefix, ...there });
      return element("a", { class: "button", role: "link", href, "aria-disabled": !href }, label);
    };
    at("pager").append(link("← Previous", before && { before }), link("Next →", after && { after }));
  }
  if (!images.length) return view.prefix ? "No image has a name that begins so" : "No images here";
  const total = view.prefix ? undefined : imagesOf(index);
  const shown = total && (before || after) ? `${count(images.length)} of ${countImages(total)}` : countImages(images.length);
  return before ? `${shown}, from ${images[0].name}` : shown;
}

function settle(moved, returned) {
  if (!moved && !returned) return;
  scrollTo(0, returned?.scroll ?? 0);
  // Who types or chooses meanwhile goes on doing so.
  if (document.activeElement?.matches("#text, #prefix, #index")) return;
  const tiles = [...grid.querySelectorAll("a.tile")];
  const target = returned ? tiles.find((each) => each.dataset.uri === returned.focused) : heading;
  target?.focus({ preventScroll: true });
}

async function showSurroundings(answer, signal) {
  const { index } = answer;
  const before = imagesOf(index);
  await Promise.all([showIndexes(index, signal), showFolders(answer, view, signal), showFoot(index, signal)]);
  if (signal.aborted) return;
  if (before !== imagesOf(index) && !isQuestion(view)) summary.textContent = totalled(answer);
}

function totalled(answer) {
  at("pager").replaceChildren();
  return paintPage(answer);
}

function fail(error, again) {
  clear();
  heading.textContent = error.passing ? "The index cannot be shown right now" : "That did not work";
  document.title = `${heading.textContent} · birdwalk`;
  const label = error.again ? "Try again" : "Back to the pictures";
  const button = element("button", { type: "button" }, label);
  button.addEventListener("click", () => askAgain());
  askAgain = again;
  const more = error.passing ? " This page tries again by itself." : "";
  const told = notice(error.message + more, button);
  // One that stands is neither read out again nor taken from below the visitor's finger.
  if (at("notice").textContent !== told.textContent) at("notice").replaceChildren(told);
  showIndexes(view.index || defaultIndex(), reading.signal);
  if (error.passing) againTimer = setTimeout(again, AGAIN_MILLISECONDS);
}

// --- what a visitor does

async function askWithPicture(file) {
  clearTimeout(typingTimer);
  const signal = begin();
  heading.textContent = "Looking at your picture …";
  at("status").textContent = heading.textContent;
  try {
    const picture = await keepPicture(view.index, file, signal);
    // Who went elsewhere meanwhile is left there.
    if (!signal.aborted) await go({ ...NOTHING_ASKED, picture });
  } catch (error) {
    if (signal.aborted) return;
    fail(error, error.again ? () => askWithPicture(file) : show);
    grid.setAttribute("aria-busy", "false");
  }
}

welcomePictures(at("drop"), at("file"), askWithPicture);

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  at("text").blur();
  if (text !== view.text || view.image || view.picture) go({ ...NOTHING_ASKED, text });
  else show({ moved: true });
});

at("prefix").addEventListener("input", () => {
  clearTimeout(typingTimer);
  typingTimer = setTimeout(() => {
    const prefix = at("prefix").value;
    // One step back leads out of the filter, not through its letters.
    if (prefix !== view.prefix) go({ prefix }, { replace: Boolean(view.prefix) });
  }, TYPING_MILLISECONDS);
});

at("index").addEventListener("change", () => go({ ...NOTHING_ASKED, ...ANYWHERE, index: at("index").value }));

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  if (link.target || link.origin !== location.origin || link.pathname !== "/") return;
  event.preventDefault();
  // The fragment is no view: were the browser led to it, the way back would end there.
  if (link.hash) heading.focus();
  else if (link.id === "back") goBack();
  else go(viewOf(link));
});

document.addEventListener("keydown", (event) => {
  const field = event.target.closest?.("input:not([type=file]), select");
  if (event.key === "Escape") {
    if (field) field.blur();
    else goBack();
  } else if (!walk(grid, event)) return;
  event.preventDefault();
});

addEventListener("popstate", (event) => {
  clearTimeout(typingTimer);
  show({ returned: event.state ?? {} });
});
addEventListener("pagehide", remember);

show({ returned: history.state?.scroll ? history.state : null });
