// The gallery's answers, and the addresses of its views.

export class Refusal extends Error {
  // passing: over by itself; again: not the visitor's mistake, so asking again may work.
  constructor(sentence, passing, again = passing) {
    super(sentence);
    this.passing = passing;
    this.again = again;
  }
}

async function read(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The gallery does not answer. Is it still running?", true);
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(`The gallery answered ${response.status} and nothing that can be read.`, true);
  }
  if (!response.ok) {
    const passing = body.passing ?? false;
    throw new Refusal(body.error, passing, passing || response.status >= 500 || response.status === 429);
  }
  return body;
}

function address(path, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value) query.set(name, value);
  const text = query.toString(); // older browsers know no query.size
  return text ? `${path}?${text}` : path;
}

export const NAMES = ["index", "text", "image", "picture", "prefix", "after", "before"];

// What the address of this page asks for.
export function viewOf(location) {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
}

// The address of a view: of all images, where it asks nothing.
export const addressOf = (view) => address("/", view);

export const isQuestion = (view) => Boolean(view.text || view.image || view.picture);

export function readView(view, signal) {
  const { index, text, image, picture, prefix, after, before } = view;
  if (!isQuestion(view)) return read(address("/api/images", { index, prefix, after, before }), { signal });
  return read(address("/api/similar", { index, text, image, picture, prefix }), { signal });
}

export const readIndexes = (signal) => read("/api/indexes", { signal });
export const readStatus = (index, signal) => read(address("/api/status", { index }), { signal });
export const readFolders = (index, prefix, signal) => read(address("/api/folders", { index, prefix }), { signal });

export async function keepPicture(index, file, signal) {
  let bytes;
  try {
    // A folder, or a file that has changed since, would fail in fetch as a server does that is away.
    bytes = await file.arrayBuffer();
  } catch {
    throw new Refusal("This file cannot be read. Choose a picture.", false);
  }
  const answer = await read(address("/api/pictures", { index }), { method: "POST", body: bytes, signal });
  return answer.picture;
}
