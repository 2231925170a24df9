// Marks all entries of a page of a folder.
"use strict";
for (const label of document.querySelectorAll("[data-all]")) {
  const all = label.querySelector("input");
  const boxes = [...document.querySelectorAll("table.files input[name=path]")];
  const tell = () => {
    const n = boxes.filter((b) => b.checked).length;
    all.checked = n > 0 && n === boxes.length;
    all.indeterminate = n > 0 && n < boxes.length;
  };
  all.addEventListener("change", () => { for (const b of boxes) b.checked = all.checked; });
  for (const b of boxes) b.addEventListener("change", tell);
  addEventListener("pageshow", tell);
  label.hidden = false;
}
