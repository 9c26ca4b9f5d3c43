// Turns one element into another in place: what is the same stays, with its focus and its scroll.

import { tickTimes } from './times.js';

const TINTED = 'td, dd, .tinted';

/** Makes `from` like `to`; `to` is used up. Cells whose text changed are tinted once. */
export function morph(from, to) {
  tickTimes(to); // so that only a changed time, not a formatted one, counts as a change
  const cells = new Map();
  for (const cell of from.querySelectorAll(TINTED)) cells.set(cell, words(cell));
  const fresh = document.importNode(to, true);
  into(from, fresh);
  globalThis.htmx?.process(from);
  for (const [cell, before] of cells) {
    if (cell.isConnected && words(cell) !== before) tint(cell);
  }
}

/** A cell's text without its times, which tick by themselves. */
function words(cell) {
  let text = '';
  const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) if (!walk.currentNode.parentElement.closest('time')) text += walk.currentNode.data;
  return text.replaceAll(/\s+/g, ' ');
}

function tint(cell) {
  cell.classList.remove('changed');
  void cell.offsetWidth; // the animation starts anew
  cell.classList.add('changed');
  setTimeout(() => cell.classList.remove('changed'), 600);
}

function into(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  if (from.isEqualNode(to) || from.hasAttribute('data-keep')) return;
  attributes(from, to);
  children(from, to);
}

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === 'open' || name === 'class')) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  if (!to.hasAttribute('class')) from.removeAttribute('class');
}

function children(from, to) {
  const byId = new Map([...from.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const kept = wanted.id && byId.get(wanted.id);
    if (kept) {
      if (kept === at) at = at.nextSibling;
      else from.insertBefore(kept, at);
      into(kept, wanted);
    } else if (at && !at.id && !wanted.id && at.nodeName === wanted.nodeName) {
      const next = at.nextSibling;
      into(at, wanted);
      at = next;
    } else {
      from.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
