"use strict";
(() => {
  const table = document.getElementById("findings-table");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows];
  const form = document.getElementById("filter"), says = document.getElementById("filter-says");
  const text = document.getElementById("filter-text"), kind = document.getElementById("filter-kind");

  const filter = () => {
    const want = text.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = kind.value !== "" && row.dataset.kind !== kind.value || want !== "" && !row.textContent.toLowerCase().includes(want);
      if (!row.hidden) shown++;
    }
    says.textContent = shown + " of " + rows.length + " rows";
  };
  const value = (row, column) => {
    const cell = row.cells[column];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;
  };
  const sort = (th, column) => {
    const up = th.getAttribute("aria-sort") !== "ascending";
    for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      const order = x < y ? -1 : x > y ? 1 : 0;
      return up ? order : -order;
    });
    body.append(...rows);
  };
  [...table.tHead.rows[0].cells].forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    button.addEventListener("click", () => sort(th, column));
    th.replaceChildren(button);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", filter);
  kind.addEventListener("change", filter);
  form.hidden = false;
  filter();
})();
