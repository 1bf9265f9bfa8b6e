// Writing to the page. Whatever a server says becomes text, never markup.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text nodes. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Writes a text, but only a new one: a selection survives, and a screen reader is not told the same again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Has a card say `text` instead of showing its body; with '' the body is shown. */
export function sayInstead(card, text) {
  setText(card.querySelector('.instead'), text);
  card.querySelector('.instead').hidden = text === '';
  card.querySelector('.body').hidden = text !== '';
}

/** One child per item, kept by key, in the order of the items. */
export function fill(parent, items, keyOf, create, update) {
  const left = new Map([...parent.children].map((it) => [it.dataset.key, it]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const node = left.get(key) ?? create(item);
    left.delete(key);
    node.dataset.key = key;
    update(node, item);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  for (const node of left.values()) node.remove();
}

/** One row per item. `cellsOf` gives a text for each column, or [text, class]. */
export function fillTable(table, items, keyOf, cellsOf) {
  const heads = [...table.tHead.rows[0].cells];
  // The roles are said because a narrow page shows rows as blocks, and browsers then forget that it is a table.
  const create = () => {
    const cells = heads.map((it) => make('td', { role: 'cell', 'data-label': it.textContent, class: it.className }));
    return make('tr', { role: 'row' }, ...cells);
  };
  fill(table.tBodies[0], items, keyOf, create, (row, item) => {
    cellsOf(item).forEach((cell, index) => {
      const [text, look = ''] = [cell].flat();
      setText(row.cells[index], text);
      row.cells[index].className = `${heads[index].className} ${look}`.trim();
    });
  });
}
