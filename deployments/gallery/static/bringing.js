// The ways in which a visitor brings a picture: drop it, paste it, choose a file.

const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

// Text from an office program comes with a picture of itself: in a field the text is meant.
const pastesText = (event) =>
  [...event.clipboardData.types].includes("text/plain") && event.target.closest?.("input:not([type=file])");

// Call `ask` with each file that is brought; `zone` is shown while one hovers over the page.
export function welcomePictures(zone, chooser, ask) {
  addEventListener("dragover", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    zone.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    zone.hidden = true;
    if (event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length && !pastesText(event)) ask(event.clipboardData.files[0]);
  });
  chooser.addEventListener("change", () => {
    const [file] = chooser.files;
    chooser.value = "";
    if (file) ask(file);
  });
}
