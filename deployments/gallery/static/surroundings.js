// What stands around the pictures: the folders and the indexes to choose from, the foot of the page.
// Each is drawn for a view, and by no answer that comes when its signal says that the view is over.

import { addressOf, readFolders, readIndexes, readStatus } from "./client.js";
import { chip, element, restOfFolders, spaceTable, syncList } from "./drawing.js";

const at = (id) => document.getElementById(id);
const quiet = (promise) => promise.catch(() => null);
const folders = { of: null, at: 0, found: [], more: 0, exact: true };
const foot = { of: null, at: 0 };
const FRESH_MILLISECONDS = 30000;
let indexes = [];

export const defaultIndex = () => indexes[0]?.name ?? "";
export const imagesOf = (index) => indexes.find((each) => each.name === index)?.images;

export async function showIndexes(index, signal) {
  const known = await quiet(readIndexes(signal));
  if (!known || signal.aborted) return;
  indexes = known;
  const option = (each) => element("option", { value: each.name }, each.name);
  at("index").replaceChildren(...known.map(option));
  at("index").value = index;
  at("index-field").hidden = !known.length || (known.length === 1 && known[0].name === index);
}

export async function showFoot(index, signal) {
  if (foot.of === index && Date.now() - foot.at < FRESH_MILLISECONDS) return;
  const status = await quiet(readStatus(index, signal));
  if (!status || signal.aborted) return;
  Object.assign(foot, { of: index, at: Date.now() });
  at("syncs").replaceChildren(...syncList(status.syncs));
  at("spaces").replaceChildren(...spaceTable(index, status.spaces));
}

// The folders beside the one that the prefix leads into, and those below it that begin as typed,
// after those that lead to them.
export async function showFolders({ index, images }, view, signal) {
  const { prefix } = view;
  const key = JSON.stringify([index, prefix]);
  if (folders.of !== key || Date.now() - folders.at >= FRESH_MILLISECONDS) {
    const folder = prefix.replace(/[^/]*$/, "");
    const parent = folder.replace(/[^/]*\/$/, "");
    const levels = folder ? [parent, prefix] : [prefix];
    const found = await Promise.all(levels.map((level) => quiet(readFolders(index, level, signal))));
    if (signal.aborted) return;
    // What could not be read is asked for again with the next view.
    Object.assign(folders, { of: found.every(Boolean) ? key : null, at: Date.now() });
    const read = found.filter(Boolean);
    folders.more = read.reduce((sum, level) => sum + level.more, 0);
    folders.exact = read.every((level) => level.exact);
    const parts = parent.split("/").slice(0, -1);
    const above = parts.map((_, depth) => `${parts.slice(0, depth + 1).join("/")}/`);
    const chosen = new Set([...above, ...read.flatMap((level) => level.folders)]);
    if (folder && images.length && !chosen.has(folder)) {
      chosen.add(folder);
      folders.more = Math.max(0, folders.more - 1); // it was one of those
    }
    folders.found = [...chosen];
  }
  const kept = { ...view, after: "", before: "" };
  const chips = folders.found.map((folder) => chip(folder, addressOf({ ...kept, prefix: folder }), folder === prefix));
  const all = chip("All", addressOf({ ...kept, prefix: "" }), !prefix);
  const rest = folders.more || !folders.exact ? [restOfFolders(folders.more, folders.exact)] : [];
  at("folders").replaceChildren(...(chips.length || rest.length || prefix ? [all, ...chips, ...rest] : []));
}
