// Writing to the page. Whatever comes from the server becomes text, never markup.

export const byId = (id) => document.getElementById(id);

/** An element with a class and children; strings become text nodes. */
export function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** A copy of the only element of a template. */
export function copyOf(template, words) {
  const node = byId(template).content.firstElementChild.cloneNode(true);
  translate(node, words);
  return node;
}

/** Writes the fixed texts, `data-say`, of a part of the page. */
export function translate(root, { say }) {
  for (const node of root.querySelectorAll('[data-say]')) setText(node, say(node.dataset.say));
}

/** Writes a text, but only a new one: a selection survives, and a screen reader is not told the same again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The same for a part of an element; it is hidden where there is no text. */
export function put(parent, selector, text) {
  const node = parent.querySelector(selector);
  setText(node, text || '');
  node.hidden = !text;
}

/** A button's text, and for who does not see it what the button belongs to. Without a text it is hidden. */
export function putButton(parent, selector, text, about, enabled = true) {
  const button = parent.querySelector(selector);
  put(parent, selector, text);
  button.setAttribute('aria-label', `${text}: ${about}`);
  button.disabled = !enabled;
}

/** One child per item, kept by its id, in the order of the items: what has the focus, or was typed, stays. */
export function fill(list, items, idOf, create, update) {
  const byKey = new Map(items.map((it) => [String(idOf(it)), it]));
  for (const node of [...list.children]) if (!byKey.has(node.dataset.id)) node.remove();
  const nodes = new Map([...list.children].map((it) => [it.dataset.id, it]));
  [...byKey].forEach(([key, item], index) => {
    const node = nodes.get(key) ?? create(key);
    node.dataset.id = key;
    update(node, item);
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
  });
}

/** The choices of a select: `{id, text, disabled?}`. What was chosen stays chosen while it is there. */
export function fillSelect(select, choices) {
  const create = (value) => Object.assign(make('option'), { value });
  fill(select, choices, (it) => it.id, create, (option, { text, disabled = false }) => {
    if (option.disabled !== disabled) option.disabled = disabled;
    setText(option, text);
  });
  // A browser chooses none by itself where all were disabled before.
  if (select.selectedIndex < 0) select.value = choices.find((it) => !it.disabled)?.id ?? '';
}

/** Counts down to a time, if there is one. */
export function putCountdown(parent, label, until, nowMs, words) {
  const node = parent.querySelector('.countdown');
  put(parent, '.countdown-label', label);
  put(parent, '.countdown', until && words.countdown(Date.parse(until) - nowMs));
  if (until) node.dataset.until = until;
  else delete node.dataset.until;
}

/** Lets all countdowns go on, and tells whether one has come to its end. */
export function tickCountdowns(nowMs, words) {
  const nodes = [...document.querySelectorAll('.countdown[data-until]')];
  const left = nodes.map((it) => Date.parse(it.dataset.until) - nowMs);
  nodes.forEach((node, index) => setText(node, words.countdown(left[index])));
  return left.some((it) => it <= 0);
}

let hushing;

/** Says how something went, `ok` or `error`, with further elements behind the text. What went well leaves by itself. */
export function tell(kind, words, text, { code = '', extra = [] } = {}) {
  const close = make('button', 'plain', '×');
  close.type = 'button';
  close.setAttribute('aria-label', words.say('close'));
  close.addEventListener('click', hush);
  byId('message').replaceChildren(make('p', '', text), ...extra, close);
  Object.assign(byId('message').dataset, { kind, code });
  clearTimeout(hushing);
  if (kind === 'ok') hushing = setTimeout(hush, 12_000);
}

export function hush() {
  const message = byId('message');
  message.replaceChildren();
  delete message.dataset.kind;
  delete message.dataset.code;
}

let notes = 0;

/** Says what is wrong with one field, below it. */
export function tellField(input, text, lang) {
  const note = make('p', 'field-error', text);
  Object.assign(note, { id: `field-error-${(notes += 1)}`, lang });
  input.closest('label').after(note);
  input.setAttribute('aria-invalid', 'true');
  input.setAttribute('aria-describedby', note.id);
}

/** Takes back what was said of the fields of a part of the page. */
export function hushFields(root) {
  for (const note of root.querySelectorAll('.field-error')) note.remove();
  for (const input of root.querySelectorAll('[aria-invalid]')) {
    input.removeAttribute('aria-invalid');
    input.removeAttribute('aria-describedby');
  }
}
