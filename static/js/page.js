// What every page has: times, theme, things to copy, dialogs, keys. A page reads and works without this file.

import { tickTimes } from './times.js';
import './keys.js';
import './live.js';
import './upload.js';

tickTimes(document);
setInterval(() => document.hidden || tickTimes(document), 1000);
document.addEventListener('visibilitychange', () => document.hidden || tickTimes(document));
document.addEventListener('htmx:load', (event) => tickTimes(event.target));

// ---- theme: at once, and remembered by the cookie that the server reads ----

document.addEventListener('submit', (event) => {
  const button = event.submitter;
  if (button?.name !== 'theme') return;
  event.preventDefault();
  document.documentElement.dataset.theme = button.value;
  const secure = location.protocol === 'https:' ? '; secure' : '';
  document.cookie = `muster_theme=${button.value}; path=/; max-age=31536000; samesite=lax${secure}`;
  for (const other of button.form.elements) other.setAttribute?.('aria-pressed', String(other === button));
});

// ---- things to copy ----

document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const text = document.getElementById(button.dataset.copy)?.textContent ?? '';
  await navigator.clipboard.writeText(text.trim());
  const before = button.getAttribute('aria-label');
  button.setAttribute('aria-label', 'Copied');
  button.classList.add('ok-text');
  setTimeout(() => {
    button.setAttribute('aria-label', before);
    button.classList.remove('ok-text');
  }, 1500);
});

// ---- confirming: the button opens when the name is typed ----

document.addEventListener('input', (event) => {
  const wanted = event.target.dataset?.confirm;
  if (wanted === undefined) return;
  const button = event.target.form?.querySelector('button[type="submit"]');
  if (button) button.disabled = event.target.value !== wanted;
});
for (const input of document.querySelectorAll('input[data-confirm]')) {
  input.dispatchEvent(new Event('input', { bubbles: true }));
}

// ---- a form is sent once ----

document.addEventListener('submit', (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== 'post') return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = 'yes';
});
addEventListener('pageshow', () => document.querySelectorAll('form[data-sent]').forEach((form) => delete form.dataset.sent));
document.addEventListener('htmx:afterRequest', (event) => delete event.target.dataset?.sent);
