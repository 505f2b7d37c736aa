"use strict";
(() => {
  const all = (root, selector) => [...root.querySelectorAll(selector)];

  // Tables: a click on a head sorts by it, a second one the other way round. Cells without a value come last.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.classList.contains("number")) {
      const given = cell.dataset.value;
      return given === undefined ? null : Number(given);
    }
    return cell.textContent;
  };
  const compare = (one, two, sign) => {
    if (one === null || two === null) return (one === null) - (two === null);
    return sign * (typeof one === "number" ? one - two : one.localeCompare(two, "en"));
  };
  const sortTable = (table, head) => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const each of all(table, "thead th")) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const column = head.cellIndex;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), ascending ? 1 : -1));
    body.append(...rows);
  };
  for (const table of all(document, "table.sortable")) {
    for (const button of all(table, "thead button")) {
      button.addEventListener("click", () => sortTable(table, button.closest("th")));
    }
  }

  // Lists: search, choices and order together.
  const setUp = (list) => {
    const controls = all(list, "[data-control]");
    const control = (name) => controls.find((each) => each.dataset.control === name);
    const lower = new Set(JSON.parse(list.dataset.lowerIsBetter));
    const output = list.querySelector("output");
    const box = list.querySelector(".entries");
    const entries = all(box, ":scope > .entry").map((element) => ({
      element,
      words: element.dataset.words,
      choices: JSON.parse(element.dataset.choices),
      values: JSON.parse(element.dataset.values),
    }));
    const isShown = (entry) => {
      const asked = control("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = controls.filter((each) => each.tagName === "SELECT" && each.dataset.control in entry.choices);
      return (
        asked.every((word) => entry.words.includes(word)) &&
        chosen.every((each) => each.value === "" || each.value === entry.choices[each.dataset.control])
      );
    };
    const filter = () => {
      let count = 0;
      for (const entry of entries) {
        const shown = isShown(entry);
        entry.element.hidden = !shown;
        count += shown;
      }
      const name = output.dataset.name;
      output.textContent = count === entries.length ? `${count} ${name}` : `${count} of ${entries.length} ${name}`;
    };
    const sort = () => {
      const name = control("order").value;
      const worstFirst = control("direction").value === "worst";
      const sign = worstFirst === lower.has(name) ? -1 : 1;
      const value = (entry) => entry.values[name] ?? null;
      const sorted = [...entries].sort((a, b) => compare(value(a), value(b), sign));
      box.append(...sorted.map((entry) => entry.element));
    };
    for (const each of controls) {
      const sorts = ["order", "direction"].includes(each.dataset.control);
      each.addEventListener("input", sorts ? sort : filter);
    }
  };
  for (const list of all(document, ".filter-list")) setUp(list);

  // Paper cannot be clicked: everything opens for printing, and closes again.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all(document, "details:not([open])");
    for (const each of opened) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });
})();
