for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.tHead.addEventListener("click", (event) => {
    const column = event.target.cellIndex;
    if (column === undefined) return;
    const up = table.dataset.by === String(column) && table.dataset.up !== "1";
    table.dataset.by = column;
    table.dataset.up = up ? "1" : "0";
    const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      return isNaN(x) || isNaN(y) ? y.localeCompare(x) : y - x;
    };
    body.append(...[...body.rows].sort((a, b) => (up ? -compare(a, b) : compare(a, b))));
  });
}
