// Walk through the grid with the arrow keys, as it is laid out right now.

const tiles = (grid) => [...grid.querySelectorAll("a.tile")];

function below(all, from, step) {
  const here = from.getBoundingClientRect();
  const rest = step > 0 ? all.slice(all.indexOf(from) + 1) : all.slice(0, all.indexOf(from)).reverse();
  const middle = here.left + here.width / 2;
  return rest.find((each) => {
    const there = each.getBoundingClientRect();
    return Math.abs(there.top - here.top) > 1 && there.left <= middle && there.right >= middle;
  });
}

function target(all, from, key) {
  const number = all.indexOf(from);
  switch (key) {
    case "ArrowRight": return all[number + 1];
    case "ArrowLeft": return all[number - 1];
    case "ArrowDown": return below(all, from, 1) ?? (number < all.length - 1 ? all.at(-1) : undefined);
    case "ArrowUp": return below(all, from, -1);
    case "Home": return all[0];
    case "End": return all.at(-1);
    default: return undefined;
  }
}

// Move the focus for a key; tell whether it was one of ours.
export function walk(grid, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return false;
  const all = tiles(grid);
  const from = event.target.closest?.("a.tile");
  if (!from) {
    const begins = event.key === "ArrowDown" && event.target.closest?.("#heading, #text, #prefix, .chip");
    if (!begins || !all.length) return false;
    all[0].focus();
    return true;
  }
  const next = target(all, from, event.key);
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
  return next !== undefined;
}
