// The keyboard: / filters, j and k move through a list, enter opens (it is a link), ? shows this.

const typing = (target) => target.closest?.('input, textarea, select, [contenteditable]');

function move(by) {
  const links = [...document.querySelectorAll('[data-keys] tbody a.name')].filter((link) => link.checkVisibility());
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement?.closest?.('tr')?.querySelector('a.name'));
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next].focus();
  links[next].closest('tr').scrollIntoView({ block: 'nearest' });
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (typing(event.target)) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  if (document.querySelector('dialog[open]')) return;
  const filter = document.getElementById('q');
  if (event.key === '/' && filter) {
    filter.focus();
    filter.select();
  } else if (event.key === 'j') move(1);
  else if (event.key === 'k') move(-1);
  else if (event.key === '?') document.getElementById('keys')?.showModal();
  else return;
  event.preventDefault();
});

document.addEventListener('click', (event) => {
  if (event.target.closest('[data-keys-help]')) document.getElementById('keys')?.showModal();
});
